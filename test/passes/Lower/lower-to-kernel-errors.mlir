// RUN: retort-opt %s --split-input-file --verify-diagnostics \
// RUN:   --pass-pipeline='builtin.module(lower-to-kernel)'
// What kernels cannot do is refused where it stands; the module is left as it was.

lm.model @m family "llama" context 65536 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<20x32xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<20x32xf32>
    weight.yield %0 : tensor<20x32xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    // expected-error @below {{has a scale of 65536 steps over 65536 positions: kernels know at most 4096}}
    %r = lm.rope %x heads 2 dims 16 base 1.0e4 length_scale 0.1 every 1 : tensor<?x32xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}

// -----

lm.model @m family "llama" context 8 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<20x32xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<20x32xf32>
    weight.yield %0 : tensor<20x32xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %r = lm.rope %x heads 2 dims 16 base 1.0e4 : tensor<?x32xf32>
    // expected-error @below {{reads a value that no kernel can compute on its own: a rope must feed an attention}}
    %l = lm.logits %r, @token_embd.weight : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}

// -----

lm.model @m family "llama" context 8 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<20x32xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<20x32xf32>
    weight.yield %0 : tensor<20x32xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %r = lm.rope %x heads 2 dims 16 base 1.0e4 : tensor<?x32xf32>
    // expected-error @below {{reads heads that another op reads too: they are rotated in place}}
    %o = lm.attention %r, %r, %x heads 2 kv_heads 2 scale 0.25 : tensor<?x32xf32>, tensor<?x32xf32>
    %l = lm.logits %o, @token_embd.weight : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}

// -----

lm.model @m family "llama" context 8 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<20x32xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<20x32xf32>
    weight.yield %0 : tensor<20x32xf32>
  }
  lm.param @q.weight : tensor<32x32xf32> {
    %0 = weight.load "q.weight" stored "F32" : tensor<32x32xf32>
    weight.yield %0 : tensor<32x32xf32>
  }
  lm.param @k.weight : tensor<32x32xf32> {
    %0 = weight.load "k.weight" stored "F32" : tensor<32x32xf32>
    weight.yield %0 : tensor<32x32xf32>
  }
  lm.param @v.weight : tensor<32x32xf32> {
    %0 = weight.load "v.weight" stored "F32" : tensor<32x32xf32>
    weight.yield %0 : tensor<32x32xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %q = lm.linear %x, @q.weight : tensor<?x32xf32> -> tensor<?x32xf32>
    %k = lm.linear %x, @k.weight : tensor<?x32xf32> -> tensor<?x32xf32>
    %v = lm.linear %x, @v.weight : tensor<?x32xf32> -> tensor<?x32xf32>
    %qr = lm.rope %q heads 2 dims 16 base 1.0e4 : tensor<?x32xf32>
    // expected-error @below {{rotates query and key by different numbers of features}}
    %o = lm.attention %qr, %k, %v heads 2 kv_heads 2 scale 0.25 : tensor<?x32xf32>, tensor<?x32xf32>
    %l = lm.logits %o, @token_embd.weight : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}

// -----

lm.model @m family "llama" context 8 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<20x32xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<20x32xf32>
    weight.yield %0 : tensor<20x32xf32>
  }
  lm.param @q.weight : tensor<32x32xf32> {
    %0 = weight.load "q.weight" stored "F32" : tensor<32x32xf32>
    weight.yield %0 : tensor<32x32xf32>
  }
  lm.param @k.weight : tensor<32x32xf32> {
    %0 = weight.load "k.weight" stored "F32" : tensor<32x32xf32>
    weight.yield %0 : tensor<32x32xf32>
  }
  lm.param @v.weight : tensor<32x32xf32> {
    %0 = weight.load "v.weight" stored "F32" : tensor<32x32xf32>
    weight.yield %0 : tensor<32x32xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %q = lm.linear %x, @q.weight : tensor<?x32xf32> -> tensor<?x32xf32>
    %k = lm.linear %x, @k.weight : tensor<?x32xf32> -> tensor<?x32xf32>
    %v = lm.linear %x, @v.weight : tensor<?x32xf32> -> tensor<?x32xf32>
    // expected-error @below {{has heads of 8 features: kernels know multiples of 16}}
    %o = lm.attention %q, %k, %v heads 4 kv_heads 4 scale 0.25 : tensor<?x32xf32>, tensor<?x32xf32>
    %l = lm.logits %o, @token_embd.weight : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}

