// RUN: retort-opt %s --split-input-file --verify-diagnostics --apply-training | FileCheck %s

// A trained parameter is loaded from the result, whatever its program was; a frozen one keeps its.
// CHECK-LABEL: lm.model @student
// CHECK:       lm.param @token_embd.weight : tensor<4x8xf32> {
// CHECK-NEXT:    weight.load "token_embd.weight" stored "F32" : tensor<8x8xf32>
// CHECK-NEXT:    weight.take
// CHECK:       lm.param @blk.0.attn_norm.weight : tensor<4xf32> {
// CHECK-NEXT:    %[[W:.*]] = weight.load "blk.0.attn_norm.weight" stored "F32" file "00000000000000000000000000000000000000000000000000000000000000ab" : tensor<4xf32>
// CHECK-NEXT:    weight.yield %[[W]]
// CHECK:       lm.param @output.weight : tensor<4x8xbf16> {
// CHECK-NEXT:    %[[F:.*]] = weight.load "output.weight" stored "F32" file "{{.*}}" : tensor<4x8xf32>
// CHECK-NEXT:    %[[C:.*]] = weight.cast %[[F]] : tensor<4x8xf32> -> tensor<4x8xbf16>
// CHECK-NEXT:    weight.yield %[[C]]
// CHECK:       distill.train @train
// CHECK:         result <"00000000000000000000000000000000000000000000000000000000000000ab"> applied
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<8x8xf32>
    %1 = weight.take %0 rows [0, 2, 4, 6] : tensor<8x8xf32> -> tensor<4x8xf32>
    weight.yield %1 : tensor<4x8xf32>
  }
  lm.param @blk.0.attn_norm.weight : tensor<4xf32> {
    %0 = weight.load "blk.0.attn_norm.weight" stored "F32" : tensor<8xf32>
    %1 = weight.take %0 rows [0, 2, 4, 6] : tensor<8xf32> -> tensor<4xf32>
    weight.yield %1 : tensor<4xf32>
  }
  lm.param @output.weight : tensor<4x8xbf16> {
    %0 = weight.load "output.weight" stored "BF16" : tensor<4x8xbf16>
    weight.yield %0 : tensor<4x8xbf16>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %n = lm.norm %x, @blk.0.attn_norm.weight eps 1.0e-5 groups 2 : tensor<?x8xf32>
    %l = lm.logits %n, @output.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
distill.train @train student @student losses [#distill.loss<cross_entropy, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.0 schedule cosine
  weight_decay 0.0 clip 1.0 seed 0 frozen ["token_embd.weight"]
  result <"00000000000000000000000000000000000000000000000000000000000000ab">

// -----

// expected-error @below {{apply-training: @student has no finished distill.train or distill.fit}}
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
distill.train @train student @student losses [#distill.loss<cross_entropy, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.0 schedule cosine
  weight_decay 0.0 clip 1.0 seed 0

// -----

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
// expected-error @below {{apply-training: is applied already}}
distill.train @train student @student losses [#distill.loss<cross_entropy, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.0 schedule cosine
  weight_decay 0.0 clip 1.0 seed 0
  result <"00000000000000000000000000000000000000000000000000000000000000ab"> applied

// -----

lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  // expected-error @below {{apply-training: @token_embd.weight is quantised: apply before quantising}}
  lm.param @token_embd.weight : tensor<4x8xi8, #weight.format<i8g32>> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    %1 = weight.quantize %0 : tensor<4x8xf32> -> tensor<4x8xi8, #weight.format<i8g32>>
    weight.yield %1 : tensor<4x8xi8, #weight.format<i8g32>>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
distill.train @train student @student losses [#distill.loss<cross_entropy, weight = 1.0>]
  tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.0 schedule cosine
  weight_decay 0.0 clip 1.0 seed 0
  result <"00000000000000000000000000000000000000000000000000000000000000ab">

// -----

// A fit's layers are loaded from its result, and nothing else changes.
// CHECK-LABEL: lm.model @student
// CHECK:       lm.param @token_embd.weight
// CHECK-NEXT:    weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
// CHECK:       lm.param @output.weight
// CHECK-NEXT:    weight.load "output.weight" stored "F32" file "00000000000000000000000000000000000000000000000000000000000000ab"
// CHECK:       distill.fit
// CHECK:         applied
lm.model @student family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.param @output.weight : tensor<4x8xf32> {
    %0 = weight.load "output.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @output.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
distill.fit @fit teacher @student student @student tokens 1 params ["output.weight"] damping 0.1
  result <"00000000000000000000000000000000000000000000000000000000000000ab">
