// RUN: retort-opt %s --canonicalize | FileCheck %s

// A split into one part is its operand; what nobody reads goes.
// CHECK-LABEL: lm.forward
// CHECK-NEXT:  ^bb0
// CHECK-NEXT:    %[[X:.*]] = lm.embed
// CHECK-NEXT:    lm.logits %[[X]]
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %s = lm.split %x : tensor<?x8xf32> -> tensor<?x8xf32>
    %dead = lm.residual %x, %s : tensor<?x8xf32>
    %l = lm.logits %s, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}
