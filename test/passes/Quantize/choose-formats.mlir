// Formats are given where they save most at the output, for bits a weight on average.
// RUN: mkdir -p %t/objects
// RUN: cp %S/Inputs/costs.json %t/objects/0000000000000000000000000000000000000000000000000000000000000001.json
// RUN: retort-opt %s --workspace=%t --choose-formats=bits=4.7 | FileCheck %s --check-prefix=MIXED
// RUN: retort-opt %s --workspace=%t --choose-formats=bits=3.8 | FileCheck %s --check-prefix=FEWER
// RUN: retort-opt %s --workspace=%t --choose-formats=bits=1 | FileCheck %s --check-prefix=LEAST
// RUN: retort-opt %s --workspace=%t --choose-formats=bits=32 | FileCheck %s --check-prefix=MOST
// RUN: retort-opt %s --workspace=%t --choose-formats=bits=1 --choose-formats=bits=32 | FileCheck %s --check-prefix=MOST
// RUN: retort-opt %s --workspace=%t --choose-formats='bits=1 costs=%S/Inputs/costs-one.json' | FileCheck %s --check-prefix=ONE
// RUN: retort-opt %s --workspace=%t --choose-formats=bits=4.7 --quantize-weights='format=i8g32' | FileCheck %s --check-prefix=ROUNDED
// RUN: retort-opt %s --workspace=%t --choose-formats=bits=32 --untie-embedding --derive-student --cast-weights='model=student type=bf16' | FileCheck %s --check-prefix=KEPT
// RUN: not retort-opt %s --choose-formats=bits=40 2>&1 | FileCheck %s --check-prefix=BITS
// RUN: not retort-opt %s --choose-formats=bits=0 2>&1 | FileCheck %s --check-prefix=NOBITS
// RUN: not retort-opt %s --choose-formats=bits=nan 2>&1 | FileCheck %s --check-prefix=NANBITS
// RUN: not retort-opt %S/../Inputs/tiny.mlir --choose-formats 2>&1 | FileCheck %s --check-prefix=NOPROBE
// RUN: not retort-opt %s --choose-formats 2>&1 | FileCheck %s --check-prefix=GONE
// RUN: not retort-opt %s --choose-formats=costs=%S/nowhere.json 2>&1 | FileCheck %s --check-prefix=NOFILE
// RUN: not retort-opt %s --choose-formats=costs=%S/Inputs/costs-other.json 2>&1 | FileCheck %s --check-prefix=OTHER
// RUN: not retort-opt %s --choose-formats=costs=%S/Inputs/costs-vector.json 2>&1 | FileCheck %s --check-prefix=VECTOR
// RUN: not retort-opt %s --choose-formats=costs=%S/Inputs/costs-negative.json 2>&1 | FileCheck %s --check-prefix=MALFORMED
// RUN: not retort-opt %s --choose-formats=costs=%S/Inputs/costs-float.json 2>&1 | FileCheck %s --check-prefix=MALFORMED
// RUN: not retort-opt %s --choose-formats=costs=%S/Inputs/costs-none.json 2>&1 | FileCheck %s --check-prefix=MALFORMED
// RUN: not retort-opt %s --choose-formats=costs=%S/Inputs/costs-stats.json 2>&1 | FileCheck %s --check-prefix=FORMAT
// RUN: not retort-opt %s --workspace=%t --quantize-weights --choose-formats 2>&1 | FileCheck %s --check-prefix=OTHERQ

// d costs most: where there are bits for it, it gets 8 and the others 3; with fewer, q and k get 4.
// MIXED:     lm.param @token_embd.weight : tensor<16x64xf32> {
// MIXED:     lm.param @blk.0.q.weight : tensor<64x64xf32> attributes {rounds_to = #weight.format<i3g64s>}
// MIXED:     lm.param @blk.0.k.weight : tensor<32x64xf32> attributes {rounds_to = #weight.format<i3g64s>}
// MIXED:     lm.param @blk.0.o.weight : tensor<64x64xf32> attributes {rounds_to = #weight.format<i3g64s>}
// MIXED:     lm.param @blk.0.d.weight : tensor<64x64xf32> attributes {rounds_to = #weight.format<i8g64>}

// FEWER:    lm.param @blk.0.q.weight {{.*}}<i4g64s>}
// FEWER:    lm.param @blk.0.k.weight {{.*}}<i4g64s>}
// FEWER:    lm.param @blk.0.o.weight {{.*}}<i3g64s>}
// FEWER:    lm.param @blk.0.d.weight {{.*}}<i3g64s>}

