// RUN: retort-opt %s --split-input-file --verify-diagnostics
// Each case has one mistake; the label of the constraint is the case's.

// observe (C1)
// expected-error @below {{model @teacher is no lm.model}}
distill.observe @o model @teacher tokens 1 statistics [#distill.statistic<ffn>]

// -----

// observe (C2)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{tokens must be at least 1, is 0}}
distill.observe @o model @teacher tokens 0 statistics [#distill.statistic<ffn>]

// -----

// observe (C2)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{sequence_length must be at least 1, is -4}}
distill.observe @o model @teacher tokens 1 sequence_length -4 statistics [#distill.statistic<ffn>]

// -----

// observe (C3)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{observes no statistic}}
distill.observe @o model @teacher tokens 1 statistics []

// -----

// observe (C3)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{observes ffn twice}}
distill.observe @o model @teacher tokens 1 statistics [#distill.statistic<ffn>, #distill.statistic<ffn>]

// -----

// train (C1)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{student @nobody is no lm.model}}
distill.train @train teacher @teacher student @nobody losses [#distill.loss<forward_kl, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.1 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1

// -----

// train (C1)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{teacher @train is no lm.model}}
distill.train @train teacher @train student @student losses [#distill.loss<forward_kl, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.1 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1

// -----

// train (C2)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{has no loss}}
distill.train @train teacher @teacher student @student losses []
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.1 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1

// -----

// train (C2)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{has a loss that compares with a teacher, but no teacher}}
distill.train @train student @student losses [#distill.loss<forward_kl, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.1 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1

// -----

// train (C2)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{has a teacher that no loss compares with}}
distill.train @train teacher @teacher student @student losses [#distill.loss<cross_entropy, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.1 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1

// -----

// train (C3)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{batch_tokens must be at least 1, is 0}}
distill.train @train teacher @teacher student @student losses [#distill.loss<forward_kl, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 0 learning_rate 1.0e-3 warmup 0.1 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1

// -----

// train (C3)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{batch_tokens 25 is not a multiple of sequence_length 10}}
distill.train @train teacher @teacher student @student losses [#distill.loss<forward_kl, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 25 learning_rate 1.0e-3 warmup 0.1 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1

// -----

// train (C4)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{learning_rate and clip must be finite and above 0}}
distill.train @train teacher @teacher student @student losses [#distill.loss<forward_kl, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 0.0 warmup 0.1 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1

// -----

// train (C4)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{weight_decay must be finite and not negative}}
distill.train @train teacher @teacher student @student losses [#distill.loss<forward_kl, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.1 schedule cosine
  weight_decay -1.0 clip 1.0 seed 1

// -----

// train (C4)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{warmup must be from 0 to 1, is 1.5}}
distill.train @train teacher @teacher student @student losses [#distill.loss<forward_kl, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 1.5 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1

// -----

// train (C5)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 3 hidden 8 {
  lm.param @token_embd.weight : tensor<3x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<3x8xf32>
    weight.yield %0 : tensor<3x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x3xf32>
    lm.return %l : tensor<?x3xf32>
  }
}
// expected-error @below {{student has 3 tokens, teacher 4, and no vocab_kept says which they are}}
distill.train @train teacher @teacher student @student losses [#distill.loss<forward_kl, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.1 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1

// -----

// train (C5)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 3 hidden 8 attributes {vocab_kept = array<i32: 0, 1, 7>} {
  lm.param @token_embd.weight : tensor<3x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<3x8xf32>
    weight.yield %0 : tensor<3x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x3xf32>
    lm.return %l : tensor<?x3xf32>
  }
}
// expected-error @below {{student keeps token 7 of a teacher with 4}}
distill.train @train teacher @teacher student @student losses [#distill.loss<forward_kl, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.1 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1

// -----

// train (C6)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{freezes "output.weight", but the student has no such parameter}}
distill.train @train teacher @teacher student @student losses [#distill.loss<forward_kl, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.1 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1 frozen ["output.weight"]

// -----

// score (C1)
// expected-error @below {{model @m is no lm.model}}
distill.score @s model @m

// -----

// score (C2)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{tokens must be at least 1, is 0}}
distill.score @s model @teacher tokens 0

// -----

// score (C2)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{asks a task, of which tokens are no part}}
distill.score @s model @teacher task "faq" <"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"> tokens 5

// -----

// gate (C1)
// expected-error @below {{score @g is no distill.score}}
distill.gate @g score @g reaches bits_per_byte 1.0

// -----

// gate (C1)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
distill.score @s model @teacher
// expected-error @below {{of @g is no distill.score}}
distill.gate @g score @s reaches bits_per_byte 1.0 of @g

// -----

// gate (C1)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
distill.score @s model @teacher
// expected-error @below {{score @s has no acc}}
distill.gate @g score @s reaches acc 0.5

// -----

// gate (C1)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
distill.score @a model @teacher task "faq" <"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08">
// expected-error @below {{score @a has no bits_per_byte}}
distill.gate @g score @a reaches bits_per_byte 0.5

// -----

// gate (C1)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
distill.score @a model @teacher task "faq" <"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08">
distill.score @b model @teacher task "faq" <"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a09">
// expected-error @below {{scores @a and @b are of different questions}}
distill.gate @g score @a reaches acc 1.0 of @b

// -----

// gate (C1)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
distill.score @s model @teacher
distill.score @a model @teacher task "faq" <"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08">
// expected-error @below {{scores @s and @a are of different questions}}
distill.gate @g score @s reaches bits_per_byte 1.0 of @a

// -----

// gate (C2)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
distill.score @s model @teacher
// expected-error @below {{bound must be finite and above 0, is 0}}
distill.gate @g score @s reaches bits_per_byte 0.0

// -----

// file (C1)
// expected-error @below {{"ABC" is not a SHA-256 of 64 lower-case hexadecimal digits}}
distill.score @s model @m result <"ABC">

// -----

// loss (C1)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{loss weight must be finite and above 0, is 0}}
distill.train @train teacher @teacher student @student losses [#distill.loss<forward_kl, weight = 0.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.1 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1

// -----

// loss (C2)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{temperature of forward_kl must be finite and above 0, is -1}}
distill.train @train teacher @teacher student @student losses [#distill.loss<forward_kl, weight = 1.0, temperature = -1.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.1 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1

// -----

// loss (C2)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{temperature of cross_entropy must be 1, is 2}}
distill.train @train student @student losses [#distill.loss<cross_entropy, weight = 1.0, temperature = 2.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.1 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1

// -----

// loss
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{unknown loss 'envy'}}
distill.train @train teacher @teacher student @student losses [#distill.loss<envy, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.1 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1

// -----

// train (C2)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{has the loss forward_kl twice}}
distill.train @train teacher @teacher student @student losses [#distill.loss<forward_kl, weight = 1.0>, #distill.loss<forward_kl, weight = 0.5>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.1 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1

// -----

// train (C2)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{has losses of temperatures 2.000000e+00 and 1.000000e+00, which must be the same}}
distill.train @train teacher @teacher student @student losses [#distill.loss<forward_kl, weight = 1.0, temperature = 2.0>, #distill.loss<cross_entropy, weight = 1.0>, #distill.loss<reverse_kl, weight = 0.5>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.1 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1

// -----

// train (C6)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{freezes every parameter of the student}}
distill.train @train teacher @teacher student @student losses [#distill.loss<forward_kl, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.1 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1 frozen ["token_embd.weight"]

// -----

// train (C6)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{freezes codes, but has no quantize}}
distill.train @train teacher @teacher student @student losses [#distill.loss<forward_kl, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.1 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1 freeze_codes

// -----

// train (C6)
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{has a format of the logits, but no quantize}}
distill.train @train teacher @teacher student @student losses [#distill.loss<forward_kl, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.1 schedule cosine
  weight_decay 0.0 clip 1.0 seed 1 logits #weight.format<i4g64s>
