// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-vocabulary='stats=%S/Inputs/stats.json max-tokens=4' 2>&1 | FileCheck %s --check-prefix=FEW
// FEW: prune-vocabulary: cannot keep 4 tokens: 5 must stay (bytes and special tokens)
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-vocabulary='stats=%S/Inputs/seven.json' 2>&1 | FileCheck %s --check-prefix=OTHER
// OTHER: prune-vocabulary: the model has 8 tokens, the statistics count 7
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-vocabulary='stats=%S/Inputs/circular.json' 2>&1 | FileCheck %s --check-prefix=CIRCLE
// CIRCLE: prune-vocabulary: the merges make token 5 out of itself
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-vocabulary='stats=%S/Inputs/range.json' 2>&1 | FileCheck %s --check-prefix=RANGE
// RANGE: range.json: malformed or out-of-range 'vocabulary'
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-vocabulary='stats=%S/Inputs/stats.json max-tokens=-1' 2>&1 | FileCheck %s --check-prefix=OPTIONS
// OPTIONS: prune-vocabulary: max-tokens and min-count must be at least 0, multiple at least 1
// RUN: not retort-opt %S/../Inputs/tiny.mlir --quantize-weights --prune-vocabulary='stats=%S/Inputs/stats.json max-tokens=7 multiple=1' 2>&1 | FileCheck %s --check-prefix=QUANT
// QUANT: prune-vocabulary: @token_embd.weight is quantised: prune before quantising
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-vocabulary='model=nobody' 2>&1 | FileCheck %s --check-prefix=MODEL
// MODEL: there is no model @nobody
// RUN: not retort-opt %S/../Inputs/tiny.mlir --derive-student=student=s --prune-vocabulary 2>&1 | FileCheck %s --check-prefix=WHICH
// WHICH: the module has 2 models and none is @student: say which with model=NAME
