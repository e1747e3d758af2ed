// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-ffn='keep=0 stats=%S/Inputs/stats.json' 2>&1 | FileCheck %s --check-prefix=KEEP
// KEEP: prune-ffn: keep must be above 0 and at most 1, is 0
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-ffn='multiple=0 stats=%S/Inputs/stats.json' 2>&1 | FileCheck %s --check-prefix=MULTIPLE
// MULTIPLE: prune-ffn: multiple must be at least 1 and min-keep at least 0
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-ffn='stats=%S/Inputs/short.json' 2>&1 | FileCheck %s --check-prefix=SHORT
// SHORT: prune-ffn: block "blk.0" has 8 channels, the statistics have 3
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-ffn='stats=%S/Inputs/nan.json' 2>&1 | FileCheck %s --check-prefix=NEGATIVE
// NEGATIVE: prune-ffn: block "blk.0" has an importance that is negative or not finite
// RUN: not retort-opt %S/../Inputs/tiny.mlir --quantize-weights --prune-ffn='stats=%S/Inputs/stats.json' 2>&1 | FileCheck %s --check-prefix=QUANT
// QUANT: prune-ffn: @blk.0.ffn_gate.weight is quantised: prune before quantising
// RUN: not retort-opt %S/../Inputs/tiny.mlir --pass-pipeline='builtin.module(lm.model(fuse-gate-up),prune-ffn{stats=%S/Inputs/stats.json})' 2>&1 | FileCheck %s --check-prefix=FUSED
// FUSED: prune-ffn: block "blk.0" has a gated unit that is not between plain linear layers: prune before fusing
// RUN: sed 's/%m, @blk.1.ffn_up.weight/%m, @blk.0.ffn_up.weight/' %S/../Inputs/tiny.mlir > %t.mlir
// RUN: not retort-opt %t.mlir --prune-ffn='stats=%S/Inputs/stats.json' 2>&1 | FileCheck %s --check-prefix=SHARED
// SHARED: prune-ffn: @blk.0.ffn_up.weight is read by more than one op
// RUN: sed 's/%d = lm.linear \(.s\),/%w = lm.norm \1, @blk.0.ffn_norm.weight eps 1.0e-5 : tensor<?x8xf32>\n%d = lm.linear %w,/' %S/../Inputs/tiny.mlir > %t.mlir
// RUN: not retort-opt %t.mlir --prune-ffn='stats=%S/Inputs/stats.json' 2>&1 | FileCheck %s --check-prefix=FOLLOWED
// FOLLOWED: prune-ffn: block "blk.0" has a gated unit that 'lm.norm' follows, which is no plain linear layer
// RUN: sed 's/\(.s\) = lm.glu %g,/%w = lm.norm %g, @blk.0.ffn_norm.weight eps 1.0e-5 : tensor<?x8xf32>\n\1 = lm.glu %w,/' %S/../Inputs/tiny.mlir > %t.mlir
// RUN: not retort-opt %t.mlir --prune-ffn='stats=%S/Inputs/stats.json' 2>&1 | FileCheck %s --check-prefix=CHANNELS
// CHANNELS: prune-ffn: block "blk.0" normalises or rotates a gated unit's channels
// RUN: sed 's/%r = lm.residual %h, %d/%e = lm.linear %d, @token_embd.weight : tensor<?x8xf32> -> tensor<?x8xf32>\n%r = lm.residual %h, %e/' %S/../Inputs/tiny.mlir > %t.mlir
// RUN: not retort-opt %t.mlir --prune-ffn='stats=%S/Inputs/stats.json' 2>&1 | FileCheck %s --check-prefix=STRAY
// STRAY: prune-ffn: block "blk.0" has a linear layer @token_embd.weight that belongs to no attention or gated unit
