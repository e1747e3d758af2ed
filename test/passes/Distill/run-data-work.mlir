// RUN: retort-opt %s --split-input-file --verify-diagnostics --run-data-work | FileCheck %s

// Where every op has its result, nothing is left to do.
// CHECK-LABEL: module @done
// CHECK: distill.corpus @corpus result <"{{9f86d08.*}}">
module @done {
  distill.corpus @corpus result <"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08">
}

// -----
// CHECK-LABEL: module @no_work
module @no_work {
}

// -----
module @pending {
  // expected-error @below {{run-data-work: has no result, and only `retort compile` executes work on data}}
  distill.corpus @corpus
}
