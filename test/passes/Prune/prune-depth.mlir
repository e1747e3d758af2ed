// RUN: retort-opt %S/../Inputs/tiny.mlir --prune-depth=drop=0 | FileCheck %s
// RUN: retort-opt %S/../Inputs/tiny.mlir --prune-depth='count=1 stats=%S/Inputs/stats.json' | FileCheck %s --check-prefix=COUNT
// RUN: retort-opt %S/../Inputs/tiny.mlir --prune-depth | FileCheck %s --check-prefix=NOOP
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-depth=drop=2 2>&1 | FileCheck %s --check-prefix=RANGE
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-depth='drop=1 count=1' 2>&1 | FileCheck %s --check-prefix=BOTH
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-depth=count=2 2>&1 | FileCheck %s --check-prefix=ALL
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-depth='count=1 stats=%S/Inputs/noinfluence.json' 2>&1 | FileCheck %s --check-prefix=ABSENT

// Whatever read a dropped block reads its input, and its parameters go; labels stay.
// CHECK-LABEL: lm.model @teacher
// CHECK-NOT:     lm.param @blk.0.
// CHECK:         lm.param @blk.1.attn_norm.weight
// CHECK:         %[[X:.*]] = lm.embed
// CHECK-NEXT:    lm.block "blk.1"(%[[X]])

// The block of least influence goes.
// COUNT-LABEL: lm.forward
// COUNT:         lm.block "blk.0"
// COUNT-NOT:     lm.block "blk.1"
// COUNT:         lm.return

// NOOP-LABEL: lm.forward
// NOOP:         lm.block "blk.0"
// NOOP:         lm.block "blk.1"

// RANGE: prune-depth: cannot drop block 2: the model has 2 blocks
// BOTH: prune-depth: give either drop or count
// ALL: prune-depth: cannot drop 2 of 2 blocks
// ABSENT: prune-depth: the statistics have no influence of block "blk.1"
