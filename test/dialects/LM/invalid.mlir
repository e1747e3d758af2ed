// RUN: retort-opt %s --split-input-file --verify-diagnostics --allow-unregistered-dialect
// Each case is a model with one mistake; the label of the constraint is the case's.

// model (C1)
// expected-error @below {{context must be at least 1, is 0}}
lm.model @m family "llama" context 0 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// model (C2)
// expected-error @below {{must have one lm.forward, has 0}}
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
}

// -----

// model (C2)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  // expected-error @below {{'weight.load' op does not belong into an lm.model}}
  %0 = weight.load "w" stored "F32" : tensor<8xf32>
}

// -----

// model (C3)
// expected-error @below {{keeps 2 tokens but has a vocabulary of 16}}
lm.model @m family "llama" context 64 vocab 16 hidden 8 attributes {vocab_kept = array<i32: 0, 1>} {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// model (C3)
// expected-error @below {{vocab_kept must ascend from 0: entry 15 is 3}}
lm.model @m family "llama" context 64 vocab 16 hidden 8 attributes {vocab_kept = array<i32: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 3>} {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// param (C1)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  // expected-error @below {{type must be a static vector or matrix of f32, f16 or bf16, a quantised matrix or packed bytes, is 'tensor<2x2x2xf32>'}}
  lm.param @p : tensor<2x2x2xf32> {
    %0 = weight.load "p" stored "F32" : tensor<8xf32>
    weight.yield %0 : tensor<8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// param (C2)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  // expected-error @below {{is declared 'tensor<8xf32>' but its program yields 'tensor<4xf32>'}}
  lm.param @p : tensor<8xf32> {
    %0 = weight.load "p" stored "F32" : tensor<4xf32>
    weight.yield %0 : tensor<4xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// param (C2)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.param @p : tensor<8xf32> {
    // expected-error @below {{block with no terminator}}
    %0 = weight.load "p" stored "F32" : tensor<8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// forward (C1)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  // expected-error @below {{must have one argument of type 'tensor<?xi32>'}}
  lm.forward {
  ^bb0(%tokens: tensor<?x8xf32>):
    lm.return %tokens : tensor<?x8xf32>
  }
}

// -----

// forward (C2)
lm.model @m family "llama" context 64 vocab 17 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    // expected-error @below {{returns 16 logits a row, the vocabulary has 17}}
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// forward (C3)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %b0 = lm.block "blk.0"(%x) { ^bb0(%a: tensor<?x8xf32>): lm.yield %a : tensor<?x8xf32> } : tensor<?x8xf32>
    // expected-error @below {{label "blk.0" is used twice}}
    %c0 = lm.block "blk.0"(%x) { ^bb0(%a: tensor<?x8xf32>): lm.yield %a : tensor<?x8xf32> } : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// forward (C4): an op that does not say what it reads
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{'test.mix' op names @token_embd.weight, which it does not declare as a parameter}}
    %y = "test.mix"(%x) {weights = [@token_embd.weight]} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %l = lm.logits %y, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// forward (C4): an attribute that is none of the op's
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.param @g : tensor<8xf32> {
    %0 = weight.load "g" stored "F32" : tensor<8xf32>
    weight.yield %0 : tensor<8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{'lm.logits' op names @g, which it does not declare as a parameter}}
    %l = lm.logits %x, @token_embd.weight {gain = @g} : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// block (C1)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{needs a label}}
    %b0 = lm.block ""(%x) { ^bb0(%a: tensor<?x8xf32>): lm.yield %a : tensor<?x8xf32> } : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// block (C2)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{"blk.0" must have one argument of type 'tensor<?x8xf32>'}}
    %b = lm.block "blk.0"(%x) { ^bb0(%a: tensor<?x4xf32>): lm.yield %a : tensor<?x4xf32> } : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// embed (C1)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  // expected-note @below {{the parameter is declared here}}
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    // expected-error @below {{'lm.embed' op table @token_embd.weight must be 16x4, is 16x8}}
    %y = lm.embed %tokens, @token_embd.weight : tensor<?x4xf32>
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// norm (C1)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.param @g : tensor<8xf32> {
    %0 = weight.load "g" stored "F32" : tensor<8xf32>
    weight.yield %0 : tensor<8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{eps must be finite and not negative}}
    %n = lm.norm %x, @g eps -1.0 : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// norm (C2)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.param @g : tensor<8xf32> {
    %0 = weight.load "g" stored "F32" : tensor<8xf32>
    weight.yield %0 : tensor<8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{has 8 features, not a multiple of its 3 groups}}
    %n = lm.norm %x, @g eps 1.0e-5 groups 3 : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// norm (C3)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  // expected-note @below {{the parameter is declared here}}
  lm.param @g : tensor<8xf32> {
    %0 = weight.load "g" stored "F32" : tensor<8xf32>
    weight.yield %0 : tensor<8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{gain @g must be 4, is 8}}
    %n = lm.norm %x, @g eps 1.0e-5 groups 2 : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// layer_norm (C1)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.param @g : tensor<8xf32> {
    %0 = weight.load "g" stored "F32" : tensor<8xf32>
    weight.yield %0 : tensor<8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{'lm.layer_norm' op eps must be finite and not negative}}
    %n = lm.layer_norm %x, @g bias @g eps -1.0 : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// layer_norm (C2)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.param @g : tensor<8xf32> {
    %0 = weight.load "g" stored "F32" : tensor<8xf32>
    weight.yield %0 : tensor<8xf32>
  }
  // expected-note @below {{the parameter is declared here}}
  lm.param @b : tensor<4xf32> {
    %0 = weight.load "b" stored "F32" : tensor<4xf32>
    weight.yield %0 : tensor<4xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{bias @b must be 8, is 4}}
    %n = lm.layer_norm %x, @g bias @b eps 1.0e-5 : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// A parameter that is not there; the diagnostic names the layer.
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %b = lm.block "blk.0"(%x) {
    ^bb0(%a: tensor<?x8xf32>):
      // expected-error @below {{'lm.norm' op of block "blk.0" uses @absent, but the model has no such parameter}}
      %n = lm.norm %a, @absent eps 1.0e-5 : tensor<?x8xf32>
      lm.yield %n : tensor<?x8xf32>
    } : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// linear (C1)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  // expected-note @below {{the parameter is declared here}}
  lm.param @w : tensor<4x8xf32> {
    %0 = weight.load "w" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %b = lm.block "blk.3"(%x) {
    ^bb0(%a: tensor<?x8xf32>):
      // expected-error @below {{matrix @w of block "blk.3" must be 6x8, is 4x8}}
      %n = lm.linear %a, @w : tensor<?x8xf32> -> tensor<?x6xf32>
      lm.yield %a : tensor<?x8xf32>
    } : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// linear (C2)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.param @w : tensor<4x8xf32> {
    %0 = weight.load "w" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  // expected-note @below {{the parameter is declared here}}
  lm.param @g : tensor<8xf32> {
    %0 = weight.load "g" stored "F32" : tensor<8xf32>
    weight.yield %0 : tensor<8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{bias @g must be 4, is 8}}
    %n = lm.linear %x, @w bias @g : tensor<?x8xf32> -> tensor<?x4xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// split (C1)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{has parts of 6 features together, its operand has 8}}
    %a, %b = lm.split %x : tensor<?x8xf32> -> tensor<?x2xf32>, tensor<?x4xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// rope (C1)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{has 8 features, not a multiple of its 3 heads}}
    %r = lm.rope %x heads 3 dims 2 base 1.0e4 : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// rope (C2)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{rotates 6 of a head's 4 features, must be even and no more than that}}
    %r = lm.rope %x heads 2 dims 6 base 1.0e4 : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// rope (C3)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{base must be finite and above 0}}
    %r = lm.rope %x heads 2 dims 4 base 0.0 : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// rope (C4)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{has 1 factors for 2 pairs}}
    %r = lm.rope %x heads 2 dims 4 base 1.0e4 scaling <factors, factors = [1.0]> : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// rope (C5)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{length_scale and every come together}}
    %r = "lm.rope"(%x) {heads = 2, dims = 4, base = 1.0e4 : f64, length_scale = 0.1 : f64} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// rope (C5)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{length_scale must be finite and not negative}}
    %r = lm.rope %x heads 2 dims 4 base 1.0e4 length_scale -0.1 every 8 : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// rope (C5)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{every must be at least 1, is 0}}
    %r = lm.rope %x heads 2 dims 4 base 1.0e4 length_scale 0.1 every 0 : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// attention (C1)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{has 3 query heads, not a multiple of its 2 key/value heads}}
    %o = lm.attention %x, %x, %x heads 3 kv_heads 2 scale 1.0 : tensor<?x8xf32>, tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// attention (C2)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{has 8 query features, not a multiple of its 3 heads}}
    %o = lm.attention %x, %x, %x heads 3 kv_heads 3 scale 1.0 : tensor<?x8xf32>, tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// attention (C2)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{has 8 key features, its 2 key/value heads of 2 need 4}}
    %o = lm.attention %x, %x, %x heads 4 kv_heads 2 scale 1.0 : tensor<?x8xf32>, tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// attention (C3)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{soft_cap must be finite and above 0}}
    %o = lm.attention %x, %x, %x heads 2 kv_heads 2 scale 1.0 soft_cap 0.0 : tensor<?x8xf32>, tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// attention (C3)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{window must be at least 1, is 0}}
    %o = lm.attention %x, %x, %x heads 2 kv_heads 2 scale 1.0 window 0 : tensor<?x8xf32>, tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// attention (C3)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{scale must be finite}}
    %o = lm.attention %x, %x, %x heads 2 kv_heads 2 scale 0x7FF0000000000000 : tensor<?x8xf32>, tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// attention (C4)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  // expected-note @below {{the parameter is declared here}}
  lm.param @sinks : tensor<3xf32> {
    %0 = weight.load "sinks" stored "F32" : tensor<3xf32>
    weight.yield %0 : tensor<3xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{sinks @sinks must be 4, is 3}}
    %o = lm.attention %x, %x, %x heads 4 kv_heads 4 scale 1.0 sinks @sinks : tensor<?x8xf32>, tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// logits (C1)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  // expected-note @below {{the parameter is declared here}}
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{matrix @token_embd.weight must be 12x8, is 16x8}}
    %k = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x12xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// logits (C2)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    // expected-error @below {{soft_cap must be finite and above 0}}
    %k = lm.logits %x, @token_embd.weight soft_cap -1.0 : tensor<?x8xf32> -> tensor<?x16xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}

