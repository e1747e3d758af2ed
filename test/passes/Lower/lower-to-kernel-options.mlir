// RUN: not retort-opt %s --pass-pipeline='builtin.module(lower-to-kernel{model=absent})' 2>&1 | FileCheck %s --check-prefix=ABSENT
// RUN: not retort-opt %s --pass-pipeline='builtin.module(lower-to-kernel{max-rows=0})' 2>&1 | FileCheck %s --check-prefix=ROWS
// ABSENT: error: lower-to-kernel: the module has no model 'absent'
// ROWS: error: lower-to-kernel: max-rows is 0: at least 1 is needed
lm.model @m family "llama" context 8 vocab 20 hidden 32 {
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
