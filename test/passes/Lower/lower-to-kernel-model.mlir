// RUN: retort-opt %s --pass-pipeline='builtin.module(lower-to-kernel{model=student})' | FileCheck %s

// Only the model that is asked for is lowered; the other keeps its parameters as they are.
// CHECK-LABEL: lm.model @teacher
// CHECK-NOT:   weight.pack
// CHECK:       lm.model @student
// CHECK:       weight.pack
// CHECK:       kernel.program @student.kernel max_rows 64
// CHECK-NOT:   kernel.program
lm.model @teacher family "llama" context 8 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<20x32xf32> {
    %0 = weight.load "e" stored "F32" : tensor<20x32xf32>
    weight.yield %0 : tensor<20x32xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}
lm.model @student family "llama" context 8 vocab 20 hidden 32 {
  lm.param @token_embd.weight : tensor<20x32xf32> {
    %0 = weight.load "e" stored "F32" : tensor<20x32xf32>
    weight.yield %0 : tensor<20x32xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x32xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x32xf32> -> tensor<?x20xf32>
    lm.return %l : tensor<?x20xf32>
  }
}
