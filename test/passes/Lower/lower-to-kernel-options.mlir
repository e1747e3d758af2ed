// RUN: not retort-opt %s --pass-pipeline='builtin.module(lower-to-kernel{model=absent})' 2>&1 | FileCheck %s --check-prefix=ABSENT
// RUN: not retort-opt %s --pass-pipeline='builtin.module(lower-to-kernel{max-rows=-1})' 2>&1 | FileCheck %s --check-prefix=ROWS
// RUN: not retort-opt %s --pass-pipeline='builtin.module(lower-to-kernel{target=gpu})' 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: not retort-opt %s --pass-pipeline='builtin.module(lower-to-kernel{target=cuda})' 2>&1 | FileCheck %s --check-prefix=NOSTEP
// RUN: not retort-opt %s --pass-pipeline='builtin.module(lower-to-kernel{step=decode})' 2>&1 | FileCheck %s --check-prefix=CPUSTEP
// RUN: not retort-opt %s --pass-pipeline='builtin.module(lower-to-kernel{target=cuda step=decode max-rows=17})' 2>&1 | FileCheck %s --check-prefix=FEW
// RUN: not retort-opt %s --pass-pipeline='builtin.module(lower-to-kernel{target=cuda step=decode splits=65})' 2>&1 | FileCheck %s --check-prefix=SPLITS
// RUN: not retort-opt %s --pass-pipeline='builtin.module(lower-to-kernel{target=cuda step=decode multiprocessors=0})' 2>&1 | FileCheck %s --check-prefix=SMS
// ABSENT: error: there is no model @absent
// ROWS: error: lower-to-kernel: max-rows is -1: at least 1 is needed
// TARGET: error: lower-to-kernel: target is 'gpu': cpu or cuda is needed
// NOSTEP: error: lower-to-kernel: step is '': decode or prefill is needed
// CPUSTEP: error: lower-to-kernel: step is 'decode': only target=cuda has steps
// FEW: error: lower-to-kernel: max-rows is 17: a decode step has at most 16
// SPLITS: error: lower-to-kernel: splits is 65: at most 64 are possible
// SMS: error: lower-to-kernel: multiprocessors is 0: at least 1 is needed
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
