// RUN: retort-opt %S/../Inputs/tiny.mlir --derive-student --insert-gate='against=teacher tokens=5000' | FileCheck %s
// RUN: retort-opt %S/../Inputs/tiny.mlir --insert-gate='maximum=1.5' | FileCheck %s --check-prefix=MAXIMUM
// RUN: not retort-opt %S/../Inputs/tiny.mlir --insert-gate 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not retort-opt %S/../Inputs/tiny.mlir --insert-gate=maximum=-1 2>&1 | FileCheck %s --check-prefix=NEGATIVE

// CHECK:      distill.score @score_student model @student tokens 5000
// CHECK-NEXT: distill.score @score_teacher model @teacher tokens 5000
// CHECK-NEXT: distill.gate @gate score @score_student against @score_teacher

// MAXIMUM:      distill.score @score_teacher model @teacher
// MAXIMUM-NEXT: distill.gate @gate score @score_teacher maximum 1.500000e+00

// NONE: insert-gate: give against=MODEL or maximum=BITS
// NEGATIVE: maximum must be finite and above 0, is -1
