// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights | FileCheck %s
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights='bits=8 group=64' | FileCheck %s --check-prefix=EIGHT
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights='embedding=i8g32a asymmetric=true' | FileCheck %s --check-prefix=MIXED
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights='bits=8' --quantize-weights='bits=4' | FileCheck %s --check-prefix=TWICE
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights='only=blk.1.,attn_q bits=8' --quantize-weights | FileCheck %s --check-prefix=ONLY
// RUN: not retort-opt %S/../Inputs/tiny.mlir --quantize-weights=bits=3 2>&1 | FileCheck %s --check-prefix=BITS
// RUN: not retort-opt %S/../Inputs/tiny.mlir --quantize-weights=group=33 2>&1 | FileCheck %s --check-prefix=GROUP

// The table that embedding and logits share is quantised once; gains and biases stay.
// CHECK:       lm.param @token_embd.weight : tensor<8x8xi4, #weight.format<bits = 4, group = 32, symmetric>> {
// CHECK-NEXT:    %[[W:.*]] = weight.load
// CHECK-NEXT:    %[[Q:.*]] = weight.quantize %[[W]] method rtn : tensor<8x8xf32> -> tensor<8x8xi4, #weight.format<bits = 4, group = 32, symmetric>>
// CHECK-NEXT:    weight.yield %[[Q]]
// CHECK:       lm.param @blk.0.attn_norm.weight : tensor<8xf32> {
// CHECK:       lm.param @blk.0.attn_q.weight : tensor<8x8xi4
// CHECK:       lm.param @blk.0.attn_q.bias : tensor<8xf32> {
// CHECK:       lm.param @output_norm.weight : tensor<8xf32> {
// CHECK:       lm.linear %{{.*}}, @blk.0.attn_q.weight bias @blk.0.attn_q.bias : tensor<?x8xf32> -> tensor<?x8xf32>

// EIGHT: lm.param @blk.1.ffn_down.weight : tensor<8x8xi8, #weight.format<bits = 8, group = 64, symmetric>>

// MIXED: lm.param @token_embd.weight : tensor<8x8xi8, #weight.format<bits = 8, group = 32, asymmetric>>
// MIXED: lm.param @blk.0.attn_q.weight : tensor<8x8xi4, #weight.format<bits = 4, group = 32, asymmetric>>

// ONLY: lm.param @token_embd.weight : tensor<8x8xi4
// ONLY: lm.param @blk.0.attn_q.weight : tensor<8x8xi8
// ONLY: lm.param @blk.0.attn_k.weight : tensor<4x8xi4
// ONLY: lm.param @blk.1.ffn_down.weight : tensor<8x8xi8

// What is quantised stays as it is.
// TWICE-LABEL: lm.model @teacher
// TWICE-NOT:     xi4
// TWICE:         lm.forward

// BITS: quantize-weights: has 3 bits a weight, must be 4 or 8
// GROUP: quantize-weights: has groups of 33 weights, must be a power of two from 16 to 1024
