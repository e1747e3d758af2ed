// One device's part of a model.
lm.model @m family "example" context 64 vocab 36 hidden 32 attributes {shard = #lm.shard<device = 0, devices = 2, begin = 0, logits = 20>} {
  lm.param @rows : tensor<36x32xf32> {
    %0 = weight.load "e" stored "F32" : tensor<36x32xf32>
    weight.yield %0 : tensor<36x32xf32>
  }
  lm.param @part : tensor<20x32xf32> {
    %0 = weight.load "e" stored "F32" : tensor<36x32xf32>
    %1 = weight.slice %0 rows offset 0 size 20 : tensor<36x32xf32> -> tensor<20x32xf32>
    weight.yield %1 : tensor<20x32xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @rows : tensor<?x32xf32>
    %l = lm.logits %x, @part : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}
