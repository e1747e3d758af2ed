// RUN: retort-opt %S/../Inputs/tiny.mlir --insert-observation='statistics=vocabulary' \
// RUN:   --insert-observation='statistics=ffn,influence tokens=4000 sequence-length=128' | FileCheck %s
// RUN: not retort-opt %S/../Inputs/tiny.mlir --insert-observation='statistics=colour' 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not retort-opt %S/../Inputs/tiny.mlir --insert-observation 2>&1 | FileCheck %s --check-prefix=NONE

// CHECK:      lm.model @teacher
// CHECK:      distill.observe @observe model @teacher tokens 16384
// CHECK-SAME:   statistics [#distill.statistic<vocabulary>]
// CHECK-NEXT: distill.observe @observe_2 model @teacher tokens 4000 sequence_length 128
// CHECK-SAME:   statistics [#distill.statistic<ffn>, #distill.statistic<influence>]

// NAME: insert-observation: there is no statistic 'colour': there are vocabulary, ffn, influence, heads and attention_influence
// NONE: insert-observation: say which statistics
