// RUN: retort-opt %S/../Inputs/tiny.mlir --insert-score=name=before --derive-student --insert-score='name=after tokens=5000' \
// RUN:   --insert-gate='score=after of=before bound=0.85' --insert-gate='score=after bound=1.5 strict=true' | FileCheck %s
// RUN: retort-opt %S/../Inputs/tiny.mlir --insert-score='name=answers task-name=faq.jsonl task=9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08' \
// RUN:   --insert-gate='score=answers metric=acc bound=0.8' | FileCheck %s --check-prefix=TASK
// RUN: not retort-opt %S/../Inputs/tiny.mlir --insert-gate='score=teacher bound=1' 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not retort-opt %S/../Inputs/tiny.mlir --insert-score=name=a --insert-gate='score=a of=b bound=1' 2>&1 | FileCheck %s --check-prefix=OF
// RUN: not retort-opt %S/../Inputs/tiny.mlir --insert-score=name=a --insert-gate='score=a bound=-1' 2>&1 | FileCheck %s --check-prefix=NEGATIVE
// RUN: not retort-opt %S/../Inputs/tiny.mlir --insert-score=name=a --insert-gate='score=a metric=accuracy' 2>&1 | FileCheck %s --check-prefix=METRIC

// CHECK:      distill.score @before model @teacher
// CHECK:      distill.score @after model @student tokens 5000
// CHECK-NEXT: distill.gate @gate score @after reaches bits_per_byte 8.500000e-01 of @before
// CHECK-NEXT: distill.gate @gate_2 score @after reaches bits_per_byte 1.500000e+00 strictly

// TASK:      distill.score @answers model @teacher task "faq.jsonl" <"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08">
// TASK-NEXT: distill.gate @gate score @answers reaches acc 8.000000e-01

// NONE: insert-gate: there is no score 'teacher': insert-score makes one
// OF: insert-gate: there is no score 'b': insert-score makes one
// NEGATIVE: bound must be finite and above 0, is -1
// METRIC: accuracy
