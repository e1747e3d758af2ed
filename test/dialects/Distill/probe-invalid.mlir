// RUN: retort-opt %s --split-input-file --verify-diagnostics
// distill.probe, and what distill.score compares: each case has one mistake, and is named by the constraint.

// probe (C1)
// expected-error @below {{model @teacher is no lm.model}}
distill.probe @p model @teacher tokens 1 measured 1 formats [#weight.format<i4g64s>]

// -----

// probe (C2)
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
distill.probe @p model @teacher tokens 0 measured 1 formats [#weight.format<i4g64s>]

// -----

// probe (C2)
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
// expected-error @below {{measured must be at least 1, is 0}}
distill.probe @p model @teacher tokens 1 measured 0 formats [#weight.format<i4g64s>]

// -----

// probe (C2)
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
// expected-error @below {{sequence_length must be at least 1, is 0}}
distill.probe @p model @teacher tokens 1 measured 1 sequence_length 0 formats [#weight.format<i4g64s>]

// -----

// probe (C3)
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
// expected-error @below {{rounds to no format}}
distill.probe @p model @teacher tokens 1 measured 1 formats []

// -----

// probe (C3)
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
// expected-error @below {{rounds to i4g64s twice}}
distill.probe @p model @teacher tokens 1 measured 1 formats [#weight.format<i4g64s>, #weight.format<i4g64s>]

// -----

// score (C3)
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
// expected-error @below {{against @gone is no lm.model}}
distill.score @s model @teacher against @gone

// -----

// score (C3)
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
lm.model @small family "llama" context 64 vocab 3 hidden 8 {
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
// expected-error @below {{compares models of different vocabularies}}
distill.score @s model @teacher against @small

// -----

// score (C3)
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
// expected-error @below {{compares answers to a task, which have no divergence}}
distill.score @s model @teacher against @teacher task "faq.jsonl"
    <"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08">
