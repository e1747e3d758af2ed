// How passes refuse a statistics file; prune-vocabulary stands for all.
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-vocabulary 2>&1 | FileCheck %s --check-prefix=NONE
// NONE: prune-vocabulary: no finished distill.observe of vocabulary: give stats=FILE
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-vocabulary='stats=%S/Inputs/absent.json' 2>&1 | FileCheck %s --check-prefix=ABSENT
// ABSENT: absent.json: No such file or directory
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-vocabulary='stats=%S/Inputs/format.json' 2>&1 | FileCheck %s --check-prefix=FORMAT
// FORMAT: format.json: not of format retort-stats-1
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-vocabulary='stats=%S/Inputs/syntax.json' 2>&1 | FileCheck %s --check-prefix=SYNTAX
// SYNTAX: syntax.json: byte 12: is not valid JSON
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-vocabulary='stats=%S/Inputs/deep.json' 2>&1 | FileCheck %s --check-prefix=DEEP
// DEEP: deep.json: {{.*}}nested deeper than 64
// RUN: not retort-opt %S/../Inputs/tiny.mlir --prune-ffn='stats=%S/Inputs/blocks.json' 2>&1 | FileCheck %s --check-prefix=BLOCKS
// BLOCKS: blocks.json: malformed 'blocks'
