// A model of two blocks: one fused, quantised and rotated, one with a norm of keys, a window and a soft cap.
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
