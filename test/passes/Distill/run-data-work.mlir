// RUN: retort-opt %s --split-input-file --verify-diagnostics --run-data-work | FileCheck %s

// Where every op has its result, nothing is left to do.
// CHECK-LABEL: module @done
// CHECK: distill.score @score model @teacher result <"{{9f86d08.*}}">
module @done {
  lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
    lm.param @rows : tensor<4x8xf32> {
      %0 = weight.load "rows" stored "F32" : tensor<4x8xf32>
      weight.yield %0 : tensor<4x8xf32>
    }
    lm.forward {
    ^bb0(%tokens: tensor<?xi32>):
      %x = lm.embed %tokens, @rows : tensor<?x8xf32>
      %l = lm.logits %x, @rows : tensor<?x8xf32> -> tensor<?x4xf32>
      lm.return %l : tensor<?x4xf32>
    }
  }
  distill.score @score model @teacher result <"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08">
}

// -----
// CHECK-LABEL: module @no_work
module @no_work {
}

// -----
module @pending {
  lm.model @teacher family "llama" context 64 vocab 4 hidden 8 {
    lm.param @rows : tensor<4x8xf32> {
      %0 = weight.load "rows" stored "F32" : tensor<4x8xf32>
      weight.yield %0 : tensor<4x8xf32>
    }
    lm.forward {
    ^bb0(%tokens: tensor<?xi32>):
      %x = lm.embed %tokens, @rows : tensor<?x8xf32>
      %l = lm.logits %x, @rows : tensor<?x8xf32> -> tensor<?x4xf32>
      lm.return %l : tensor<?x4xf32>
    }
  }
  // expected-error @below {{run-data-work: has no result, and only `retort compile` executes work on data}}
  distill.score @score model @teacher
}
