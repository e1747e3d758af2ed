// RUN: retort-opt %s --pass-pipeline='builtin.module(lower-to-kernel{target=cuda step=decode},lower-to-kernel{target=cuda step=prefill},kernel.program(plan-buffers))' \
// RUN:   | FileCheck %s
// Two programs over the same weights. The blocks differ in heads, format and group, and the second
// has no feed-forward.

// One pack a parameter, though two programs read it.
// CHECK-LABEL: lm.param @blk.0.attn_qkv.weight
// CHECK:         %[[QKV:.*]] = weight.pack %{{.*}} layout mma16 : {{.*}} -> tensor<2304xi8>
// CHECK-NEXT:    weight.yield %[[QKV]]
// CHECK-LABEL: lm.param @blk.0.ffn_gate_up.weight
// CHECK:         %[[UP:.*]] = weight.pack %{{.*}} layout mma16_gated : {{.*}} -> tensor<12288xi8>
// CHECK-NEXT:    weight.yield %[[UP]]

// Decoding: five phases and five waits for a block with attention and feed-forward; the context of
// 1024 is cut in 4 ranges of 256, the window of 100 in none.
// CHECK-LABEL: kernel.program @m.decode target "cuda" step "decode" max_rows 16 page_rows 16 vocab 20 page_bytes 3072
// CHECK-DAG:   kernel.buffer @blk.0.attn_qkv.weight weights tensor<64x32xi4> format i4g32s layout mma16 bytes 2304 offset [[QKV_AT:[0-9]+]]
// CHECK-DAG:   kernel.buffer @blk.0.ffn_down.weight weights tensor<32x40xi4> format i4g128a layout mma16 bytes 2176 offset [[DOWN_AT:[0-9]+]]
// CHECK-DAG:   kernel.buffer @blk.1.attn_output.weight weights tensor<32x64xf32> format f32 layout mma16 bytes 8192 offset [[OUT_AT:[0-9]+]]
// CHECK-DAG:   kernel.buffer @blk.0.cache cache tensor<2x1x16x16xf16> offset 0
// CHECK-DAG:   kernel.buffer @blk.1.cache cache tensor<2x1x16x32xf16> offset 1024
// CHECK-DAG:   kernel.buffer @blk.0.partials activation tensor<16x144xf32>
// CHECK:       kernel.phase @run.rope.angles
// CHECK:       kernel.phase @run.embedding
// CHECK:       kernel.wait @run.embedding
// CHECK-NEXT:  kernel.phase @run.blk.0.attn_qkv "blk.0" tiles 4 {
// CHECK-NEXT:    kernel.stage @embedding norm @blk.0.attn_norm.weight eps {{.*}} : <32, i16, 32>
// CHECK:       kernel.wait @run.blk.0.attn_qkv
// CHECK-NEXT:  kernel.phase @run.blk.0.attend "blk.0" tiles 4 per_row {
// CHECK-NEXT:    kernel.attend @blk.0.attn_qkv at 0, @blk.0.attn_qkv at 32, @blk.0.attn_qkv at 48, @blk.0.cache, @blk.0.partials -> @blk.0.attention heads 2 kv_heads 1 dims 16 splits 4 scale 2.500000e-01 angles @rope.angles
// CHECK:       kernel.wait @run.blk.0.attend
// CHECK-NEXT:  kernel.phase @run.blk.0.attn_output "blk.0" tiles 2 {
// CHECK:         kernel.matmul {{.*}} residual @embedding : <32, f16, 0>
// CHECK:       kernel.wait @run.blk.0.attn_output
// CHECK-NEXT:  kernel.phase @run.blk.0.ffn_gate_up "blk.0" tiles 3 {
// CHECK:         kernel.matmul_glu
// CHECK:       kernel.wait @run.blk.0.ffn_gate_up
// CHECK-NEXT:  kernel.phase @run.blk.0.ffn_down "blk.0" tiles 2 {
// CHECK:         kernel.matmul {{.*}} residual @blk.0.attn_output : <40, i16, 128>

