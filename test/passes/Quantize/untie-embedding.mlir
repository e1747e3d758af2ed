// RUN: retort-opt %S/../Inputs/tiny.mlir --untie-embedding | FileCheck %s
// RUN: retort-opt %S/../Inputs/tiny.mlir --untie-embedding --untie-embedding | FileCheck %s
// RUN: sed 's/blk.0.ffn_up.weight/output.weight/g' %S/../Inputs/tiny.mlir > %t.mlir
// RUN: not retort-opt %t.mlir --untie-embedding 2>&1 | FileCheck %s --check-prefix=TAKEN
// RUN: not retort-opt %S/../Inputs/tiny.mlir --untie-embedding=model=nobody 2>&1 | FileCheck %s --check-prefix=NOBODY

// The logits read a copy, whose program is the table's; done once, there is nothing more to do.
// CHECK:      lm.param @token_embd.weight : tensor<8x8xf32> {
// CHECK:      lm.param @output.weight : tensor<8x8xf32> {
// CHECK-NEXT:   weight.load "token_embd.weight"
// CHECK-NOT:  lm.param @output.weight
// CHECK:      lm.embed %{{.*}}, @token_embd.weight
// CHECK:      lm.logits %{{.*}}, @output.weight

// TAKEN: untie-embedding: the name 'output.weight' is taken
// NOBODY: there is no model @nobody
