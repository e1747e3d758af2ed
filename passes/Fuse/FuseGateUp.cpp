//===- FuseGateUp.cpp - Join gate and up projections into one -------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Fuse/FuseLinears.h"
#include "passes/Fuse/Passes.h"

using namespace mlir;
namespace retort {
#define GEN_PASS_DEF_FUSEGATEUP
#include "passes/Fuse/Passes.h.inc"
namespace {

bool hasBias(lm::Projection input) {
  return llvm::any_of(input.op.getParamUses(),
                      [](const lm::ParamUse &use) { return use.role == lm::ParamRole::Bias; });
}

struct FuseGateUp : impl::FuseGateUpBase<FuseGateUp> {
  using FuseGateUpBase::FuseGateUpBase;
  void runOnOperation() override {
    SmallVector<lm::GluOp> glus;
    getOperation().walk([&](lm::GluOp op) { glus.push_back(op); });
    for (lm::GluOp glu : glus) {
      lm::GatedUnit unit(glu);
      // The product computes act(gate) * up at once: nothing else may read either.
      if (unit.whyNotFed() || llvm::any_of(unit.inputs, hasBias))
        continue;
      if (succeeded(fuseInputs(unit, "ffn_gate_up")))
        ++numFused;
    }
  }
};
} // namespace
} // namespace retort