// Products that were not fused run beside each other.
// CHECK:       kernel.wait @run.blk.0.ffn_down
// CHECK-NEXT:  kernel.phase @run.blk.1.attn_q
// CHECK-NOT:   kernel.wait
// CHECK:       kernel.phase @run.blk.1.attn_v
// CHECK:       kernel.wait @run.blk.1.attn_v
// CHECK:         kernel.attend @blk.1.attn_q at 0, @blk.1.attn_k at 0, @blk.1.attn_v at 0, {{.*}} splits 1 scale 2.500000e-01 window 100 soft_cap 5.000000e+01 k_norm @blk.1.attn_k_norm.weight eps

// The largest logit comes with the product; drawing a token is a phase of steps that ask for it.
// CHECK:       kernel.phase @run.logits "model" tiles 2 {
// CHECK:         kernel.matmul %{{.*}}, @token_embd.weight -> @logits
// CHECK-NEXT:    kernel.argmax @logits -> @chosen
// CHECK:       kernel.wait @run.logits
// CHECK-NEXT:  kernel.phase @run.sample "model" tiles 1 per_row {
// CHECK-NEXT:    kernel.sample @logits by @choices -> @chosen

// Prefill: append and attention wait for each other; products have tiles for each 64 rows.
// CHECK-LABEL: kernel.program @m.prefill target "cuda" step "prefill" max_rows 512 page_rows 16 vocab 20 page_bytes 3072
// CHECK-DAG:   kernel.buffer @blk.0.attn_qkv.weight weights {{.*}} bytes 2304 offset [[QKV_AT]]
// CHECK-DAG:   kernel.buffer @blk.0.ffn_down.weight weights {{.*}} bytes 2176 offset [[DOWN_AT]]
// CHECK-DAG:   kernel.buffer @blk.1.attn_output.weight weights {{.*}} bytes 8192 offset [[OUT_AT]]
// CHECK-DAG:   kernel.buffer @blk.1.cache cache tensor<2x1x16x32xf16> offset 1024
// CHECK:       kernel.phase @run.blk.0.attn_qkv "blk.0" tiles 1 row_tile 64 {
// CHECK:       kernel.wait @run.blk.0.attn_qkv
// CHECK-NEXT:  kernel.phase @run.blk.0.append "blk.0" tiles 1 per_row {
// CHECK:       kernel.wait @run.blk.0.append
// CHECK-NEXT:  kernel.phase @run.blk.0.attention "blk.0" tiles 1 row_tile 128 row_parts 2 {
// CHECK:       kernel.wait @run.blk.0.attention
// CHECK:       kernel.phase @run.blk.0.ffn_gate_up "blk.0" tiles 1 row_tile 64 {
!qkv = tensor<64x32xi4, #weight.format<i4g32s>>
!down = tensor<32x40xi4, #weight.format<i4g128a>>
lm.model @m family "llama" context 1024 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<20x32xbf16> {
    %0 = weight.load "token_embd.weight" stored "BF16" : tensor<20x32xbf16>
    weight.yield %0 : tensor<20x32xbf16>
  }
  lm.param @blk.0.attn_norm.weight : tensor<32xf32> {
    %0 = weight.load "blk.0.attn_norm.weight" stored "F32" : tensor<32xf32>
    weight.yield %0 : tensor<32xf32>
  }
  lm.param @blk.0.attn_qkv.weight : !qkv {
    %0 = weight.load "blk.0.attn_qkv.weight" stored "F32" : tensor<64x32xf32>
    %1 = weight.quantize %0 : tensor<64x32xf32> -> !qkv
    weight.yield %1 : !qkv
  }
  lm.param @blk.0.attn_output.weight : tensor<32x32xf32> {
    %0 = weight.load "blk.0.attn_output.weight" stored "F32" : tensor<32x32xf32>
    weight.yield %0 : tensor<32x32xf32>
  }
  lm.param @blk.0.ffn_norm.weight : tensor<32xf32> {
    %0 = weight.load "blk.0.ffn_norm.weight" stored "F32" : tensor<32xf32>
    weight.yield %0 : tensor<32xf32>
  }
  lm.param @blk.0.ffn_gate_up.weight : tensor<80x32xbf16> {
    %0 = weight.load "blk.0.ffn_gate_up.weight" stored "BF16" : tensor<80x32xbf16>
    weight.yield %0 : tensor<80x32xbf16>
  }
  lm.param @blk.0.ffn_down.weight : !down {
    %0 = weight.load "blk.0.ffn_down.weight" stored "F32" : tensor<32x40xf32>
    %1 = weight.quantize %0 : tensor<32x40xf32> -> !down
    weight.yield %1 : !down
  }
  lm.param @blk.1.attn_q.weight : tensor<64x32xf32> {
    %0 = weight.load "blk.1.attn_q.weight" stored "F32" : tensor<64x32xf32>
    weight.yield %0 : tensor<64x32xf32>
  }
  lm.param @blk.1.attn_k.weight : tensor<32x32xf32> {
    %0 = weight.load "blk.1.attn_k.weight" stored "F32" : tensor<32x32xf32>
    weight.yield %0 : tensor<32x32xf32>
  }
  lm.param @blk.1.attn_v.weight : tensor<32x32xf32> {
    %0 = weight.load "blk.1.attn_v.weight" stored "F32" : tensor<32x32xf32>
    weight.yield %0 : tensor<32x32xf32>
  }
  lm.param @blk.1.attn_k_norm.weight : tensor<32xf32> {
    %0 = weight.load "blk.1.attn_k_norm.weight" stored "F32" : tensor<32xf32>
    weight.yield %0 : tensor<32xf32>
  }
  lm.param @blk.1.attn_output.weight : tensor<32x64xf32> {
    %0 = weight.load "blk.1.attn_output.weight" stored "F32" : tensor<32x64xf32>
    weight.yield %0 : tensor<32x64xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %y = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x32xf32>):
      %n = lm.norm %a, @blk.0.attn_norm.weight eps 1.0e-5 : tensor<?x32xf32>
      %f = lm.linear %n, @blk.0.attn_qkv.weight : tensor<?x32xf32> -> tensor<?x64xf32>
      %q, %k, %v = lm.split %f : tensor<?x64xf32> -> tensor<?x32xf32>, tensor<?x16xf32>, tensor<?x16xf32>
      %qr = lm.rope %q heads 2 dims 16 base 1.0e4 : tensor<?x32xf32>
      %kr = lm.rope %k heads 1 dims 16 base 1.0e4 : tensor<?x16xf32>
      %o = lm.attention %qr, %kr, %v heads 2 kv_heads 1 scale 0.25 : tensor<?x32xf32>, tensor<?x16xf32>
      %p = lm.linear %o, @blk.0.attn_output.weight : tensor<?x32xf32> -> tensor<?x32xf32>
      %r = lm.residual %a, %p : tensor<?x32xf32>
      %m = lm.norm %r, @blk.0.ffn_norm.weight eps 1.0e-5 : tensor<?x32xf32>
      %h = lm.linear %m, @blk.0.ffn_gate_up.weight : tensor<?x32xf32> -> tensor<?x80xf32>
      %g, %u = lm.split %h : tensor<?x80xf32> -> tensor<?x40xf32>, tensor<?x40xf32>
      %s = lm.glu %g, %u act silu : tensor<?x40xf32>
      %d = lm.linear %s, @blk.0.ffn_down.weight : tensor<?x40xf32> -> tensor<?x32xf32>
      %z = lm.residual %r, %d : tensor<?x32xf32>
      lm.yield %z : tensor<?x32xf32>
    } : tensor<?x32xf32>
    %w = lm.block "blk.1"(%y) {
    ^bb0(%a: tensor<?x32xf32>):
      %q = lm.linear %a, @blk.1.attn_q.weight : tensor<?x32xf32> -> tensor<?x64xf32>
      %k = lm.linear %a, @blk.1.attn_k.weight : tensor<?x32xf32> -> tensor<?x32xf32>
      %v = lm.linear %a, @blk.1.attn_v.weight : tensor<?x32xf32> -> tensor<?x32xf32>
      %kn = lm.norm %k, @blk.1.attn_k_norm.weight eps 1.0e-6 : tensor<?x32xf32>
      %o = lm.attention %q, %kn, %v heads 2 kv_heads 1 scale 0.25 window 100 soft_cap 50.0 : tensor<?x64xf32>, tensor<?x32xf32>
      %p = lm.linear %o, @blk.1.attn_output.weight : tensor<?x64xf32> -> tensor<?x32xf32>
      %r = lm.residual %a, %p : tensor<?x32xf32>
      lm.yield %r : tensor<?x32xf32>
    } : tensor<?x32xf32>
    %l = lm.logits %w, @token_embd.weight : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}
