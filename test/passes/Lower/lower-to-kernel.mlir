// RUN: retort-opt %s --split-input-file --pass-pipeline='builtin.module(lower-to-kernel{max-rows=4})' | FileCheck %s

// A norm and the quantisation go into the product's prologue, bias and residual into its epilogue;
// a wait stands only where something is read that was written since the last one.
!i4 = tensor<64x32xi4, #weight.format<i4g32s>>
// CHECK-LABEL: lm.model @attention
// CHECK:       weight.pack %{{.*}} layout rows16 : {{.*}} -> tensor<1280xi8>
// CHECK:       kernel.program @attention.kernel max_rows 4 page_rows 16 vocab 20 {
// CHECK-DAG:   kernel.buffer @rope.inv_freq constant tensor<8xf32> value dense<[1.000000e+00, {{.*}}]>
// CHECK-DAG:   kernel.buffer @blk.0.attn_qkv.weight weights tensor<64x32xi4> format i4g32s layout rows16 bytes 1280
// CHECK-DAG:   kernel.buffer @blk.0.attn_qkv.bias weights tensor<64xf32> bytes 256
// CHECK-DAG:   kernel.buffer @blk.0.cache cache tensor<2x1x16x16xf16>
// CHECK:       kernel.phase @run.rope.angles "model" tiles 1 per_row
// CHECK-NEXT:    kernel.angles @positions, @rope.inv_freq -> @rope.angles scale 1.0
// CHECK:       kernel.phase @run.embedding "model" tiles 1 per_row
// CHECK-NEXT:    kernel.embed @tokens, @token_embd.weight -> @embedding scale 2.0
// CHECK:       kernel.wait @run.embedding
// CHECK-NEXT:  kernel.phase @run.blk.0.attn_qkv "blk.0" tiles 4 {
// CHECK-NEXT:    %[[N:.*]] = kernel.stage @embedding norm @blk.0.attn_norm.weight eps 9.99999974E-6 : <32, i8, 32>
// CHECK-NEXT:    kernel.matmul %[[N]], @blk.0.attn_qkv.weight -> @blk.0.attn_qkv bias @blk.0.attn_qkv.bias
// CHECK:       kernel.wait @run.blk.0.attn_qkv
// CHECK:         kernel.rope_append @blk.0.attn_qkv at 0, @blk.0.attn_qkv at 32, @blk.0.attn_qkv at 48 -> @blk.0.cache heads 2 kv_heads 1 dims 16 angles @rope.angles
// CHECK:       kernel.wait @run.blk.0.append
// CHECK-NEXT:  kernel.phase @run.blk.0.attention "blk.0" tiles 2 per_row {
// CHECK-NEXT:    kernel.attention @blk.0.attn_qkv at 0, @blk.0.cache -> @blk.0.attention heads 2 kv_heads 1 dims 16 scale 2.500000e-01 window 8
// CHECK:         %[[O:.*]] = kernel.stage @blk.0.attention : <32, f32, 0>
// CHECK-NEXT:    kernel.matmul %[[O]], @blk.0.attn_output.weight -> @blk.0.attn_output residual @embedding
// CHECK:       kernel.phase @run.logits "model" tiles 2 {
// CHECK-NEXT:    %[[L:.*]] = kernel.stage @blk.0.attn_output rows @wanted : <32, f32, 0>
// CHECK-NEXT:    kernel.matmul %[[L]], @token_embd.weight -> @logits soft_cap 3.0
lm.model @attention family "llama" context 8 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<20x32xf32> {
    %0 = weight.load "e" stored "F32" : tensor<20x32xf32>
    weight.yield %0 : tensor<20x32xf32>
  }
  lm.param @blk.0.attn_norm.weight : tensor<32xf32> {
    %0 = weight.load "n" stored "F32" : tensor<32xf32>
    weight.yield %0 : tensor<32xf32>
  }
  lm.param @blk.0.attn_qkv.weight : !i4 {
    %0 = weight.load "qkv" stored "F32" : tensor<64x32xf32>
    %1 = weight.quantize %0 : tensor<64x32xf32> -> !i4
    weight.yield %1 : !i4
  }
  lm.param @blk.0.attn_qkv.bias : tensor<64xf32> {
    %0 = weight.load "b" stored "F32" : tensor<64xf32>
    weight.yield %0 : tensor<64xf32>
  }
  lm.param @blk.0.attn_output.weight : tensor<32x32xf32> {
    %0 = weight.load "o" stored "F32" : tensor<32x32xf32>
    weight.yield %0 : tensor<32x32xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight scale 2.0 : tensor<?x32xf32>
    %y = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x32xf32>):
      %n = lm.norm %a, @blk.0.attn_norm.weight eps 1.0e-5 : tensor<?x32xf32>
      %f = lm.linear %n, @blk.0.attn_qkv.weight bias @blk.0.attn_qkv.bias : tensor<?x32xf32> -> tensor<?x64xf32>
      %q, %k, %v = lm.split %f : tensor<?x64xf32> -> tensor<?x32xf32>, tensor<?x16xf32>, tensor<?x16xf32>
      %qr = lm.rope %q heads 2 dims 16 base 1.0e4 : tensor<?x32xf32>
      %kr = lm.rope %k heads 1 dims 16 base 1.0e4 : tensor<?x16xf32>
      %o = lm.attention %qr, %kr, %v heads 2 kv_heads 1 scale 0.25 window 8 cache f16 : tensor<?x32xf32>, tensor<?x16xf32>
      %p = lm.linear %o, @blk.0.attn_output.weight : tensor<?x32xf32> -> tensor<?x32xf32>
      %r = lm.residual %a, %p : tensor<?x32xf32>
      lm.yield %r : tensor<?x32xf32>
    } : tensor<?x32xf32>
    %l = lm.logits %y, @token_embd.weight soft_cap 3.0 : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}

