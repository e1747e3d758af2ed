// RUN: retort-opt %s --split-input-file --verify-diagnostics --cache-format | FileCheck %s
// RUN: not retort-opt %s --cache-format=format=f8 2>&1 | FileCheck %s --check-prefix=BAD

// BAD: cache-format: 'f8' is neither f16 nor f32

// The first attention changes, the second is f16 already.
// CHECK-LABEL: lm.model @teacher
// CHECK: lm.attention {{.*}} cache f16
// CHECK: lm.attention {{.*}} cache f16
lm.model @teacher family "llama" context 32 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %a = lm.attention %x, %x, %x heads 2 kv_heads 2 scale 0.5 : tensor<?x8xf32>, tensor<?x8xf32>
    %b = lm.attention %a, %a, %a heads 2 kv_heads 2 scale 0.5 cache f16 : tensor<?x8xf32>, tensor<?x8xf32>
    %l = lm.logits %b, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}
