// A model that was trained and one that was fitted.
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
distill.train @train student @a losses [#distill.loss<cross_entropy, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.0 schedule cosine
  weight_decay 0.0 clip 1.0 seed 0 result <"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa">
distill.fit @fit teacher @a student @b tokens 10 params ["rows"] damping 0.5 result <"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb">
