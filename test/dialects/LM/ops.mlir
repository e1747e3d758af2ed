// RUN: retort-opt %s | retort-opt | FileCheck %s
// Every op with every clause prints as it parses.

// CHECK-LABEL: lm.model @full family "gemma3" context 128 vocab 16 hidden 8 attributes {vocab_kept =
lm.model @full family "gemma3" context 128 vocab 16 hidden 8
    attributes {vocab_kept = array<i32: 0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 99>} {
  // CHECK-NEXT: lm.param @token_embd.weight : tensor<16x8xf32> {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.param @blk.0.attn_norm.weight : tensor<8xf32> {
    %0 = weight.load "blk.0.attn_norm.weight" stored "F32" : tensor<8xf32>
    weight.yield %0 : tensor<8xf32>
  }
  lm.param @blk.0.attn_norm.bias : tensor<8xf32> {
    %0 = weight.load "blk.0.attn_norm.bias" stored "F32" : tensor<8xf32>
    weight.yield %0 : tensor<8xf32>
  }
  lm.param @blk.0.attn_q_norm.weight : tensor<4xf32> {
    %0 = weight.load "blk.0.attn_q_norm.weight" stored "F32" : tensor<4xf32>
    weight.yield %0 : tensor<4xf32>
  }
  lm.param @blk.0.attn_qkv.weight : tensor<16x8xf32> {
    %0 = weight.load "blk.0.attn_qkv.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.param @blk.0.attn_qkv.bias : tensor<16xf32> {
    %0 = weight.load "blk.0.attn_qkv.bias" stored "F32" : tensor<16xf32>
    weight.yield %0 : tensor<16xf32>
  }
  // CHECK: lm.param @blk.0.attn_sinks.weight : tensor<2xf32> {
  lm.param @blk.0.attn_sinks.weight : tensor<2xf32> {
    %0 = weight.load "blk.0.attn_sinks.weight" stored "F32" : tensor<2xf32>
    weight.yield %0 : tensor<2xf32>
  }
  // CHECK: lm.param @blk.0.attn_output.weight : tensor<8x8xi4, #weight.format<i4g32a>> {
  lm.param @blk.0.attn_output.weight : tensor<8x8xi4, #weight.format<i4g32a>> {
    %0 = weight.load "blk.0.attn_output.weight" stored "F32" : tensor<8x8xf32>
    %1 = weight.quantize %0 : tensor<8x8xf32> -> tensor<8x8xi4, #weight.format<i4g32a>>
    weight.yield %1 : tensor<8x8xi4, #weight.format<i4g32a>>
  }
  // CHECK: lm.forward {
  // CHECK-NEXT: ^bb0(%[[TOKENS:.*]]: tensor<?xi32>):
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    // CHECK-NEXT: %[[X:.*]] = lm.embed %[[TOKENS]], @token_embd.weight scale 2.500000e+00 : tensor<?x8xf32>
    %x = lm.embed %tokens, @token_embd.weight scale 2.5 : tensor<?x8xf32>
    // CHECK-NEXT: lm.block "blk.0"(%[[X]]) {
    // CHECK-NEXT: ^bb0(%[[A:.*]]: tensor<?x8xf32>):
    %y = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x8xf32>):
      // CHECK-NEXT: lm.norm %[[A]], @blk.0.attn_norm.weight eps 9.9999999999999995E-7 offset : tensor<?x8xf32>
      %n = lm.norm %a, @blk.0.attn_norm.weight eps 1.0e-6 offset : tensor<?x8xf32>
      // CHECK-NEXT: %{{.*}} = lm.layer_norm %[[A]], @blk.0.attn_norm.weight bias @blk.0.attn_norm.bias eps 1.000000e-05 : tensor<?x8xf32>
      %ln = lm.layer_norm %a, @blk.0.attn_norm.weight bias @blk.0.attn_norm.bias eps 1.0e-5 : tensor<?x8xf32>
      // CHECK-NEXT: lm.linear %{{.*}}, @blk.0.attn_qkv.weight bias @blk.0.attn_qkv.bias : tensor<?x8xf32> -> tensor<?x16xf32>
      %qkv = lm.linear %n, @blk.0.attn_qkv.weight bias @blk.0.attn_qkv.bias : tensor<?x8xf32> -> tensor<?x16xf32>
      // CHECK-NEXT: %[[QKV:.*]]:3 = lm.split %{{.*}} : tensor<?x16xf32> -> tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>
      %q, %k, %v = lm.split %qkv : tensor<?x16xf32> -> tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>
      // CHECK-NEXT: lm.norm %[[QKV]]#0, @blk.0.attn_q_norm.weight eps 1.000000e-05 groups 2 : tensor<?x8xf32>
      %qn = lm.norm %q, @blk.0.attn_q_norm.weight eps 1.0e-5 groups 2 : tensor<?x8xf32>
      // CHECK-NEXT: lm.rope %{{.*}} heads 2 dims 4 base 1.000000e+04 scaling <linear, factor = 8.000000e+00> : tensor<?x8xf32>
      %qr = lm.rope %qn heads 2 dims 4 base 1.0e4 scaling <linear, factor = 8.0> : tensor<?x8xf32>
      // CHECK-NEXT: scaling <factors, factors = [1.000000e+00, 8.000000e+00]> : tensor<?x4xf32>
      %kr = lm.rope %k heads 1 dims 4 base 1.0e4 scaling <factors, factors = [1.0, 8.0]> : tensor<?x4xf32>
      // CHECK-NEXT: lm.attention %{{.*}} heads 2 kv_heads 1 scale 5.000000e-01 window 64 soft_cap 5.000000e+01 cache f16 : tensor<?x8xf32>, tensor<?x4xf32>
      %o = lm.attention %qr, %kr, %v heads 2 kv_heads 1 scale 0.5 window 64 soft_cap 50.0 cache f16 : tensor<?x8xf32>, tensor<?x4xf32>
      // CHECK-NEXT: lm.rope %{{.*}} heads 2 dims 4 base 1.000000e+04 length_scale 1.000000e-01 every 16384 : tensor<?x8xf32>
      %ql = lm.rope %qn heads 2 dims 4 base 1.0e4 length_scale 0.1 every 16384 : tensor<?x8xf32>
      // CHECK-NEXT: lm.attention %{{.*}} heads 2 kv_heads 1 scale 5.000000e-01 sinks @blk.0.attn_sinks.weight cache f16 : tensor<?x8xf32>, tensor<?x4xf32>
      %os = lm.attention %ql, %kr, %v heads 2 kv_heads 1 scale 0.5 sinks @blk.0.attn_sinks.weight cache f16 : tensor<?x8xf32>, tensor<?x4xf32>
      // CHECK-NEXT: lm.gate %{{.*}} by %[[A]] act sigmoid : tensor<?x8xf32>
      %og = lm.gate %os by %a act sigmoid : tensor<?x8xf32>
      // CHECK-NEXT: lm.linear %{{.*}}, @blk.0.attn_output.weight : tensor<?x8xf32> -> tensor<?x8xf32>
      %p = lm.linear %o, @blk.0.attn_output.weight : tensor<?x8xf32> -> tensor<?x8xf32>
      // CHECK-NEXT: lm.glu %{{.*}}, %[[A]] act gelu_tanh : tensor<?x8xf32>
      %g = lm.glu %p, %a act gelu_tanh : tensor<?x8xf32>
      // CHECK-NEXT: lm.residual %[[A]], %{{.*}} : tensor<?x8xf32>
      %h = lm.residual %a, %g : tensor<?x8xf32>
      // CHECK-NEXT: lm.yield %{{.*}} : tensor<?x8xf32>
      lm.yield %h : tensor<?x8xf32>
    // CHECK-NEXT: } : tensor<?x8xf32>
    } : tensor<?x8xf32>
    // CHECK-NEXT: lm.logits %{{.*}}, @token_embd.weight soft_cap 3.000000e+01 : tensor<?x8xf32> -> tensor<?x16xf32>
    %l = lm.logits %y, @token_embd.weight soft_cap 30.0 : tensor<?x8xf32> -> tensor<?x16xf32>
    // CHECK-NEXT: lm.return %{{.*}} : tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}
