// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-heads='keep=0 stats=%S/Inputs/stats.json' 2>&1 | FileCheck %s --check-prefix=KEEP
// KEEP: prune-heads: keep must be at least 1, is 0
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-heads='stats=%S/Inputs/short.json' 2>&1 | FileCheck %s --check-prefix=SHORT
// SHORT: prune-heads: block "blk.0" has 2 key/value heads, the statistics have 1
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-heads='stats=%S/Inputs/nan.json' 2>&1 | FileCheck %s --check-prefix=NEGATIVE
// NEGATIVE: prune-heads: block "blk.0" has an importance that is negative or not finite
// RUN: sed 's/ bias @blk.[01].attn_q.bias//' %S/../Inputs/tiny.mlir > %t.mlir
// RUN: not retort-opt %t.mlir --pass-pipeline='builtin.module(lm.model(fuse-qkv),prune-heads{stats=%S/Inputs/stats.json})' 2>&1 | FileCheck %s --check-prefix=FUSED
// FUSED: prune-heads: block "blk.0" has an attention that no plain linear layers feed: prune before fusing
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-heads='blocks=2 stats=%S/Inputs/stats.json' 2>&1 | FileCheck %s --check-prefix=BLOCKS
// BLOCKS: prune-heads: cannot prune block 2: the model has 2 blocks
