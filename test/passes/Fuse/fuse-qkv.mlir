// RUN: retort-opt %s --split-input-file --pass-pipeline='builtin.module(lm.model(fuse-qkv))' | FileCheck %s

// The three matrices become one, by rows; its product is split. Biases go along.
// CHECK-LABEL: lm.model @biases
// CHECK:      lm.param @blk.0.attn_qkv.weight : tensor<16x8xf32> {
// CHECK-NEXT:   %[[Q:.*]] = weight.load "q"
// CHECK-NEXT:   %[[K:.*]] = weight.load "k"
// CHECK-NEXT:   %[[V:.*]] = weight.load "v"
// CHECK-NEXT:   weight.concat rows %[[Q]], %[[K]], %[[V]] : tensor<8x8xf32>, tensor<4x8xf32>, tensor<4x8xf32> -> tensor<16x8xf32>
// CHECK:      lm.param @blk.0.attn_qkv.bias : tensor<16xf32> {
// CHECK-NOT:  attn_q.
// CHECK:      %[[F:.*]] = lm.linear %{{.*}}, @blk.0.attn_qkv.weight bias @blk.0.attn_qkv.bias : tensor<?x8xf32> -> tensor<?x16xf32>
// CHECK-NEXT: %[[S:.*]]:3 = lm.split %[[F]] : tensor<?x16xf32> -> tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>
// CHECK-NEXT: lm.rope %[[S]]#0
// CHECK-NEXT: lm.attention %{{.*}}, %[[S]]#1, %[[S]]#2
lm.model @biases family "llama" context 8 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "e" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.param @blk.0.attn_q.weight : tensor<8x8xf32> {
    %0 = weight.load "q" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @blk.0.attn_k.weight : tensor<4x8xf32> {
    %0 = weight.load "k" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.param @blk.0.attn_v.weight : tensor<4x8xf32> {
    %0 = weight.load "v" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.param @blk.0.attn_q.bias : tensor<8xf32> {
    %0 = weight.load "qb" stored "F32" : tensor<8xf32>
    weight.yield %0 : tensor<8xf32>
  }
  lm.param @blk.0.attn_k.bias : tensor<4xf32> {
    %0 = weight.load "kb" stored "F32" : tensor<4xf32>
    weight.yield %0 : tensor<4xf32>
  }
  lm.param @blk.0.attn_v.bias : tensor<4xf32> {
    %0 = weight.load "vb" stored "F32" : tensor<4xf32>
    weight.yield %0 : tensor<4xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %q = lm.linear %x, @blk.0.attn_q.weight bias @blk.0.attn_q.bias : tensor<?x8xf32> -> tensor<?x8xf32>
    %k = lm.linear %x, @blk.0.attn_k.weight bias @blk.0.attn_k.bias : tensor<?x8xf32> -> tensor<?x4xf32>
    %v = lm.linear %x, @blk.0.attn_v.weight bias @blk.0.attn_v.bias : tensor<?x8xf32> -> tensor<?x4xf32>
    %r = lm.rope %q heads 2 dims 4 base 1.0e4 : tensor<?x8xf32>
    %o = lm.attention %r, %k, %v heads 2 kv_heads 1 scale 0.5 : tensor<?x8xf32>, tensor<?x4xf32>
    %l = lm.logits %o, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}

// -----

// Matrices quantised alike are joined before they are quantised.
!q8 = tensor<8x32xi4, #weight.format<i4g32s>>
!q4 = tensor<4x32xi4, #weight.format<i4g32s>>
// CHECK-LABEL: lm.model @quantised
// CHECK:      weight.concat rows
// CHECK-NEXT: weight.quantize %{{.*}} : tensor<16x32xf32> -> tensor<16x32xi4
lm.model @quantised family "llama" context 8 vocab 4 hidden 32 {
  lm.param @token_embd.weight : tensor<4x32xf32> {
    %0 = weight.load "e" stored "F32" : tensor<4x32xf32>
    weight.yield %0 : tensor<4x32xf32>
  }
  lm.param @output.weight : tensor<4x8xf32> {
    %0 = weight.load "o" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.param @blk.0.attn_q.weight : !q8 {
    %0 = weight.load "q" stored "F32" : tensor<8x32xf32>
    %1 = weight.quantize %0 : tensor<8x32xf32> -> !q8
    weight.yield %1 : !q8
  }
  lm.param @blk.0.attn_k.weight : !q4 {
    %0 = weight.load "k" stored "F32" : tensor<4x32xf32>
    %1 = weight.quantize %0 : tensor<4x32xf32> -> !q4
    weight.yield %1 : !q4
  }
  lm.param @blk.0.attn_v.weight : !q4 {
    %0 = weight.load "v" stored "F32" : tensor<4x32xf32>
    %1 = weight.quantize %0 : tensor<4x32xf32> -> !q4
    weight.yield %1 : !q4
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %q = lm.linear %x, @blk.0.attn_q.weight : tensor<?x32xf32> -> tensor<?x8xf32>
    %k = lm.linear %x, @blk.0.attn_k.weight : tensor<?x32xf32> -> tensor<?x4xf32>
    %v = lm.linear %x, @blk.0.attn_v.weight : tensor<?x32xf32> -> tensor<?x4xf32>
    %o = lm.attention %q, %k, %v heads 2 kv_heads 1 scale 0.5 : tensor<?x8xf32>, tensor<?x4xf32>
    %l = lm.logits %o, @output.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}

// -----

// Values in another format than queries and keys: nothing changes.
!i4 = tensor<8x32xi4, #weight.format<i4g32s>>
!i8 = tensor<8x32xi8, #weight.format<i8g32>>
// CHECK-LABEL: lm.model @formats_differ
// CHECK-NOT:   attn_qkv
lm.model @formats_differ family "llama" context 8 vocab 4 hidden 32 {
  lm.param @token_embd.weight : tensor<4x32xf32> {
    %0 = weight.load "e" stored "F32" : tensor<4x32xf32>
    weight.yield %0 : tensor<4x32xf32>
  }
  lm.param @output.weight : tensor<4x8xf32> {
    %0 = weight.load "o" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.param @blk.0.attn_q.weight : !i4 {
    %0 = weight.load "q" stored "F32" : tensor<8x32xf32>
    %1 = weight.quantize %0 : tensor<8x32xf32> -> !i4
    weight.yield %1 : !i4
  }
  lm.param @blk.0.attn_k.weight : !i4 {
    %0 = weight.load "k" stored "F32" : tensor<8x32xf32>
    %1 = weight.quantize %0 : tensor<8x32xf32> -> !i4
    weight.yield %1 : !i4
  }
  lm.param @blk.0.attn_v.weight : !i8 {
    %0 = weight.load "v" stored "F32" : tensor<8x32xf32>
    %1 = weight.quantize %0 : tensor<8x32xf32> -> !i8
    weight.yield %1 : !i8
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %q = lm.linear %x, @blk.0.attn_q.weight : tensor<?x32xf32> -> tensor<?x8xf32>
    %k = lm.linear %x, @blk.0.attn_k.weight : tensor<?x32xf32> -> tensor<?x8xf32>
    %v = lm.linear %x, @blk.0.attn_v.weight : tensor<?x32xf32> -> tensor<?x8xf32>
    %o = lm.attention %q, %k, %v heads 2 kv_heads 2 scale 0.5 : tensor<?x8xf32>, tensor<?x8xf32>
    %l = lm.logits %o, @output.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}

// -----

// What is fused does not depend on what parameters are called; a name that is taken is not taken again.
// CHECK-LABEL: lm.model @names
// CHECK:      lm.param @attn_qkv : tensor<4x8xf32> {
// CHECK:      lm.param @attn_qkv.1 : tensor<24x8xf32> {
// CHECK:      %[[F:.*]] = lm.linear %{{.*}}, @attn_qkv.1 : tensor<?x8xf32> -> tensor<?x24xf32>
// CHECK-NEXT: %[[S:.*]]:3 = lm.split %[[F]]
// CHECK-NEXT: lm.attention %[[S]]#0, %[[S]]#1, %[[S]]#2
lm.model @names family "llama" context 8 vocab 4 hidden 8 {
  lm.param @attn_qkv : tensor<4x8xf32> {
    %0 = weight.load "e" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.param @first : tensor<8x8xf32> {
    %0 = weight.load "q" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @second : tensor<8x8xf32> {
    %0 = weight.load "k" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @third : tensor<8x8xf32> {
    %0 = weight.load "v" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @attn_qkv : tensor<?x8xf32>
    %q = lm.linear %x, @first : tensor<?x8xf32> -> tensor<?x8xf32>
    %k = lm.linear %x, @second : tensor<?x8xf32> -> tensor<?x8xf32>
    %v = lm.linear %x, @third : tensor<?x8xf32> -> tensor<?x8xf32>
    %o = lm.attention %q, %k, %v heads 2 kv_heads 2 scale 0.5 : tensor<?x8xf32>, tensor<?x8xf32>
    %l = lm.logits %o, @attn_qkv : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}

// -----

// Values that are normed are read alone: attention norms query and key as it rotates them, not values.
// CHECK-LABEL: lm.model @values
// CHECK-NOT:  attn_qkv
lm.model @values family "gemma4" context 8 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "e" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.param @blk.0.attn_q.weight : tensor<8x8xf32> {
    %0 = weight.load "q" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @blk.0.attn_k.weight : tensor<8x8xf32> {
    %0 = weight.load "k" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @blk.0.attn_v.weight : tensor<8x8xf32> {
    %0 = weight.load "v" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @blk.0.attn_v_norm.weight : tensor<4xf32> {
    %0 = weight.constant dense<1.0> : tensor<4xf32>
    weight.yield %0 : tensor<4xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %q = lm.linear %x, @blk.0.attn_q.weight : tensor<?x8xf32> -> tensor<?x8xf32>
    %k = lm.linear %x, @blk.0.attn_k.weight : tensor<?x8xf32> -> tensor<?x8xf32>
    %v = lm.linear %x, @blk.0.attn_v.weight : tensor<?x8xf32> -> tensor<?x8xf32>
    %n = lm.norm %v, @blk.0.attn_v_norm.weight eps 1.0e-5 groups 2 : tensor<?x8xf32>
    %o = lm.attention %q, %k, %n heads 2 kv_heads 2 scale 0.5 : tensor<?x8xf32>, tensor<?x8xf32>
    %l = lm.logits %o, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}

// -----

// A norm over all heads together reads the rows of one projection: they stay alone.
// CHECK-LABEL: lm.model @rows
// CHECK-NOT:  attn_qkv
lm.model @rows family "olmo2" context 8 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "e" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.param @blk.0.attn_q.weight : tensor<8x8xf32> {
    %0 = weight.load "q" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @blk.0.attn_k.weight : tensor<8x8xf32> {
    %0 = weight.load "k" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @blk.0.attn_v.weight : tensor<8x8xf32> {
    %0 = weight.load "v" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @blk.0.attn_q_norm.weight : tensor<8xf32> {
    %0 = weight.load "n" stored "F32" : tensor<8xf32>
    weight.yield %0 : tensor<8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %q = lm.linear %x, @blk.0.attn_q.weight : tensor<?x8xf32> -> tensor<?x8xf32>
    %k = lm.linear %x, @blk.0.attn_k.weight : tensor<?x8xf32> -> tensor<?x8xf32>
    %v = lm.linear %x, @blk.0.attn_v.weight : tensor<?x8xf32> -> tensor<?x8xf32>
    %n = lm.norm %q, @blk.0.attn_q_norm.weight eps 1.0e-5 : tensor<?x8xf32>
    %o = lm.attention %n, %k, %v heads 2 kv_heads 2 scale 0.5 : tensor<?x8xf32>, tensor<?x8xf32>
    %l = lm.logits %o, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
