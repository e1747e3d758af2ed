// RUN: retort-opt %S/../Inputs/tiny.mlir --insert-probe='formats=i3g64s,i8g64' \
// RUN:   --insert-probe='formats=i4g32s tokens=4000 measured=64 sequence-length=128' | FileCheck %s
// RUN: retort-opt %S/../Inputs/tiny.mlir --derive-student --insert-probe='formats=i3g64s model=teacher' | FileCheck %s --check-prefix=MODEL
// RUN: not retort-opt %S/../Inputs/tiny.mlir --insert-probe 2>&1 | FileCheck %s --check-prefix=NONE
// RUN: not retort-opt %S/../Inputs/tiny.mlir --insert-probe='formats=f16' 2>&1 | FileCheck %s --check-prefix=FLOAT
// RUN: not retort-opt %S/../Inputs/tiny.mlir --insert-probe='formats=i4g64s model=nobody' 2>&1 | FileCheck %s --check-prefix=NOBODY

// CHECK:      lm.model @teacher
// CHECK:      distill.probe @probe model @teacher tokens 4096 measured 512 formats [#weight.format<i3g64s>, #weight.format<i8g64>]
// CHECK-NEXT: distill.probe @probe_2 model @teacher tokens 4000 measured 64 sequence_length 128 formats [#weight.format<i4g32s>]

// MODEL: distill.probe @probe model @teacher

// NONE: insert-probe: say which formats
// FLOAT: insert-probe:
// NOBODY: there is no model @nobody