// -----

lm.model @m family "llama" context 8 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<20x32xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<20x32xf32>
    weight.yield %0 : tensor<20x32xf32>
  }
  lm.param @q.weight : tensor<32x32xf32> {
    %0 = weight.load "q.weight" stored "F32" : tensor<32x32xf32>
    weight.yield %0 : tensor<32x32xf32>
  }
  lm.param @k.weight : tensor<32x32xf32> {
    %0 = weight.load "k.weight" stored "F32" : tensor<32x32xf32>
    weight.yield %0 : tensor<32x32xf32>
  }
  lm.param @v.weight : tensor<32x32xf32> {
    %0 = weight.load "v.weight" stored "F32" : tensor<32x32xf32>
    weight.yield %0 : tensor<32x32xf32>
  }
  lm.param @g.weight : tensor<16xf32> {
    %0 = weight.load "g.weight" stored "F32" : tensor<16xf32>
    weight.yield %0 : tensor<16xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %q = lm.linear %x, @q.weight : tensor<?x32xf32> -> tensor<?x32xf32>
    %k = lm.linear %x, @k.weight : tensor<?x32xf32> -> tensor<?x32xf32>
    %v = lm.linear %x, @v.weight : tensor<?x32xf32> -> tensor<?x32xf32>
    %qn = lm.norm %q, @g.weight eps 1.0e-5 groups 2 : tensor<?x32xf32>
    %kn = lm.norm %k, @g.weight eps 1.0e-6 groups 2 : tensor<?x32xf32>
    // expected-error @below {{norms query and key heads with different eps or offset}}
    %o = lm.attention %qn, %kn, %v heads 2 kv_heads 2 scale 0.25 : tensor<?x32xf32>, tensor<?x32xf32>
    %l = lm.logits %o, @token_embd.weight : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}

// -----

lm.model @m family "llama" context 8 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<20x32xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<20x32xf32>
    weight.yield %0 : tensor<20x32xf32>
  }
  lm.param @w.weight : tensor<20x32xf32> {
    %0 = weight.load "w.weight" stored "F32" : tensor<20x32xf32>
    weight.yield %0 : tensor<20x32xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %l = lm.linear %x, @w.weight : tensor<?x32xf32> -> tensor<?x20xf32>
    // expected-error @below {{returns what is no lm.logits: kernels write logits only}}
    lm.return %l : tensor<?x20xf32>
  }
}

// -----

lm.model @m family "llama" context 8 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<20x32xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<20x32xf32>
    weight.yield %0 : tensor<20x32xf32>
  }
  lm.param @w.weight : tensor<64x32xf32> {
    %0 = weight.load "w.weight" stored "F32" : tensor<64x32xf32>
    weight.yield %0 : tensor<64x32xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %f = lm.linear %x, @w.weight : tensor<?x32xf32> -> tensor<?x64xf32>
    %s:2 = lm.split %f : tensor<?x64xf32> -> tensor<?x32xf32>, tensor<?x32xf32>
    // expected-error @below {{reads columns 32 to 64 of a fused product, whole rows are needed}}
    %r = lm.residual %x, %s#1 : tensor<?x32xf32>
    %l = lm.logits %r, @token_embd.weight : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}

// -----

// expected-error @below {{the module has 2 models and none is @student: say which with model=NAME}}
module {
lm.model @a family "llama" context 8 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<20x32xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<20x32xf32>
    weight.yield %0 : tensor<20x32xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}
lm.model @b family "llama" context 8 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<20x32xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<20x32xf32>
    weight.yield %0 : tensor<20x32xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}
}
