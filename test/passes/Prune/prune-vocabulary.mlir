// RUN: retort-opt %S/../Inputs/tiny.mlir --prune-vocabulary='stats=%S/Inputs/stats.json max-tokens=7 multiple=1' \
// RUN:   | FileCheck %s
// RUN: retort-opt %S/../Inputs/tiny.mlir --prune-vocabulary='stats=%S/Inputs/stats.json max-tokens=6 multiple=1' \
// RUN:   | FileCheck %s --check-prefix=ROOM
// RUN: retort-opt %S/../Inputs/tiny.mlir --prune-vocabulary='stats=%S/Inputs/stats.json min-count=45 multiple=1' \
// RUN:   | FileCheck %s
// RUN: retort-opt %S/../Inputs/tiny.mlir --prune-vocabulary='stats=%S/Inputs/stats.json min-count=45 multiple=8' \
// RUN:   | FileCheck %s --check-prefix=WHOLE
// RUN: retort-opt %S/../Inputs/tiny.mlir --prune-vocabulary='stats=%S/Inputs/stats.json max-tokens=7 multiple=1' \
// RUN:   --prune-vocabulary='stats=%S/Inputs/seven.json max-tokens=6 multiple=1' | FileCheck %s --check-prefix=TWICE

// Token 6 ("abc") is the most frequent; encoding reaches it through 5 ("ab"), which the corpus
// never has alone but which stays with it. Token 7 has no room any more.
// CHECK-LABEL: lm.model @teacher family "llama" context 64 vocab 7 hidden 8 attributes {vocab_kept = array<i32: 0, 1, 2, 3, 4, 5, 6>}
// CHECK:         weight.take %{{.*}} rows [0, 1, 2, 3, 4, 5, 6] : tensor<8x8xf32> -> tensor<7x8xf32>
// CHECK-NEXT:    weight.yield
// CHECK:         lm.logits %{{.*}}, @token_embd.weight : tensor<?x8xf32> -> tensor<?x7xf32>

// With room for one only, the one that brings nothing with it goes in.
// ROOM-LABEL: lm.model @teacher
// ROOM-SAME:    vocab_kept = array<i32: 0, 1, 2, 3, 4, 7>

// Filling up to a multiple may keep every token: then nothing changes.
// WHOLE-LABEL: lm.model @teacher family "llama" context 64 vocab 8 hidden 8 {
// WHOLE-NOT:     weight.take
// WHOLE:         lm.forward

// A second pruning says which tokens of the teacher's vocabulary are left, not which of the first.
// TWICE-LABEL: lm.model @teacher
// TWICE-SAME:    vocab 6
// TWICE-SAME:    vocab_kept = array<i32: 0, 1, 2, 3, 5, 6>
