// RUN: retort-opt %s --split-input-file --verify-diagnostics \
// RUN:   --pass-pipeline='builtin.module(lower-to-kernel{target=cuda step=decode})'
// What CUDA kernels cannot do is refused where it stands, with the layer's name.

lm.model @m family "llama" context 8 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<20x32xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<20x32xf32>
    weight.yield %0 : tensor<20x32xf32>
  }
  lm.param @blk.3.attn_qkv.weight : tensor<1088x32xf32> {
    %0 = weight.load "blk.3.attn_qkv.weight" stored "F32" : tensor<1088x32xf32>
    weight.yield %0 : tensor<1088x32xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %y = lm.block "blk.3"(%x) {
    ^bb0(%a: tensor<?x32xf32>):
      %f = lm.linear %a, @blk.3.attn_qkv.weight : tensor<?x32xf32> -> tensor<?x1088xf32>
      %q, %k, %v = lm.split %f : tensor<?x1088xf32> -> tensor<?x544xf32>, tensor<?x272xf32>, tensor<?x272xf32>
      // expected-error @below {{has heads of 272 features in blk.3: CUDA kernels know at most 256}}
      %o = lm.attention %q, %k, %v heads 2 kv_heads 1 scale 0.25 : tensor<?x544xf32>, tensor<?x272xf32>
      lm.yield %a : tensor<?x32xf32>
    } : tensor<?x32xf32>
    %l = lm.logits %y, @token_embd.weight : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}

// -----

// A parameter is packed for one target.
lm.model @m family "llama" context 8 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<4096xi8> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<20x32xf32>
    %1 = weight.pack %0 layout rows16 : tensor<20x32xf32> -> tensor<4096xi8>
    weight.yield %1 : tensor<4096xi8>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    // expected-error @below {{reads 'token_embd.weight' in layout mma16, but it is packed as rows16: lower a copy of the model for each target}}
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}
