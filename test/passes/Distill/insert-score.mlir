// RUN: retort-opt %s --insert-score="name=before tokens=4096" --insert-score | FileCheck %s
// RUN: not retort-opt %s --insert-score=tokens=-1 2>&1 | FileCheck %s --check-prefix=BAD

// RUN: not retort-opt %s --insert-score=task=abc 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not retort-opt %s --insert-score='task=abc task-name=faq tokens=5' 2>&1 | FileCheck %s --check-prefix=NAME
// RUN: not retort-opt %s --insert-score='task=abc task-name=faq' 2>&1 | FileCheck %s --check-prefix=HASH

// BAD: insert-score: cannot score -1 tokens
// NAME: insert-score: give task and task-name together, and no tokens
// HASH: insert-score: task "abc" is not a SHA-256

// Without a name the model's is used, without tokens all is scored.
// CHECK: distill.score @before model @teacher tokens 4096
// CHECK: distill.score @score_teacher model @teacher{{$}}
lm.model @teacher family "llama" context 32 vocab 16 hidden 8 {
  lm.param @token_embd.weight : tensor<16x8xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x8xf32>
    weight.yield %0 : tensor<16x8xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x8xf32>
    %l = lm.logits %x, @token_embd.weight : tensor<?x8xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}
