// RUN: retort-opt %s --split-input-file --verify-diagnostics --pass-pipeline='builtin.module(lm.model(partition{devices=2 device=1}))'
// RUN: not retort-opt %s --pass-pipeline='builtin.module(lm.model(partition{devices=3}))' --split-input-file 2>&1 | FileCheck %s --check-prefix=THREE
// RUN: not retort-opt %s --pass-pipeline='builtin.module(lm.model(partition{devices=2 device=2}))' --split-input-file 2>&1 | FileCheck %s --check-prefix=DEVICE
// THREE:  partition: devices is 3: 1 or 2 is possible
// DEVICE: partition: device is 2 of 2: they are counted from 0

// expected-error @below {{partition: the vocabulary has 16 tokens, which are cut in units of 16: compile for one device}}
lm.model @small family "llama" context 8 vocab 16 hidden 16 {
  lm.param @e : tensor<16x16xf32> {
    %0 = weight.load "e" stored "F32" : tensor<16x16xf32>
    weight.yield %0 : tensor<16x16xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @e : tensor<?x16xf32>
    %l = lm.logits %x, @e : tensor<?x16xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}
// -----
// expected-error @below {{partition: the model is device 0's part already}}
lm.model @twice family "llama" context 8 vocab 32 hidden 16 attributes {shard = #lm.shard<device = 0, devices = 2, begin = 0, logits = 16>} {
  lm.param @e : tensor<32x16xf32> {
    %0 = weight.load "e" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @o : tensor<16x16xf32> {
    %0 = weight.load "o" stored "F32" : tensor<16x16xf32>
    weight.yield %0 : tensor<16x16xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @e : tensor<?x16xf32>
    %l = lm.logits %x, @o : tensor<?x16xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}
// -----
lm.model @one_head family "llama" context 8 vocab 32 hidden 16 {
  lm.param @e : tensor<32x16xf32> {
    %0 = weight.load "e" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @w : tensor<16x16xf32> {
    %0 = weight.load "w" stored "F32" : tensor<16x16xf32>
    weight.yield %0 : tensor<16x16xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @e : tensor<?x16xf32>
    %b = lm.block "blk.3"(%x) {
    ^bb0(%a: tensor<?x16xf32>):
      %q = lm.linear %a, @w : tensor<?x16xf32> -> tensor<?x16xf32>
      // expected-error @below {{partition: block "blk.3" has 1 key/value head, which two devices cannot share: compile for one device}}
      %o = lm.attention %q, %q, %q heads 1 kv_heads 1 scale 0.25 : tensor<?x16xf32>, tensor<?x16xf32>
      %r = lm.residual %a, %o : tensor<?x16xf32>
      lm.yield %r : tensor<?x16xf32>
    } : tensor<?x16xf32>
    %l = lm.logits %b, @e : tensor<?x16xf32> -> tensor<?x32xf32>
    lm.return %l : tensor<?x32xf32>
  }
}
// -----
!g128 = tensor<16x32xi4, #weight.format<i4g128s>>
lm.model @groups family "llama" context 8 vocab 32 hidden 16 {
  lm.param @e : tensor<32x16xf32> {
    %0 = weight.load "e" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @w : tensor<32x16xf32> {
    %0 = weight.load "w" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @o : !g128 {
    %0 = weight.load "o" stored "F32" : tensor<16x32xf32>
    %1 = weight.quantize %0 : tensor<16x32xf32> -> !g128
    weight.yield %1 : !g128
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @e : tensor<?x16xf32>
    %b = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x16xf32>):
      %q = lm.linear %a, @w : tensor<?x16xf32> -> tensor<?x32xf32>
      // expected-error @below {{partition: block "blk.0" has 2 key/value heads of 16 features of the output projection, which is quantised in groups of 128: no cut falls between groups: use smaller groups}}
      %o = lm.attention %q, %q, %q heads 2 kv_heads 2 scale 0.25 : tensor<?x32xf32>, tensor<?x32xf32>
      %p = lm.linear %o, @o : tensor<?x32xf32> -> tensor<?x16xf32>
      %r = lm.residual %a, %p : tensor<?x16xf32>
      lm.yield %r : tensor<?x16xf32>
    } : tensor<?x16xf32>
    %l = lm.logits %b, @e : tensor<?x16xf32> -> tensor<?x32xf32>
    lm.return %l : tensor<?x32xf32>
  }
}
// -----
lm.model @channels family "llama" context 8 vocab 32 hidden 16 {
  lm.param @e : tensor<32x16xf32> {
    %0 = weight.load "e" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @g : tensor<16x16xf32> {
    %0 = weight.load "g" stored "F32" : tensor<16x16xf32>
    weight.yield %0 : tensor<16x16xf32>
  }
  lm.param @u : tensor<16x16xf32> {
    %0 = weight.load "u" stored "F32" : tensor<16x16xf32>
    weight.yield %0 : tensor<16x16xf32>
  }
  lm.param @d : tensor<16x16xf32> {
    %0 = weight.load "d" stored "F32" : tensor<16x16xf32>
    weight.yield %0 : tensor<16x16xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @e : tensor<?x16xf32>
    %b = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x16xf32>):
      %g = lm.linear %a, @g : tensor<?x16xf32> -> tensor<?x16xf32>
      %u = lm.linear %a, @u : tensor<?x16xf32> -> tensor<?x16xf32>
      // expected-error @below {{partition: block "blk.0" has 16 channels, which are cut in units of 16: compile for one device}}
      %h = lm.glu %g, %u act silu : tensor<?x16xf32>
      %d = lm.linear %h, @d : tensor<?x16xf32> -> tensor<?x16xf32>
      %r = lm.residual %a, %d : tensor<?x16xf32>
      lm.yield %r : tensor<?x16xf32>
    } : tensor<?x16xf32>
    %l = lm.logits %b, @e : tensor<?x16xf32> -> tensor<?x32xf32>
    lm.return %l : tensor<?x32xf32>
  }
}
// -----
lm.model @other family "llama" context 8 vocab 32 hidden 16 {
  lm.param @e : tensor<32x16xf32> {
    %0 = weight.load "e" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @w : tensor<16x16xf32> {
    %0 = weight.load "w" stored "F32" : tensor<16x16xf32>
    weight.yield %0 : tensor<16x16xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @e : tensor<?x16xf32>
    // expected-error @below {{partition: the model has a linear layer @w that is no projection of an attention or a gated unit}}
    %y = lm.linear %x, @w : tensor<?x16xf32> -> tensor<?x16xf32>
    %l = lm.logits %y, @e : tensor<?x16xf32> -> tensor<?x32xf32>
    lm.return %l : tensor<?x32xf32>
  }
}
// -----
lm.model @allheads family "llama" context 8 vocab 32 hidden 16 {
  lm.param @e : tensor<32x16xf32> {
    %0 = weight.load "e" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @q : tensor<32x16xf32> {
    %0 = weight.load "q" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @k : tensor<32x16xf32> {
    %0 = weight.load "k" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @v : tensor<32x16xf32> {
    %0 = weight.load "v" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @o : tensor<16x32xf32> {
    %0 = weight.load "o" stored "F32" : tensor<16x32xf32>
    weight.yield %0 : tensor<16x32xf32>
  }
  lm.param @n : tensor<32xf32> {
    %0 = weight.load "n" stored "F32" : tensor<32xf32>
    weight.yield %0 : tensor<32xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @e : tensor<?x16xf32>
    %b = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x16xf32>):
      %q = lm.linear %a, @q : tensor<?x16xf32> -> tensor<?x32xf32>
      %k = lm.linear %a, @k : tensor<?x16xf32> -> tensor<?x32xf32>
      %v = lm.linear %a, @v : tensor<?x16xf32> -> tensor<?x32xf32>
      // expected-error @below {{partition: block "blk.0" normalises all heads together, so no device can alone}}
      %m = lm.norm %q, @n eps 1.0e-5 : tensor<?x32xf32>
      %o = lm.attention %m, %k, %v heads 2 kv_heads 2 scale 0.25 : tensor<?x32xf32>, tensor<?x32xf32>
      %p = lm.linear %o, @o : tensor<?x32xf32> -> tensor<?x16xf32>
      %r = lm.residual %a, %p : tensor<?x16xf32>
      lm.yield %r : tensor<?x16xf32>
    } : tensor<?x16xf32>
    %l = lm.logits %b, @e : tensor<?x16xf32> -> tensor<?x32xf32>
    lm.return %l : tensor<?x32xf32>
  }
}
// -----
lm.model @sharedquery family "llama" context 8 vocab 32 hidden 16 {
  lm.param @e : tensor<32x16xf32> {
    %0 = weight.load "e" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @q : tensor<32x16xf32> {
    %0 = weight.load "q" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @k : tensor<32x16xf32> {
    %0 = weight.load "k" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @v : tensor<32x16xf32> {
    %0 = weight.load "v" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @o : tensor<16x32xf32> {
    %0 = weight.load "o" stored "F32" : tensor<16x32xf32>
    weight.yield %0 : tensor<16x32xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @e : tensor<?x16xf32>
    %b = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x16xf32>):
      // expected-error @below {{partition: @q is read by more than one op in block "blk.0"}}
      %q = lm.linear %a, @q : tensor<?x16xf32> -> tensor<?x32xf32>
      %k = lm.linear %a, @q : tensor<?x16xf32> -> tensor<?x32xf32>
      %v = lm.linear %a, @v : tensor<?x16xf32> -> tensor<?x32xf32>
      %o = lm.attention %q, %k, %v heads 2 kv_heads 2 scale 0.25 : tensor<?x32xf32>, tensor<?x32xf32>
      %p = lm.linear %o, @o : tensor<?x32xf32> -> tensor<?x16xf32>
      %r = lm.residual %a, %p : tensor<?x16xf32>
      lm.yield %r : tensor<?x16xf32>
    } : tensor<?x16xf32>
    %l = lm.logits %b, @e : tensor<?x16xf32> -> tensor<?x32xf32>
    lm.return %l : tensor<?x32xf32>
  }
}
// -----
lm.model @fused family "llama" context 8 vocab 32 hidden 16 {
  lm.param @e : tensor<32x16xf32> {
    %0 = weight.load "e" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @w : tensor<96x16xf32> {
    %0 = weight.load "w" stored "F32" : tensor<96x16xf32>
    weight.yield %0 : tensor<96x16xf32>
  }
  lm.param @o : tensor<16x32xf32> {
    %0 = weight.load "o" stored "F32" : tensor<16x32xf32>
    weight.yield %0 : tensor<16x32xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @e : tensor<?x16xf32>
    %b = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x16xf32>):
      %w = lm.linear %a, @w : tensor<?x16xf32> -> tensor<?x96xf32>
      %q, %k, %v = lm.split %w : tensor<?x96xf32> -> tensor<?x32xf32>, tensor<?x32xf32>, tensor<?x32xf32>
      // expected-error @below {{partition: block "blk.0" has an op that no plain linear layers feed: cut before fusing}}
      %o = lm.attention %q, %k, %v heads 2 kv_heads 2 scale 0.25 : tensor<?x32xf32>, tensor<?x32xf32>
      %p = lm.linear %o, @o : tensor<?x32xf32> -> tensor<?x16xf32>
      %r = lm.residual %a, %p : tensor<?x16xf32>
      lm.yield %r : tensor<?x16xf32>
    } : tensor<?x16xf32>
    %l = lm.logits %b, @e : tensor<?x16xf32> -> tensor<?x32xf32>
    lm.return %l : tensor<?x32xf32>
  }
}
// -----
lm.model @nothing family "llama" context 8 vocab 32 hidden 16 {
  lm.param @e : tensor<32x16xf32> {
    %0 = weight.load "e" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @q : tensor<32x16xf32> {
    %0 = weight.load "q" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @k : tensor<32x16xf32> {
    %0 = weight.load "k" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @v : tensor<32x16xf32> {
    %0 = weight.load "v" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @e : tensor<?x16xf32>
    %b = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x16xf32>):
      %q = lm.linear %a, @q : tensor<?x16xf32> -> tensor<?x32xf32>
      %k = lm.linear %a, @k : tensor<?x16xf32> -> tensor<?x32xf32>
      %v = lm.linear %a, @v : tensor<?x16xf32> -> tensor<?x32xf32>
      // expected-error @below {{partition: block "blk.0" has an op that no plain linear layer follows}}
      %o = lm.attention %q, %k, %v heads 2 kv_heads 2 scale 0.25 : tensor<?x32xf32>, tensor<?x32xf32>
      lm.yield %a : tensor<?x16xf32>
    } : tensor<?x16xf32>
    %l = lm.logits %b, @e : tensor<?x16xf32> -> tensor<?x32xf32>
    lm.return %l : tensor<?x32xf32>
  }
}
// -----
lm.model @channelnorm family "llama" context 8 vocab 32 hidden 16 {
  lm.param @e : tensor<32x16xf32> {
    %0 = weight.load "e" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @g : tensor<32x16xf32> {
    %0 = weight.load "g" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @u : tensor<32x16xf32> {
    %0 = weight.load "u" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @d : tensor<16x32xf32> {
    %0 = weight.load "d" stored "F32" : tensor<16x32xf32>
    weight.yield %0 : tensor<16x32xf32>
  }
  lm.param @n : tensor<32xf32> {
    %0 = weight.load "n" stored "F32" : tensor<32xf32>
    weight.yield %0 : tensor<32xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @e : tensor<?x16xf32>
    %b = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x16xf32>):
      %g = lm.linear %a, @g : tensor<?x16xf32> -> tensor<?x32xf32>
      %u = lm.linear %a, @u : tensor<?x16xf32> -> tensor<?x32xf32>
      %m = lm.norm %g, @n eps 1.0e-5 : tensor<?x32xf32>
      // expected-error @below {{partition: block "blk.0" normalises or rotates a gated unit's channels}}
      %h = lm.glu %m, %u act silu : tensor<?x32xf32>
      %p = lm.linear %h, @d : tensor<?x32xf32> -> tensor<?x16xf32>
      %r = lm.residual %a, %p : tensor<?x16xf32>
      lm.yield %r : tensor<?x16xf32>
    } : tensor<?x16xf32>
    %l = lm.logits %b, @e : tensor<?x16xf32> -> tensor<?x32xf32>
    lm.return %l : tensor<?x32xf32>
  }
}
// -----
// expected-error @below {{partition: the model returns what is no lm.logits}}
lm.model @nologits family "llama" context 8 vocab 32 hidden 16 {
  lm.param @e : tensor<32x16xf32> {
    %0 = weight.load "e" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @w : tensor<32x16xf32> {
    %0 = weight.load "w" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @e : tensor<?x16xf32>
    %b = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x16xf32>):
      lm.yield %a : tensor<?x16xf32>
    } : tensor<?x16xf32>
    %l = lm.linear %b, @w : tensor<?x16xf32> -> tensor<?x32xf32>
    lm.return %l : tensor<?x32xf32>
  }
}
// -----
lm.model @packed family "llama" context 8 vocab 32 hidden 16 {
  lm.param @e : tensor<32x16xf32> {
    %0 = weight.load "e" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @q : tensor<32x16xf32> {
    %0 = weight.load "q" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @k : tensor<32x16xf32> {
    %0 = weight.load "k" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @v : tensor<32x16xf32> {
    %0 = weight.load "v" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @o : tensor<2048xi8> {
    %0 = weight.load "o" stored "F32" : tensor<16x32xf32>
    %1 = weight.pack %0 layout rows16 : tensor<16x32xf32> -> tensor<2048xi8>
    weight.yield %1 : tensor<2048xi8>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @e : tensor<?x16xf32>
    %b = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x16xf32>):
      %q = lm.linear %a, @q : tensor<?x16xf32> -> tensor<?x32xf32>
      %k = lm.linear %a, @q : tensor<?x16xf32> -> tensor<?x32xf32>
      %v = lm.linear %a, @v : tensor<?x16xf32> -> tensor<?x32xf32>
      %o = lm.attention %q, %k, %v heads 2 kv_heads 2 scale 0.25 : tensor<?x32xf32>, tensor<?x32xf32>
      // expected-error @below {{partition: @o is packed: cut before lowering}}
      %p = lm.linear %o, @o : tensor<?x32xf32> -> tensor<?x16xf32>
      %r = lm.residual %a, %p : tensor<?x16xf32>
      lm.yield %r : tensor<?x16xf32>
    } : tensor<?x16xf32>
    %l = lm.logits %b, @e : tensor<?x16xf32> -> tensor<?x32xf32>
    lm.return %l : tensor<?x32xf32>
  }
}
// -----
lm.model @packedlogits family "llama" context 8 vocab 32 hidden 16 {
  lm.param @e : tensor<32x16xf32> {
    %0 = weight.load "e" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @q : tensor<32x16xf32> {
    %0 = weight.load "q" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @k : tensor<32x16xf32> {
    %0 = weight.load "k" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @v : tensor<32x16xf32> {
    %0 = weight.load "v" stored "F32" : tensor<32x16xf32>
    weight.yield %0 : tensor<32x16xf32>
  }
  lm.param @o : tensor<16x32xf32> {
    %0 = weight.load "o" stored "F32" : tensor<16x32xf32>
    weight.yield %0 : tensor<16x32xf32>
  }
  lm.param @h : tensor<2048xi8> {
    %0 = weight.load "h" stored "F32" : tensor<32x16xf32>
    %1 = weight.pack %0 layout rows16 : tensor<32x16xf32> -> tensor<2048xi8>
    weight.yield %1 : tensor<2048xi8>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @e : tensor<?x16xf32>
    %b = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x16xf32>):
      %q = lm.linear %a, @q : tensor<?x16xf32> -> tensor<?x32xf32>
      %k = lm.linear %a, @k : tensor<?x16xf32> -> tensor<?x32xf32>
      %v = lm.linear %a, @v : tensor<?x16xf32> -> tensor<?x32xf32>
      %o = lm.attention %q, %k, %v heads 2 kv_heads 2 scale 0.25 : tensor<?x32xf32>, tensor<?x32xf32>
      %p = lm.linear %o, @o : tensor<?x32xf32> -> tensor<?x16xf32>
      %r = lm.residual %a, %p : tensor<?x16xf32>
      lm.yield %r : tensor<?x16xf32>
    } : tensor<?x16xf32>
    // expected-error @below {{partition: @h is packed: cut before lowering}}
    %l = lm.logits %b, @h : tensor<?x16xf32> -> tensor<?x32xf32>
    lm.return %l : tensor<?x32xf32>
  }
}
