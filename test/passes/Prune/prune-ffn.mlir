// RUN: retort-opt %S/../Inputs/tiny.mlir --prune-ffn='keep=0.5 multiple=2 stats=%S/Inputs/stats.json' | FileCheck %s
// RUN: retort-opt %S/../Inputs/tiny.mlir --prune-ffn='keep=0.5 multiple=2 uniform=true stats=%S/Inputs/stats.json' | FileCheck %s --check-prefix=UNIFORM
// RUN: retort-opt %S/../Inputs/tiny.mlir --prune-ffn='keep=0.1 multiple=2 min-keep=6 stats=%S/Inputs/stats.json' | FileCheck %s --check-prefix=LEAST
// RUN: retort-opt %S/../Inputs/tiny.mlir --prune-ffn='keep=0.5 multiple=2 stats=%S/Inputs/scales.json' | FileCheck %s --check-prefix=SCALES
// RUN: retort-opt %S/../Inputs/tiny.mlir --prune-ffn='keep=0.75 multiple=2 stats=%S/Inputs/hull.json' | FileCheck %s --check-prefix=HULL
// RUN: retort-opt %S/../Inputs/tiny.mlir --prune-ffn='keep=1 stats=%S/Inputs/stats.json' | FileCheck %s --check-prefix=NOOP

// Both blocks have 8 channels, and half of the 16 stay. Block 1 loses 1 with the six that are less
// important than channel 3 and another; block 0 loses as much with its first four, but no more go.
// CHECK-LABEL: lm.param @blk.0.ffn_gate.weight : tensor<6x8xf32> {
// CHECK:         weight.take %{{.*}} rows [0, 1, 2, 3, 4, 6] : tensor<8x8xf32> -> tensor<6x8xf32>
// CHECK:       lm.param @blk.0.ffn_up.weight : tensor<6x8xf32> {
// CHECK:         weight.take %{{.*}} rows [0, 1, 2, 3, 4, 6]
// CHECK:       lm.param @blk.0.ffn_down.weight : tensor<8x6xf32> {
// CHECK:         weight.take %{{.*}} columns [0, 1, 2, 3, 4, 6] : tensor<8x8xf32> -> tensor<8x6xf32>
// CHECK:       lm.param @blk.1.ffn_gate.weight : tensor<2x8xf32> {
// CHECK:         weight.take %{{.*}} rows [0, 3]
// CHECK-LABEL: lm.forward
// CHECK:         lm.linear %{{.*}}, @blk.0.ffn_up.weight : tensor<?x8xf32> -> tensor<?x6xf32>
// CHECK-NEXT:    lm.glu %{{.*}} act silu : tensor<?x6xf32>
// CHECK-NEXT:    lm.linear %{{.*}}, @blk.0.ffn_down.weight : tensor<?x6xf32> -> tensor<?x8xf32>

// UNIFORM: lm.param @blk.0.ffn_gate.weight : tensor<4x8xf32>
// UNIFORM: weight.take %{{.*}} rows [0, 2, 4, 6]
// UNIFORM: lm.param @blk.1.ffn_gate.weight : tensor<4x8xf32>
// UNIFORM: weight.take %{{.*}} rows [0, 1, 2, 3]

// LEAST: lm.param @blk.0.ffn_gate.weight : tensor<6x8xf32>
// LEAST: lm.param @blk.1.ffn_gate.weight : tensor<6x8xf32>

// Block 0 loses a thousand times as much as block 1 with every channel: block 1 keeps the fewest.
// SCALES: lm.param @blk.0.ffn_gate.weight : tensor<6x8xf32>
// SCALES: lm.param @blk.1.ffn_gate.weight : tensor<2x8xf32>

// Block 0's first two channels cost 3, but its next two cost nothing more; block 1's first four cost 4:
// a block's channels go together where that is cheaper for each.
// HULL: lm.param @blk.0.ffn_gate.weight : tensor<4x8xf32>
// HULL: lm.param @blk.1.ffn_gate.weight : tensor<8x8xf32>

// NOOP-LABEL: lm.model @teacher
// NOOP-NOT:     weight.take
// NOOP:         lm.forward
