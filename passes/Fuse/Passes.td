//===- Passes.td - Passes that join parameters and ops --------------------===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_PASSES_FUSE_TD
#define RETORT_PASSES_FUSE_TD
include "mlir/Pass/PassBase.td"

def FuseQKV : Pass<"fuse-qkv", "::retort::lm::ModelOp"> {
  let summary = "Join query, key and value projections into one";
  let description = [{
    The three linear layers that feed an attention read the same rows, and so does the fourth that
    makes a gate on its result: their matrices become one `weight.concat` by rows, `attn_qkv`, whose
    product `lm.split` cuts. Rows are quantised on their
    own, so matrices quantised in the same format are joined before they are quantised, and nothing
    changes in value. Layers that read different rows, have a bias only in part, differ in format or
    share a parameter with another op are left as they are, and so are those whose heads are normed
    together (OLMo).
  }];
  let statistics = [Statistic<"numFused", "attentions-fused",
                              "Attentions whose projections were joined">];
}

def FuseGateUp : Pass<"fuse-gate-up", "::retort::lm::ModelOp"> {
  let summary = "Join the gate and up projections of a gated unit into one";
  let description = [{
    The same as `fuse-qkv` for the two linear layers that an `lm.glu` reads: `ffn_gate_up`, gate
    first. The kernel that multiplies by it computes the gated product of its channels at once.
    Layers with a bias are left as they are.
  }];
  let statistics = [Statistic<"numFused", "units-fused",
                              "Gated units whose projections were joined">];
}
#endif