// Where even the smallest formats take more, those.
// LEAST-COUNT-4: rounds_to = #weight.format<i3g64s>
// MOST-COUNT-4:  rounds_to = #weight.format<i8g64>
// ONE:      lm.param @blk.0.q.weight : tensor<64x64xf32> {
// ONE:      lm.param @blk.0.o.weight : tensor<64x64xf32> attributes {rounds_to = #weight.format<i4g64s>}
// ONE:      lm.param @blk.0.d.weight : tensor<64x64xf32> {

// What was chosen is obeyed, and done.
// ROUNDED:     lm.param @token_embd.weight : tensor<16x64xi8, #weight.format<i8g32>> {
// ROUNDED:     lm.param @blk.0.q.weight : tensor<64x64xi3, #weight.format<i3g64s>> {
// ROUNDED:     lm.param @blk.0.d.weight : tensor<64x64xi8, #weight.format<i8g64>> {

// KEPT:     lm.model @student
// KEPT:     lm.param @blk.0.d.weight : tensor<64x64xbf16> attributes {rounds_to = #weight.format<i8g64>}

// BITS: choose-formats: bits must be above 0 and at most 32, is 4.000000e+01
// NOBITS: choose-formats: bits must be above 0 and at most 32, is 0.000000e+00
// NANBITS: choose-formats: bits must be above 0 and at most 32, is nan
// NOPROBE: choose-formats: no finished distill.probe: give costs=FILE, or run insert-probe and execute it first
// GONE: error: 'distill.probe' op result is not in the workspace, needed by choose-formats
// NOFILE: choose-formats: {{.*}}nowhere.json: No such file or directory
// OTHER: choose-formats: the probe rounded 'blk.9.q.weight', which is no matrix to round of this model
// OTHERQ: choose-formats: the probe rounded 'blk.0.q.weight', which is no matrix to round of this model
// VECTOR: choose-formats: the probe rounded 'norm.weight', which is no matrix to round of this model
// MALFORMED: choose-formats: {{.*}}: malformed formats or groups
// FORMAT: choose-formats: {{.*}}costs-stats.json: not of format retort-probe-1
lm.model @teacher family "llama" context 64 vocab 16 hidden 64 {
  lm.param @token_embd.weight : tensor<16x64xf32> {
    %0 = weight.load "token_embd.weight" stored "F32" : tensor<16x64xf32>
    weight.yield %0 : tensor<16x64xf32>
  }
  lm.param @blk.0.q.weight : tensor<64x64xf32> {
    %0 = weight.load "blk.0.q.weight" stored "F32" : tensor<64x64xf32>
    weight.yield %0 : tensor<64x64xf32>
  }
  lm.param @blk.0.k.weight : tensor<32x64xf32> {
    %0 = weight.load "blk.0.k.weight" stored "F32" : tensor<32x64xf32>
    weight.yield %0 : tensor<32x64xf32>
  }
  lm.param @blk.0.o.weight : tensor<64x64xf32> {
    %0 = weight.load "blk.0.o.weight" stored "F32" : tensor<64x64xf32>
    weight.yield %0 : tensor<64x64xf32>
  }
  lm.param @blk.0.d.weight : tensor<64x64xf32> {
    %0 = weight.load "blk.0.d.weight" stored "F32" : tensor<64x64xf32>
    weight.yield %0 : tensor<64x64xf32>
  }
  lm.param @norm.weight : tensor<64xf32> {
    %0 = weight.load "norm.weight" stored "F32" : tensor<64xf32>
    weight.yield %0 : tensor<64xf32>
  }
  lm.forward {
  ^bb0(%tokens: tensor<?xi32>):
    %x = lm.embed %tokens, @token_embd.weight : tensor<?x64xf32>
    %n = lm.norm %x, @norm.weight eps 1.0e-5 : tensor<?x64xf32>
    %q = lm.linear %n, @blk.0.q.weight : tensor<?x64xf32> -> tensor<?x64xf32>
    %k = lm.linear %n, @blk.0.k.weight : tensor<?x64xf32> -> tensor<?x32xf32>
    %o = lm.linear %q, @blk.0.o.weight : tensor<?x64xf32> -> tensor<?x64xf32>
    %d = lm.linear %o, @blk.0.d.weight : tensor<?x64xf32> -> tensor<?x64xf32>
    %l = lm.logits %d, @token_embd.weight : tensor<?x64xf32> -> tensor<?x16xf32>
    lm.return %l : tensor<?x16xf32>
  }
}
distill.probe @costs model @teacher tokens 10 measured 5 formats [#weight.format<i4g64s>]
    result <"0000000000000000000000000000000000000000000000000000000000000001">
distill.probe @unfinished model @teacher tokens 10 measured 5 formats [#weight.format<i4g64s>]