// -----

// rope_scaling
// expected-error @below {{unknown rope scaling 'sideways'}}
"test.op"() {scaling = #lm.rope_scaling<sideways, factor = 2.0>} : () -> ()

// -----

// rope_scaling
// expected-error @below {{linear scaling has no field 'beta_fast'}}
"test.op"() {scaling = #lm.rope_scaling<linear, beta_fast = 2.0>} : () -> ()

// -----

// rope_scaling
// expected-error @below {{field 'factor' is given twice}}
"test.op"() {scaling = #lm.rope_scaling<linear, factor = 2.0, factor = 3.0>} : () -> ()

// -----

// rope_scaling
// expected-error @below {{scaling factors must be finite and above 0}}
"test.op"() {scaling = #lm.rope_scaling<linear, factor = 0.0>} : () -> ()

// -----

// rope_scaling
// expected-error @below {{needs an original_context of at least 1}}
"test.op"() {scaling = #lm.rope_scaling<llama3, factor = 8.0>} : () -> ()

// -----

// rope_scaling
// expected-error @below {{must be above low_freq_factor}}
"test.op"() {scaling = #lm.rope_scaling<llama3, factor = 8.0, original_context = 8192.0, low_freq_factor = 4.0, high_freq_factor = 1.0>} : () -> ()

// -----

// rope_scaling
// expected-error @below {{must be at least beta_slow}}
"test.op"() {scaling = #lm.rope_scaling<yarn, factor = 8.0, original_context = 4096.0, beta_fast = 0.5>} : () -> ()

// -----

// rope_scaling (C5)
// expected-error @below {{attention_factor must be finite and above 0}}
"test.op"() {scaling = #lm.rope_scaling<factors, factors = [1.0], attention_factor = 0.0>} : () -> ()

// -----

// rope_scaling
// expected-error @below {{scaling factors must be finite and above 0}}
"test.op"() {scaling = #lm.rope_scaling<factors, factors = [1.0, -1.0]>} : () -> ()

// -----

// param (C4)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  // expected-error @below {{rounds to i4g64s, but is 'tensor<8xf32>'}}
  lm.param @norm.weight : tensor<8xf32> attributes {rounds_to = #weight.format<i4g64s>} {
    %0 = weight.load "norm.weight" stored "F32" : tensor<8xf32>
    weight.yield %0 : tensor<8xf32>
  }
}

// -----

// param (C4)
lm.model @m family "llama" context 64 vocab 16 hidden 8 {
  // expected-error @below {{rounds to i8g32, but is 'tensor<16x8xi4, #weight.format<i4g64s>>'}}
  lm.param @w : tensor<16x8xi4, #weight.format<i4g64s>> attributes {rounds_to = #weight.format<i8g32>} {
    %0 = weight.load "w" stored "F32" : tensor<16x8xf32>
    %1 = weight.quantize %0 : tensor<16x8xf32> -> tensor<16x8xi4, #weight.format<i4g64s>>
    weight.yield %1 : tensor<16x8xi4, #weight.format<i4g64s>>
  }
}
