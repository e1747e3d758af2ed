// RUN: retort-opt %S/../Inputs/tiny.mlir --derive-student --insert-fit="tokens=100 damping=0.5" | FileCheck %s
// RUN: retort-opt %S/../Inputs/tiny.mlir --derive-student --insert-fit="format=i4g64a" \
// RUN:   | FileCheck %s --check-prefix=FORMAT
// RUN: retort-opt %S/../Inputs/tiny.mlir --untie-embedding --derive-student --insert-fit="format=i4g64a embedding=i8g32 logits=i4g32s" \
// RUN:   | FileCheck %s --check-prefix=LOGITS
// RUN: not retort-opt %S/../Inputs/tiny.mlir --insert-fit="student=teacher logits=i8g32" 2>&1 | FileCheck %s --check-prefix=ALONE
// RUN: not retort-opt %S/../Inputs/tiny.mlir --insert-fit="student=teacher format=i4g32s logits=f16" 2>&1 | FileCheck %s --check-prefix=LOGITFLOAT
// RUN: not retort-opt %S/../Inputs/tiny.mlir --insert-fit="teacher=nobody student=teacher" 2>&1 | FileCheck %s --check-prefix=NOBODY
// RUN: not retort-opt %S/../Inputs/tiny.mlir --insert-fit="student=teacher format=bf16" 2>&1 | FileCheck %s --check-prefix=FLOAT
// RUN: not retort-opt %S/../Inputs/tiny.mlir --insert-fit="student=teacher format=i4g32s embedding=q4_0" 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not retort-opt %S/../Inputs/tiny.mlir --insert-fit="student=teacher embedding=i8g32" 2>&1 | FileCheck %s --check-prefix=ALONE
// RUN: not retort-opt %s --insert-fit="student=teacher" 2>&1 | FileCheck %s --check-prefix=NONE

// What is added to the stream can be solved for: attention outputs and down projections.
// CHECK: distill.fit @fit_student teacher @teacher student @student tokens 100
// CHECK-NEXT: params ["blk.0.attn_output.weight", "blk.0.ffn_down.weight", "blk.1.attn_output.weight", "blk.1.ffn_down.weight"] damping 5.000000e-01{{$}}

// With a format every linear layer is rounded, in the order in which they run.
// FORMAT: distill.fit @fit_student
// FORMAT-NEXT: params ["blk.0.attn_q.weight", "blk.0.attn_k.weight", "blk.0.attn_v.weight", "blk.0.attn_output.weight",
// FORMAT-SAME: "blk.1.ffn_down.weight"]
// FORMAT-SAME: quantize <i4g64a>

// So are logits with a matrix of their own, last.
// LOGITS: distill.fit @fit_student
// LOGITS-NEXT: "blk.1.ffn_down.weight", "output.weight"]
// LOGITS-SAME: quantize <i4g64a> embedding <i8g32> logits <i4g32s>

// NOBODY: no model
// FLOAT: insert-fit: bf16 is not quantised: cast-weights rounds to it
// LOGITFLOAT: insert-fit: f16 is not quantised: cast-weights rounds to it
// NAME: 'q4_0' is none of f32, f16,
// ALONE: insert-fit: a format of embedding or logits needs one of the others: give format
// NONE: insert-fit: no linear layer's output is added to the stream as it is
lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
  lm.param @token_embd.weight : tensor<4x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<4x8xf32>
    weight.yield %0 : tensor<4x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x4xf32>
    lm.return %l : tensor<?x4xf32>
  }
}
