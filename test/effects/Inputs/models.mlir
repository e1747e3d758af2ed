// Two models, for options that name one.
lm.model @a family "example" context 64 vocab 4 hidden 8 {
  lm.param @rows : tensor<4x8xf32> {
    %0 = weight.load "rows" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @rows : tensor<?x8xf32>
    %l = lm.logits %x, @rows : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @b family "example" context 64 vocab 4 hidden 8 {
  lm.param @rows : tensor<4x8xf32> {
    %0 = weight.load "rows" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @rows : tensor<?x8xf32>
    %l = lm.logits %x, @rows : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
