// RUN: retort-opt %s --split-input-file --verify-diagnostics --cache-format | FileCheck %s
// RUN: not retort-opt %s --cache-format=format=f8 2>&1 | FileCheck %s --check-prefix=BAD

// RUN: retort-opt %s --cache-format=format=bf16 | FileCheck %s --check-prefix=BF16
// RUN: retort-opt %s --cache-format=format=f8e4m3 | FileCheck %s --check-prefix=F8
// RUN: retort-opt %s --cache-format='format=f8e4m3 only=blk.1,blk.7' | FileCheck %s --check-prefix=ONLY

// BAD: 'f8' is none of f16, bf16, f8e4m3 or f32

// The first attention changes, the second is f16 already.
// CHECK-LABEL: lm.model @teacher
// CHECK: lm.attention {{.*}} cache f16
// CHECK: lm.attention {{.*}} cache f16
// BF16: lm.attention {{.*}} cache bf16
// BF16: lm.attention {{.*}} cache bf16
// F8: lm.attention {{.*}} cache f8e4m3
// F8: lm.attention {{.*}} cache f8e4m3

// `only` names blocks: one is there, the other changes nothing.
// ONLY-NOT: cache f8e4m3
// ONLY: lm.block "blk.1"
// ONLY: lm.attention {{.*}} cache f8e4m3
lm.model @teacher family "llama" context 32 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %a = lm.attention %x, %x, %x heads 2 kv_heads 2 scale 0.5 : tensor<?x8xf32>, tensor<?x8xf32>
    %b = lm.block "blk.1"(%a) {
    ^bb0(%in: tensor<?x8xf32>):
      %out = lm.attention %in, %in, %in heads 2 kv_heads 2 scale 0.5 cache f16 : tensor<?x8xf32>, tensor<?x8xf32>
      lm.yield %out : tensor<?x8xf32>
    } : tensor<?x8xf32>
    %l = lm.logits %b, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}
