// Without stats=, a pass reads the result of the last finished observation of what it needs, from
// the workspace.
// RUN: mkdir -p %t/objects
// RUN: cp %S/Inputs/stats.json %t/objects/0000000000000000000000000000000000000000000000000000000000000001.json
// RUN: retort-opt %s --workspace=%t --prune-depth=count=1 | FileCheck %s
// RUN: not retort-opt %s --prune-depth=count=1 2>&1 | FileCheck %s --check-prefix=GONE

// CHECK-LABEL: lm.forward
// CHECK:         lm.block "blk.0"
// CHECK-NOT:     lm.block
// CHECK:         lm.return
// GONE: error: 'distill.observe' op result is not in the workspace, needed by prune-depth
lm.model @teacher family "llama" context 64 vocab 8 hidden 8 {
  lm.param @token_embd.weight : tensor<8x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<8x8xf32>
    weight.yield %0 : tensor<8x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %y = lm.block "blk.0"(%x) { ^bb0(%a: tensor<?x8xf32>): lm.yield %a : tensor<?x8xf32> } : tensor<?x8xf32>
    %z = lm.block "blk.1"(%y) { ^bb0(%a: tensor<?x8xf32>): lm.yield %a : tensor<?x8xf32> } : tensor<?x8xf32>
    %l = lm.logits %z, @token_embd.weight : tensor<?x8xf32> -> tensor<?x8xf32>
    lm.return %l : tensor<?x8xf32>
  }
}
distill.observe @first model @teacher tokens 10 statistics [#distill.statistic<influence>]
    result <"0000000000000000000000000000000000000000000000000000000000000001">
distill.observe @other model @teacher tokens 10 statistics [#distill.statistic<vocabulary>]
    result <"0000000000000000000000000000000000000000000000000000000000000002">
distill.observe @unfinished model @teacher tokens 10 statistics [#distill.statistic<influence>]
