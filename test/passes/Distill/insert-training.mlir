// insert-tuning, derive-student and insert-distillation.
// RUN: retort-opt %S/../Inputs/tiny.mlir \
// RUN:   --insert-tuning='tokens=40000 batch-tokens=1024 seed=7 frozen=token_embd.weight,output_norm.weight' \
// RUN:   --derive-student --insert-distillation='tokens=100000 format=i4g32s temperature=2' | FileCheck %s
// RUN: retort-opt %S/../Inputs/tiny.mlir --derive-student --insert-distillation='ce-weight=0' | FileCheck %s --check-prefix=PLAIN
// RUN: retort-opt %S/../Inputs/tiny.mlir --derive-student --insert-distillation='kl-weight=0' | FileCheck %s --check-prefix=ALONE
// RUN: retort-opt %S/../Inputs/tiny.mlir --derive-student \
// RUN:   --insert-distillation='kl-weight=0 ce-weight=0 reverse-kl-weight=0.5 js-weight=0.25 hidden-weight=2 temperature=3 schedule=linear' \
// RUN:   --insert-tuning='schedule=constant' | FileCheck %s --check-prefix=LOSSES
// RUN: retort-opt %S/../Inputs/tiny.mlir --derive-student --insert-distillation='format=i4g32s embedding=i8g32 logits=i4g64s freeze-codes=true' | FileCheck %s --check-prefix=FROZEN
// RUN: not retort-opt %S/../Inputs/tiny.mlir --derive-student --insert-distillation=freeze-codes=true 2>&1 | FileCheck %s --check-prefix=CODES
// RUN: not retort-opt %S/../Inputs/tiny.mlir --derive-student=student=teacher 2>&1 | FileCheck %s --check-prefix=TAKEN
// RUN: not retort-opt %S/../Inputs/tiny.mlir --derive-student=student= 2>&1 | FileCheck %s --check-prefix=EMPTY
// RUN: not retort-opt %S/../Inputs/tiny.mlir --insert-distillation 2>&1 | FileCheck %s --check-prefix=MODEL
// RUN: not retort-opt %S/../Inputs/tiny.mlir --derive-student --insert-distillation=format=f16 2>&1 | FileCheck %s --check-prefix=FLOAT
// RUN: not retort-opt %S/../Inputs/tiny.mlir --derive-student --insert-distillation=kl-weight=-1 2>&1 | FileCheck %s --check-prefix=LOSS
// RUN: not retort-opt %S/../Inputs/tiny.mlir --insert-tuning=batch-tokens=1000 2>&1 | FileCheck %s --check-prefix=BATCH

// CHECK: lm.model @teacher
// CHECK: lm.model @student
// CHECK: distill.train @tune_teacher student @teacher
// CHECK-NEXT: losses [#distill.loss<cross_entropy, weight = 1.000000e+00>]
// CHECK-NEXT: tokens 40000 sequence_length 512 batch_tokens 1024
// CHECK-NEXT: learning_rate 1.000000e-04 warmup 5.000000e-02 schedule cosine weight_decay 1.000000e-02 clip 1.000000e+00 seed 7
// CHECK-SAME: frozen ["token_embd.weight", "output_norm.weight"]
// CHECK: distill.train @distill_student teacher @teacher student @student
// CHECK-NEXT: losses [#distill.loss<forward_kl, weight = 1.000000e+00, temperature = 2.000000e+00>, #distill.loss<cross_entropy, weight = 5.000000e-01>]
// CHECK-NEXT: tokens 100000
// CHECK: quantize <i4g32s>

// PLAIN: losses [#distill.loss<forward_kl, weight = 1.000000e+00, temperature = 1.000000e+00>]
// PLAIN-NOT: quantize

// With cross-entropy alone there is nothing to learn from a teacher: the student trains alone.
// ALONE: distill.train @distill_student student @student
// ALONE-NEXT: losses [#distill.loss<cross_entropy, weight = 5.000000e-01>]

// LOSSES: distill.train @distill_student teacher @teacher student @student
// LOSSES-NEXT: losses [#distill.loss<reverse_kl, weight = 5.000000e-01, temperature = 3.000000e+00>, #distill.loss<jensen_shannon, weight = 2.500000e-01, temperature = 3.000000e+00>, #distill.loss<hidden_state, weight = 2.000000e+00>]
// LOSSES: schedule linear
// LOSSES: distill.train @tune_teacher
// LOSSES: schedule constant

// FROZEN: quantize <i4g32s> embedding <i8g32> logits <i4g64s> freeze_codes
// CODES: 'distill.train' op freezes codes, but has no quantize
// TAKEN: derive-student: the name 'teacher' is taken
// EMPTY: derive-student: the name '' is empty
// MODEL: there is no model @student
// FLOAT: insert-distillation: f16 is not quantised: cast-weights rounds to it
// LOSS: insert-distillation: loss weight must be finite and above 0, is -1
// BATCH: 'distill.train' op batch_tokens 1000 is not a multiple of sequence_length 512
