// RUN: bash -c "cat %s; for i in {0..253}; do echo kernel.exchange @p index $i; done; echo }" | retort-opt -o /dev/null
// RUN: bash -c "cat %s; for i in {0..254}; do echo kernel.exchange @p index $i; done; echo }" | not retort-opt 2>&1 | FileCheck %s
// As many exchanges as flags can number, and one more.

// CHECK: 'kernel.exchange' op is one too many: a step on two devices has at most 254
kernel.program @many target "cuda" step "decode" device 0 of 2 logits_begin 0 max_rows 4 page_rows 16 vocab 32 {
  kernel.phase @p "m" tiles 1 {
  }
