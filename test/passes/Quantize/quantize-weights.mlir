// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights | FileCheck %s
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights='format=i8g64' | FileCheck %s --check-prefix=EIGHT
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights='format=i4g32a embedding=i8g32' | FileCheck %s --check-prefix=MIXED
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights='format=i8g32' --quantize-weights='format=i4g32s' | FileCheck %s --check-prefix=TWICE
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights='only=blk.1.,attn_q format=i8g32' --quantize-weights | FileCheck %s --check-prefix=ONLY
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights='format=f8g128 embedding=i8g32' | FileCheck %s --check-prefix=FP8
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights='format=i3g64s' | FileCheck %s --check-prefix=THREE
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights='embedding=f8g64' | FileCheck %s --check-prefix=TABLE
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights='embedding=f8g64' --dump-pass-pipeline -o /dev/null 2>&1 | FileCheck %s --check-prefix=DUMP
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights='embedding=' --dump-pass-pipeline -o /dev/null 2>&1 | FileCheck %s --check-prefix=EMPTY
// RUN: retort-opt %S/../Inputs/tiny.mlir --untie-embedding --quantize-weights='embedding=i8g32 logits=i4g64s' | FileCheck %s --check-prefix=LOGITS
// RUN: retort-opt %S/../Inputs/tiny.mlir --untie-embedding --quantize-weights='embedding=i8g32' | FileCheck %s --check-prefix=UNTIED
// RUN: retort-opt %S/../Inputs/tiny.mlir --quantize-weights='embedding=i8g32 logits=i4g64s' | FileCheck %s --check-prefix=TIED
// RUN: not retort-opt %S/../Inputs/tiny.mlir --quantize-weights=logits=f16 2>&1 | FileCheck %s --check-prefix=FLOAT
// RUN: not retort-opt %S/../Inputs/tiny.mlir --quantize-weights=format=f16 2>&1 | FileCheck %s --check-prefix=FLOAT
// RUN: not retort-opt %S/../Inputs/tiny.mlir --quantize-weights=embedding=bf16 2>&1 | FileCheck %s --check-prefix=TABLEFLOAT
// RUN: not retort-opt %S/../Inputs/tiny.mlir --quantize-weights=embedding=f8g64s 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not retort-opt %S/../Inputs/tiny.mlir --quantize-weights=format=i4g33s 2>&1 | FileCheck %s --check-prefix=GROUP

// The table that embedding and logits share is quantised once; gains and biases stay.
// CHECK:       lm.param @token_embd.weight : tensor<8x8xi4, #weight.format<i4g32s>> {
// CHECK-NEXT:    %[[W:.*]] = weight.load
// CHECK-NEXT:    %[[Q:.*]] = weight.quantize %[[W]] : tensor<8x8xf32> -> tensor<8x8xi4, #weight.format<i4g32s>>
// CHECK-NEXT:    weight.yield %[[Q]]
// CHECK:       lm.param @blk.0.attn_norm.weight : tensor<8xf32> {
// CHECK:       lm.param @blk.0.attn_q.weight : tensor<8x8xi4
// CHECK:       lm.param @blk.0.attn_q.bias : tensor<8xf32> {
// CHECK:       lm.param @output_norm.weight : tensor<8xf32> {
// CHECK:       lm.linear %{{.*}}, @blk.0.attn_q.weight bias @blk.0.attn_q.bias : tensor<?x8xf32> -> tensor<?x8xf32>

// EIGHT: lm.param @blk.1.ffn_down.weight : tensor<8x8xi8, #weight.format<i8g64>>

// MIXED: lm.param @token_embd.weight : tensor<8x8xi8, #weight.format<i8g32>>
// MIXED: lm.param @blk.0.attn_q.weight : tensor<8x8xi4, #weight.format<i4g32a>>

// ONLY: lm.param @token_embd.weight : tensor<8x8xi4
// ONLY: lm.param @blk.0.attn_q.weight : tensor<8x8xi8
// ONLY: lm.param @blk.0.attn_k.weight : tensor<4x8xi4
// ONLY: lm.param @blk.1.ffn_down.weight : tensor<8x8xi8

// What is quantised stays as it is.
// TWICE-LABEL: lm.model @teacher
// TWICE-NOT:     xi4
// TWICE:         lm.forward

// FP8: lm.param @token_embd.weight : tensor<8x8xi8, #weight.format<i8g32>>
// FP8: lm.param @blk.1.ffn_down.weight : tensor<8x8xf8E4M3FN, #weight.format<f8g128>>
// THREE: lm.param @blk.1.ffn_down.weight : tensor<8x8xi3, #weight.format<i3g64s>>
// TABLE: lm.param @token_embd.weight : tensor<8x8xf8E4M3FN, #weight.format<f8g64>>
// TABLE: lm.param @blk.1.ffn_down.weight : tensor<8x8xi4


// Logits have a format of their own where they have a matrix, else as the embedding's.
// LOGITS: lm.param @token_embd.weight : tensor<8x8xi8, #weight.format<i8g32>>
// LOGITS: lm.param @output.weight : tensor<8x8xi4, #weight.format<i4g64s>>
// LOGITS: lm.param @blk.0.attn_q.weight : tensor<8x8xi4, #weight.format<i4g32s>>
// UNTIED: lm.param @output.weight : tensor<8x8xi8, #weight.format<i8g32>>
// TIED: lm.param @token_embd.weight : tensor<8x8xi8, #weight.format<i8g32>>

// A pipeline prints as it parses.
// DUMP: quantize-weights{embedding=f8g64 format=i4g32s logits= model= }
// EMPTY: quantize-weights{embedding= format=i4g32s logits= model= }

// FLOAT: quantize-weights: f16 is not quantised: cast-weights rounds to it
// TABLEFLOAT: quantize-weights: bf16 is not quantised: cast-weights rounds to it
// NAME: 'f8g64s' is none of f32, f16, bf16, i8g32, i8g64, i8g128, f8g32, f8g64, f8g128, i4g32s, i4g64s, i4g128s, i4g32a, i4g64a, i4g128a or i3g64s
// GROUP: 'i4g33s' is none of
