// RUN: retort-opt %S/../Inputs/tiny.mlir --prune-heads='keep=1 stats=%S/Inputs/stats.json' | FileCheck %s
// RUN: retort-opt %S/../Inputs/tiny.mlir --prune-heads='keep=2 stats=%S/Inputs/stats.json' | FileCheck %s --check-prefix=NOOP
// RUN: retort-opt %S/../Inputs/tiny.mlir --prune-heads='keep=1 blocks=1 stats=%S/Inputs/stats.json' | FileCheck %s --check-prefix=SECOND

// Group 1 of block 0 stays: query heads 2 and 3, features 4 to 7, and key/value head 1.
// CHECK:       lm.param @blk.0.attn_q.weight : tensor<4x8xf32> {
// CHECK:         weight.take %{{.*}} rows [4, 5, 6, 7]
// CHECK:       lm.param @blk.0.attn_q.bias : tensor<4xf32> {
// CHECK:         weight.take %{{.*}} rows [4, 5, 6, 7] : tensor<8xf32> -> tensor<4xf32>
// CHECK:       lm.param @blk.0.attn_k.weight : tensor<2x8xf32> {
// CHECK:         weight.take %{{.*}} rows [2, 3]
// CHECK:       lm.param @blk.0.attn_v.weight : tensor<2x8xf32> {
// CHECK:         weight.take %{{.*}} rows [2, 3]
// CHECK:       lm.param @blk.0.attn_output.weight : tensor<8x4xf32> {
// CHECK:         weight.take %{{.*}} columns [4, 5, 6, 7]
// CHECK:       lm.param @blk.1.attn_k.weight : tensor<2x8xf32> {
// CHECK:         weight.take %{{.*}} rows [0, 1]
// CHECK-LABEL: lm.block "blk.0"
// CHECK:         lm.rope %{{.*}} heads 2 dims 2 base 1.000000e+04 : tensor<?x4xf32>
// CHECK:         lm.rope %{{.*}} heads 1 dims 2 base 1.000000e+04 : tensor<?x2xf32>
// CHECK:         lm.attention %{{.*}} heads 2 kv_heads 1 scale 5.000000e-01 : tensor<?x4xf32>, tensor<?x2xf32>
// CHECK-NEXT:    lm.linear %{{.*}}, @blk.0.attn_output.weight : tensor<?x4xf32> -> tensor<?x8xf32>

// NOOP-LABEL: lm.model @teacher
// NOOP-NOT:     weight.take
// NOOP:         lm.forward

// Only the second block.
// SECOND: lm.param @blk.0.attn_k.weight : tensor<4x8xf32> {
// SECOND: lm.param @blk.1.attn_k.weight : tensor<2x8xf32> {
