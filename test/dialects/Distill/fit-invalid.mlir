// RUN: retort-opt %s --split-input-file --verify-diagnostics
// distill.fit's constraints.

// (C1)
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
// expected-error @below {{teacher @nobody is no lm.model}}
distill.fit @fit teacher @nobody student @student tokens 1 params ["token_embd.weight"] damping 0.1

// -----

// (C1)
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
// expected-error @below {{student @fit is no lm.model}}
distill.fit @fit teacher @teacher student @fit tokens 1 params ["token_embd.weight"] damping 0.1

// -----

// (C2)
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
// expected-error @below {{tokens must be at least 1, is 0}}
distill.fit @fit teacher @teacher student @student tokens 0 params ["token_embd.weight"] damping 0.1

// -----

// (C2)
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
// expected-error @below {{sequence_length must be at least 1, is 0}}
distill.fit @fit teacher @teacher student @student tokens 1 sequence_length 0 params ["token_embd.weight"] damping 0.1

// -----

// (C2)
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
// expected-error @below {{damping must be finite and above 0, is 0.000000e+00}}
distill.fit @fit teacher @teacher student @student tokens 1 params ["token_embd.weight"] damping 0.0

// -----

// (C3)
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
// expected-error @below {{fits no parameter}}
distill.fit @fit teacher @teacher student @student tokens 1 params [] damping 0.1

// -----

// (C3)
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
// expected-error @below {{fits "nothing", but the student has no such parameter}}
distill.fit @fit teacher @teacher student @student tokens 1 params ["nothing"] damping 0.1

// -----

// (C3)
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
// expected-error @below {{fits "token_embd.weight" twice}}
distill.fit @fit teacher @teacher student @student tokens 1 params ["token_embd.weight", "token_embd.weight"] damping 0.1

// -----

// (C4)
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
lm.model @student family "llama" context 64 vocab 4 hidden 6 {
  lm.param @token_embd.weight : tensor<4x6xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x6xf32>
    weight.yield %0 : tensor<4x6xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x6xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x6xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
// expected-error @below {{student has 6 hidden features, teacher 8}}
distill.fit @fit teacher @teacher student @student tokens 1 params ["token_embd.weight"] damping 0.1

// -----

// (C5)
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
distill.fit @fit teacher @teacher student @student tokens 1 params ["token_embd.weight"] damping 0.1

// -----

// (C6)
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
// expected-error @below {{has a format of the embedding, but no quantize}}
distill.fit @fit teacher @teacher student @student tokens 1 params ["token_embd.weight"] damping 0.1 embedding #weight.format<i8g32>

// -----

// (C6)
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
distill.fit @fit teacher @teacher student @student tokens 1 params ["token_embd.weight"] damping 0.1 logits #weight.format<i8g32>
