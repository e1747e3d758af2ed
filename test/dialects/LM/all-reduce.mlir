// RUN: retort-opt %s --split-input-file --verify-diagnostics
lm.model @whole family "llama" context 8 vocab 16 hidden 8 {
  lm.param @e : tensor<16x8xf32> {
    %0 = weight.load "e" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @e : tensor<?x8xf32>
    // expected-error @below {{'lm.all_reduce' op stands in no model that is cut over devices}}
    %s = lm.all_reduce %x : tensor<?x8xf32>
    %l = lm.logits %s, @e : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}
// -----
lm.model @part family "llama" context 8 vocab 16 hidden 8 attributes {shard = #lm.shard<device = 0, devices = 2, begin = 0, logits = 8>} {
  lm.param @e : tensor<16x8xf32> {
    %0 = weight.load "e" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @e : tensor<?x8xf32>
    %l = lm.logits %x, @e : tensor<?x8xf32> -> tensor<?x16xf32>
    // expected-error @below {{returns 16 logits a row, the shard has 8}}
    lm.return %l : tensor<?x16xf32>
  }
}
// -----
// expected-error @below {{shard of device 2 of 2: at least 2 devices, counted from 0, are needed}}
lm.model @third family "llama" context 8 vocab 16 hidden 8 attributes {shard = #lm.shard<device = 2, devices = 2, begin = 0, logits = 8>} {
}
