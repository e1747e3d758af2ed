// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights | FileCheck %s
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights='bits=8 group=64' | FileCheck %s --check-prefix=EIGHT
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights='embedding=i8g32a asymmetric=true' | FileCheck %s --check-prefix=MIXED
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights='bits=8' --quantize-weights='bits=4' | FileCheck %s --check-prefix=TWICE
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights='only=blk.1.,attn_q bits=8' --quantize-weights | FileCheck %s --check-prefix=ONLY
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights='bits=8 e4m3=true group=128 embedding=i8g32' | FileCheck %s --check-prefix=FP8
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights='embedding=f8g64' | FileCheck %s --check-prefix=TABLE
// RUN: not retort-opt %S/../Inputs/tiny.mlir --quantize-weights='bits=8 e4m3=true asymmetric=true' 2>&1 | FileCheck %s --check-prefix=BOTH
// RUN: not retort-opt %S/../Inputs/tiny.mlir --quantize-weights='e4m3=true' 2>&1 | FileCheck %s --check-prefix=FOUR
// RUN: not retort-opt %S/../Inputs/tiny.mlir --quantize-weights=embedding=f8g64s 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not retort-opt %S/../Inputs/tiny.mlir --quantize-weights=bits=3 2>&1 | FileCheck %s --check-prefix=BITS
// RUN: not retort-opt %S/../Inputs/tiny.mlir --quantize-weights=group=33 2>&1 | FileCheck %s --check-prefix=GROUP

// The table that embedding and logits share is quantised once; gains and biases stay.
// CHECK:       lm.param @token_embd.weight : tensor<8x8xi4, #weight.format<bits = 4, group = 32, symmetric>> {
// CHECK-NEXT:    %[[W:.*]] = weight.load
// CHECK-NEXT:    %[[Q:.*]] = weight.quantize %[[W]] : tensor<8x8xf32> -> tensor<8x8xi4, #weight.format<bits = 4, group = 32, symmetric>>
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

// FP8: lm.param @token_embd.weight : tensor<8x8xi8, #weight.format<bits = 8, group = 32, symmetric>>
// FP8: lm.param @blk.1.ffn_down.weight : tensor<8x8xf8E4M3FN, #weight.format<bits = 8, group = 128, e4m3>>
// TABLE: lm.param @token_embd.weight : tensor<8x8xf8E4M3FN, #weight.format<bits = 8, group = 64, e4m3>>
// TABLE: lm.param @blk.1.ffn_down.weight : tensor<8x8xi4

// BOTH: quantize-weights: is asymmetric and e4m3: floats have no minimum, choose one of the two
// FOUR: quantize-weights: has 4 bits a weight, e4m3 has 8
// NAME: quantize-weights: 'f8g64s' is no format: one is written as i4g32s, i4g32a, i8g32 or f8g128
// BITS: quantize-weights: has 3 bits a weight, must be 4 or 8
// GROUP: quantize-weights: has groups of 33 weights, must be a power of two from 16 to 1024
