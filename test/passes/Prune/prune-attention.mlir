// RUN: retort-opt %S/../Inputs/tiny.mlir --prune-attention='count=1 stats=%S/Inputs/stats.json' | FileCheck %s
// RUN: sed 's/ bias @blk.*attn_q.bias//' %S/../Inputs/tiny.mlir > %t.fused.mlir
// RUN: retort-opt %t.fused.mlir --pass-pipeline='builtin.module(lm.model(fuse-qkv),prune-attention{count=1 stats=%S/Inputs/stats.json})' | FileCheck %s --check-prefix=FUSED
// RUN: retort-opt %S/../Inputs/tiny.mlir --prune-attention | FileCheck %s --check-prefix=NOOP
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-attention='count=2 stats=%S/Inputs/stats.json' 2>&1 | FileCheck %s --check-prefix=ALL
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-attention='count=1 stats=%S/Inputs/noinfluence.json' 2>&1 | FileCheck %s --check-prefix=ABSENT
// RUN: sed 's/lm.residual %%a, %%p/lm.residual %%p, %%a/' %S/../Inputs/tiny.mlir > %t.stream.mlir
// RUN: not retort-opt %t.stream.mlir --prune-attention='count=1 stats=%S/Inputs/stats.json' 2>&1 | FileCheck %s --check-prefix=ADDED
// RUN: sed 's/%%m = lm.norm %%h, @blk.0/%%o2 = lm.attention %%qr, %%kr, %%v heads 4 kv_heads 2 scale 0.5 : tensor<?x8xf32>, tensor<?x4xf32> %%p2 = lm.linear %%o2, @blk.0.attn_output.weight : tensor<?x8xf32> -> tensor<?x8xf32> %%h2 = lm.residual %%h, %%p2 : tensor<?x8xf32> %%m = lm.norm %%h2, @blk.0/' %S/../Inputs/tiny.mlir > %t.two.mlir
// RUN: not retort-opt %t.two.mlir --prune-attention='count=1 stats=%S/Inputs/stats.json' 2>&1 | FileCheck %s --check-prefix=TWO

// The attention of blk.0 turns the stream least, though its block turns it more. The gated unit reads the
// block's input, and what only the attention read is gone.
// CHECK-LABEL: lm.model @teacher
// CHECK-NOT:     lm.param @blk.0.attn
// CHECK:         lm.param @blk.0.ffn_norm.weight
// CHECK:         lm.param @blk.1.attn_output.weight
// CHECK:         lm.block "blk.0"
// CHECK-NEXT:    ^bb0(%[[X:.*]]: tensor<?x8xf32>):
// CHECK-NEXT:      lm.norm %[[X]], @blk.0.ffn_norm.weight
// CHECK-NOT:       lm.attention
// CHECK:           lm.residual %[[X]],
// CHECK:         lm.block "blk.1"
// CHECK:           lm.attention

// FUSED-LABEL: lm.forward
// FUSED:         lm.block "blk.0"
// FUSED-NEXT:    ^bb0(%[[X:.*]]: tensor<?x8xf32>):
// FUSED-NEXT:      lm.norm %[[X]], @blk.0.ffn_norm.weight
// FUSED:         lm.block "blk.1"
// FUSED:           lm.split

// NOOP-LABEL: lm.forward
// NOOP:         lm.block "blk.0"
// NOOP:           lm.attention
// NOOP:         lm.block "blk.1"
// NOOP:           lm.attention

// ALL: prune-attention: cannot drop 2 of 2 attentions: tokens see each other by them alone
// ABSENT: prune-attention: the statistics have no attention_influence of block "blk.0"
// ADDED: prune-attention: block "blk.0" has an attention that is not added to the stream alone
// TWO: prune-attention: block "blk.0" has 2 attentions, the statistics have 1
