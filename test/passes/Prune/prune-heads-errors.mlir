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
// RUN: sed 's/\(.p\) = lm.linear %o,/%w = lm.rope %o heads 4 dims 2 base 1.0e4 : tensor<?x8xf32>\n\1 = lm.linear %w,/' %S/../Inputs/tiny.mlir > %t.mlir
// RUN: not retort-opt %t.mlir --prune-heads='stats=%S/Inputs/stats.json' 2>&1 | FileCheck %s --check-prefix=FOLLOWED
// FOLLOWED: prune-heads: block "blk.0" has an attention that 'lm.rope' follows, which is no plain linear layer
// RUN: sed 's/%q = lm.linear %n,\(.*\)/%q0 = lm.linear %n,\1\n%q = lm.residual %q0, %n : tensor<?x8xf32>/' %S/../Inputs/tiny.mlir > %t.mlir
// RUN: not retort-opt %t.mlir --prune-heads='stats=%S/Inputs/stats.json' 2>&1 | FileCheck %s --check-prefix=FED
// FED: prune-heads: block "blk.0" has an attention that 'lm.residual' feeds, which is no plain linear layer
// RUN: sed 's/%qr = lm.rope %q heads 4/%q1 = lm.norm %q, @blk.0.attn_norm.weight eps 1.0e-5 : tensor<?x8xf32>\n%qr = lm.rope %q1 heads 4/' %S/../Inputs/tiny.mlir > %t.mlir
// RUN: not retort-opt %t.mlir --prune-heads='stats=%S/Inputs/stats.json' 2>&1 | FileCheck %s --check-prefix=TOGETHER
// TOGETHER: prune-heads: block "blk.0" normalises all heads together
// RUN: sed 's/%qr = lm.rope %q heads 4/%qr = lm.rope %q heads 2/' %S/../Inputs/tiny.mlir > %t.mlir
// RUN: not retort-opt %t.mlir --prune-heads='stats=%S/Inputs/stats.json' 2>&1 | FileCheck %s --check-prefix=SIZE
// SIZE: prune-heads: block "blk.0" has heads of another size for 'lm.rope' than for attention
// RUN: sed 's/%r = lm.residual %h, %d/%e = lm.linear %d, @token_embd.weight : tensor<?x8xf32> -> tensor<?x8xf32>\n%r = lm.residual %h, %e/' %S/../Inputs/tiny.mlir > %t.mlir
// RUN: not retort-opt %t.mlir --prune-heads='stats=%S/Inputs/stats.json' 2>&1 | FileCheck %s --check-prefix=STRAY
// STRAY: prune-heads: block "blk.0" has a linear layer @token_embd.weight that belongs to no attention or gated unit
