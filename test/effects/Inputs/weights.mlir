// Parameters that are made by every op of the weight dialect that has attributes.
lm.model @m family "example" context 8 vocab 2 hidden 2 {
  lm.param @loaded : tensor<2x2xf32> {
    %0 = weight.load "t" stored "F32" file "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" : tensor<2x2xf32>
    weight.yield %0 : tensor<2x2xf32>
  }
  lm.param @taken : tensor<2x2xf32> {
    %0 = weight.constant dense<[[1.0, 2.0], [4.0, 8.0]]> : tensor<2x2xf32>
    %1 = weight.take %0 rows [1, 0] : tensor<2x2xf32> -> tensor<2x2xf32>
    %half = weight.scale %1 by 0.5 : tensor<2x2xf32>
    weight.yield %half : tensor<2x2xf32>
  }
  lm.param @sliced : tensor<2x2xf32> {
    %0 = weight.constant dense<[[1.0, 2.0, 3.0], [4.0, 8.0, 5.0], [7.0, 6.0, 9.0]]> : tensor<3x3xf32>
    %1 = weight.slice %0 rows offset 0 size 2 : tensor<3x3xf32> -> tensor<2x3xf32>
    %2 = weight.slice %1 columns offset 1 size 2 : tensor<2x3xf32> -> tensor<2x2xf32>
    weight.yield %2 : tensor<2x2xf32>
  }
  lm.param @joined : tensor<2x2xf32> {
    %0 = weight.constant dense<[[1.0, 2.0]]> : tensor<1x2xf32>
    %1 = weight.constant dense<[[1.0], [2.0]]> : tensor<2x1xf32>
    %both = weight.concat rows %0, %0 : tensor<1x2xf32>, tensor<1x2xf32> -> tensor<2x2xf32>
    weight.yield %both : tensor<2x2xf32>
  }
  lm.param @rounded : tensor<2x32xi4, #weight.format<i4g32s>> {
    %0 = weight.constant dense<[[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6, 2.7, 2.8, 2.9, 3.0, 3.1, 3.2], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1, 2.2, 2.3, 2.4, 2.5, 2.6, 2.7, 2.8, 2.9, 3.0, 3.1, 3.2]]> : tensor<2x32xf32>
    %1 = weight.quantize %0 : tensor<2x32xf32> -> tensor<2x32xi4, #weight.format<i4g32s>>
    weight.yield %1 : tensor<2x32xi4, #weight.format<i4g32s>>
  }
  lm.param @wide : tensor<2x3xf32> {
    %0 = weight.constant dense<[[1.0, 2.0, 3.0], [4.0, 8.0, 5.0]]> : tensor<2x3xf32>
    weight.yield %0 : tensor<2x3xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %a = lm.embed %tokens, @loaded : tensor<?x2xf32>
    %rows3 = lm.embed %tokens, @wide : tensor<?x3xf32>
    %b = lm.linear %a, @taken : tensor<?x2xf32> -> tensor<?x2xf32>
    %c = lm.linear %a, @sliced : tensor<?x2xf32> -> tensor<?x2xf32>
    %d = lm.linear %a, @joined : tensor<?x2xf32> -> tensor<?x2xf32>
    %e = lm.embed %tokens, @rounded : tensor<?x32xf32>
    %l = lm.logits %a, @loaded : tensor<?x2xf32> -> tensor<?x2xf32>
    lm.return %l : tensor<?x2xf32>
  }
}
