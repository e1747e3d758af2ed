// A model of two blocks: 4 heads of 2 features in 2 groups, 8 channels, a tied vocabulary of 8.
lm.model @teacher family "llama" context 64 vocab 8 hidden 8 {
  lm.param @token_embd.weight : tensor<8x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @blk.0.attn_norm.weight : tensor<8xf32> {
    %0 = weight.load "blk.0.attn_norm.weight" stored "F32" : tensor<8xf32>
    weight.yield %0 : tensor<8xf32>
  }
  lm.param @blk.0.attn_q.weight : tensor<8x8xf32> {
    %0 = weight.load "blk.0.attn_q.weight" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @blk.0.attn_q.bias : tensor<8xf32> {
    %0 = weight.load "blk.0.attn_q.bias" stored "F32" : tensor<8xf32>
    weight.yield %0 : tensor<8xf32>
  }
  lm.param @blk.0.attn_k.weight : tensor<4x8xf32> {
    %0 = weight.load "blk.0.attn_k.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.param @blk.0.attn_v.weight : tensor<4x8xf32> {
    %0 = weight.load "blk.0.attn_v.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.param @blk.0.attn_output.weight : tensor<8x8xf32> {
    %0 = weight.load "blk.0.attn_output.weight" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @blk.0.ffn_norm.weight : tensor<8xf32> {
    %0 = weight.load "blk.0.ffn_norm.weight" stored "F32" : tensor<8xf32>
    weight.yield %0 : tensor<8xf32>
  }
  lm.param @blk.0.ffn_gate.weight : tensor<8x8xf32> {
    %0 = weight.load "blk.0.ffn_gate.weight" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @blk.0.ffn_up.weight : tensor<8x8xf32> {
    %0 = weight.load "blk.0.ffn_up.weight" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @blk.0.ffn_down.weight : tensor<8x8xf32> {
    %0 = weight.load "blk.0.ffn_down.weight" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @blk.1.attn_norm.weight : tensor<8xf32> {
    %0 = weight.load "blk.1.attn_norm.weight" stored "F32" : tensor<8xf32>
    weight.yield %0 : tensor<8xf32>
  }
  lm.param @blk.1.attn_q.weight : tensor<8x8xf32> {
    %0 = weight.load "blk.1.attn_q.weight" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @blk.1.attn_q.bias : tensor<8xf32> {
    %0 = weight.load "blk.1.attn_q.bias" stored "F32" : tensor<8xf32>
    weight.yield %0 : tensor<8xf32>
  }
  lm.param @blk.1.attn_k.weight : tensor<4x8xf32> {
    %0 = weight.load "blk.1.attn_k.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.param @blk.1.attn_v.weight : tensor<4x8xf32> {
    %0 = weight.load "blk.1.attn_v.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.param @blk.1.attn_output.weight : tensor<8x8xf32> {
    %0 = weight.load "blk.1.attn_output.weight" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @blk.1.ffn_norm.weight : tensor<8xf32> {
    %0 = weight.load "blk.1.ffn_norm.weight" stored "F32" : tensor<8xf32>
    weight.yield %0 : tensor<8xf32>
  }
  lm.param @blk.1.ffn_gate.weight : tensor<8x8xf32> {
    %0 = weight.load "blk.1.ffn_gate.weight" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @blk.1.ffn_up.weight : tensor<8x8xf32> {
    %0 = weight.load "blk.1.ffn_up.weight" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @blk.1.ffn_down.weight : tensor<8x8xf32> {
    %0 = weight.load "blk.1.ffn_down.weight" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.param @output_norm.weight : tensor<8xf32> {
    %0 = weight.load "output_norm.weight" stored "F32" : tensor<8xf32>
    weight.yield %0 : tensor<8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x0 = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %x1 = lm.block "blk.0"(%x0) {
    ^bb0(%a: tensor<?x8xf32>):
      %n = lm.norm %a, @blk.0.attn_norm.weight eps 1.0e-5 : tensor<?x8xf32>
      %q = lm.linear %n, @blk.0.attn_q.weight bias @blk.0.attn_q.bias : tensor<?x8xf32> -> tensor<?x8xf32>
      %k = lm.linear %n, @blk.0.attn_k.weight : tensor<?x8xf32> -> tensor<?x4xf32>
      %v = lm.linear %n, @blk.0.attn_v.weight : tensor<?x8xf32> -> tensor<?x4xf32>
      %qr = lm.rope %q heads 4 dims 2 base 1.0e4 : tensor<?x8xf32>
      %kr = lm.rope %k heads 2 dims 2 base 1.0e4 : tensor<?x4xf32>
      %o = lm.attention %qr, %kr, %v heads 4 kv_heads 2 scale 0.5 : tensor<?x8xf32>, tensor<?x4xf32>
      %p = lm.linear %o, @blk.0.attn_output.weight : tensor<?x8xf32> -> tensor<?x8xf32>
      %h = lm.residual %a, %p : tensor<?x8xf32>
      %m = lm.norm %h, @blk.0.ffn_norm.weight eps 1.0e-5 : tensor<?x8xf32>
      %g = lm.linear %m, @blk.0.ffn_gate.weight : tensor<?x8xf32> -> tensor<?x8xf32>
      %u = lm.linear %m, @blk.0.ffn_up.weight : tensor<?x8xf32> -> tensor<?x8xf32>
      %s = lm.glu %g, %u act silu : tensor<?x8xf32>
      %d = lm.linear %s, @blk.0.ffn_down.weight : tensor<?x8xf32> -> tensor<?x8xf32>
      %r = lm.residual %h, %d : tensor<?x8xf32>
      lm.yield %r : tensor<?x8xf32>
    } : tensor<?x8xf32>
    %x2 = lm.block "blk.1"(%x1) {
    ^bb0(%a: tensor<?x8xf32>):
      %n = lm.norm %a, @blk.1.attn_norm.weight eps 1.0e-5 : tensor<?x8xf32>
      %q = lm.linear %n, @blk.1.attn_q.weight bias @blk.1.attn_q.bias : tensor<?x8xf32> -> tensor<?x8xf32>
      %k = lm.linear %n, @blk.1.attn_k.weight : tensor<?x8xf32> -> tensor<?x4xf32>
      %v = lm.linear %n, @blk.1.attn_v.weight : tensor<?x8xf32> -> tensor<?x4xf32>
      %qr = lm.rope %q heads 4 dims 2 base 1.0e4 : tensor<?x8xf32>
      %kr = lm.rope %k heads 2 dims 2 base 1.0e4 : tensor<?x4xf32>
      %o = lm.attention %qr, %kr, %v heads 4 kv_heads 2 scale 0.5 : tensor<?x8xf32>, tensor<?x4xf32>
      %p = lm.linear %o, @blk.1.attn_output.weight : tensor<?x8xf32> -> tensor<?x8xf32>
      %h = lm.residual %a, %p : tensor<?x8xf32>
      %m = lm.norm %h, @blk.1.ffn_norm.weight eps 1.0e-5 : tensor<?x8xf32>
      %g = lm.linear %m, @blk.1.ffn_gate.weight : tensor<?x8xf32> -> tensor<?x8xf32>
      %u = lm.linear %m, @blk.1.ffn_up.weight : tensor<?x8xf32> -> tensor<?x8xf32>
      %s = lm.glu %g, %u act silu : tensor<?x8xf32>
      %d = lm.linear %s, @blk.1.ffn_down.weight : tensor<?x8xf32> -> tensor<?x8xf32>
      %r = lm.residual %h, %d : tensor<?x8xf32>
      lm.yield %r : tensor<?x8xf32>
    } : tensor<?x8xf32>
    %f = lm.norm %x2, @output_norm.weight eps 1.0e-5 : tensor<?x8xf32>
    %l = lm.logits %f, @token_embd.weight : tensor<?x8xf32> -> tensor<?x8xf32>
    lm.return %l : tensor<?x8xf32>
  }
}
