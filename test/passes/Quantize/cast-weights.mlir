// RUN: retort-opt %S/../Inputs/tiny.mlir --cast-weights | FileCheck %s
// RUN: retort-opt %S/../Inputs/tiny.mlir --cast-weights=type=f32 | FileCheck %s --check-prefix=NOOP
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights --cast-weights | FileCheck %s --check-prefix=NOOP
// RUN: retort-opt %S/../Inputs/tiny.mlir --cast-weights=type=f16 | FileCheck %s --check-prefix=F16
// RUN: not retort-opt %S/../Inputs/tiny.mlir --cast-weights=type=f8 2>&1 | FileCheck %s --check-prefix=TYPE
// RUN: not retort-opt %S/../Inputs/tiny.mlir --cast-weights=type=f8g64 2>&1 | FileCheck %s --check-prefix=QUANTISED

// CHECK:       lm.param @token_embd.weight : tensor<8x8xbf16> {
// CHECK:         weight.cast %{{.*}} : tensor<8x8xf32> -> tensor<8x8xbf16>
// CHECK:       lm.param @blk.0.attn_norm.weight : tensor<8xf32> {
// CHECK:       lm.param @blk.0.attn_q.weight : tensor<8x8xbf16> {
// CHECK:       lm.param @blk.0.attn_q.bias : tensor<8xf32> {

// F16:         weight.cast %{{.*}} : tensor<8x8xf32> -> tensor<8x8xf16>
// F16:       lm.param @blk.0.attn_q.bias : tensor<8xf32> {

// NOOP-LABEL: lm.model @teacher
// NOOP-NOT:     weight.cast
// NOOP:         lm.forward

// TYPE: 'f8' is none of f32, f16, bf16,
// QUANTISED: cast-weights: f8g64 is quantised: quantize-weights rounds to it