// -----

// The gated product is one op over gated blocks (each half of 40 rows padded to 48); a norm after
// the block's product is a phase that adds the residual.
// CHECK-LABEL: kernel.program @feed_forward.kernel
// CHECK:       kernel.buffer @blk.0.ffn_gate_up.weight weights tensor<80x32xbf16> format bf16 layout rows16_gated bytes 6144
// CHECK:         %[[S:.*]] = kernel.stage @embedding : <32, f32, 0>
// CHECK-NEXT:    kernel.matmul_glu %[[S]], @blk.0.ffn_gate_up.weight -> @blk.0.ffn_gate_up act gelu_tanh
// CHECK:         kernel.matmul %{{.*}}, @blk.0.ffn_down.weight -> @blk.0.ffn_down : <40, f32, 0>
// CHECK:       kernel.wait @run.blk.0.ffn_down
// CHECK-NEXT:  kernel.phase @run.blk.0.post_ffw_norm "blk.0" tiles 1 per_row {
// CHECK-NEXT:    kernel.norm @blk.0.ffn_down, @blk.0.post_ffw_norm.weight -> @blk.0.post_ffw_norm eps {{.*}} offset residual @embedding
lm.model @feed_forward family "gemma2" context 8 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<20x32xf32> {
    %0 = weight.load "e" stored "F32" : tensor<20x32xf32>
    weight.yield %0 : tensor<20x32xf32>
  }
  lm.param @blk.0.ffn_gate_up.weight : tensor<80x32xbf16> {
    %0 = weight.load "gu" stored "BF16" : tensor<80x32xbf16>
    weight.yield %0 : tensor<80x32xbf16>
  }
  lm.param @blk.0.ffn_down.weight : tensor<32x40xf32> {
    %0 = weight.load "d" stored "F32" : tensor<32x40xf32>
    weight.yield %0 : tensor<32x40xf32>
  }
  lm.param @blk.0.post_ffw_norm.weight : tensor<32xbf16> {
    %0 = weight.load "n" stored "BF16" : tensor<32xbf16>
    weight.yield %0 : tensor<32xbf16>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %y = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x32xf32>):
      %f = lm.linear %a, @blk.0.ffn_gate_up.weight : tensor<?x32xf32> -> tensor<?x80xf32>
      %g, %u = lm.split %f : tensor<?x80xf32> -> tensor<?x40xf32>, tensor<?x40xf32>
      %s = lm.glu %g, %u act gelu_tanh : tensor<?x40xf32>
      %d = lm.linear %s, @blk.0.ffn_down.weight : tensor<?x40xf32> -> tensor<?x32xf32>
      %n = lm.norm %d, @blk.0.post_ffw_norm.weight eps 1.0e-6 offset : tensor<?x32xf32>
      %r = lm.residual %a, %n : tensor<?x32xf32>
      lm.yield %r : tensor<?x32xf32>
    } : tensor<?x32xf32>
    %l = lm.logits %y, @token_embd.weight : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}

// -----

// Gate and up that were not fused: two phases that need not wait for each other, then the product.
// CHECK-LABEL: kernel.program @unfused.kernel
// CHECK:       kernel.wait @run.embedding
// CHECK-NEXT:  kernel.phase @run.blk.0.ffn_gate
// CHECK-NOT:   kernel.wait
// CHECK:       kernel.phase @run.blk.0.ffn_up
// CHECK:       kernel.wait @run.blk.0.ffn_up
// CHECK:         kernel.glu @blk.0.ffn_gate at 0, @blk.0.ffn_up at 0 -> @blk.0.glu act silu
// CHECK:         kernel.residual @embedding, @blk.0.glu -> @blk.0.residual
lm.model @unfused family "llama" context 8 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<20x32xf32> {
    %0 = weight.load "e" stored "F32" : tensor<20x32xf32>
    weight.yield %0 : tensor<20x32xf32>
  }
  lm.param @blk.0.ffn_gate.weight : tensor<32x32xf32> {
    %0 = weight.load "g" stored "F32" : tensor<32x32xf32>
    weight.yield %0 : tensor<32x32xf32>
  }
  lm.param @blk.0.ffn_up.weight : tensor<32x32xf32> {
    %0 = weight.load "u" stored "F32" : tensor<32x32xf32>
    weight.yield %0 : tensor<32x32xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %y = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x32xf32>):
      %g = lm.linear %a, @blk.0.ffn_gate.weight : tensor<?x32xf32> -> tensor<?x32xf32>
      %u = lm.linear %a, @blk.0.ffn_up.weight : tensor<?x32xf32> -> tensor<?x32xf32>
      %s = lm.glu %g, %u act silu : tensor<?x32xf32>
      %r = lm.residual %a, %s : tensor<?x32xf32>
      lm.yield %r : tensor<?x32xf32>
    } : tensor<?x32xf32>
    %l = lm.logits %y, @token_embd.weight : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}
