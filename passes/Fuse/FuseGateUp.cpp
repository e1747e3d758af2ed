//===- FuseGateUp.cpp - Join gate and up projections into one -------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Fuse/FuseLinears.h"
#include "passes/Fuse/Passes.h"

using namespace mlir;
namespace retort {
#define GEN_PASS_DEF_FUSEGATEUP
#include "passes/Fuse/Passes.h.inc"
namespace {

struct FuseGateUp : impl::FuseGateUpBase<FuseGateUp> {
  using FuseGateUpBase::FuseGateUpBase;
  void runOnOperation() override {
    SmallVector<lm::GluOp> units;
    getOperation().walk([&](lm::GluOp op) { units.push_back(op); });
    for (lm::GluOp unit : units) {
      auto gate = unit.getGate().getDefiningOp<lm::LinearOp>();
      auto up = unit.getUp().getDefiningOp<lm::LinearOp>();
      if (!gate || !up || gate == up || gate.getBias() || up.getBias())
        continue;
      // The product computes act(gate) * up at once: neither may be wanted by another op.
      if (!gate.getResult().hasOneUse() || !up.getResult().hasOneUse())
        continue;
      if (succeeded(fuseLinears({gate, up}, renamed(gate.getWeight(), "ffn_gate", "ffn_gate_up"))))
        ++numFused;
    }
  }
};
} // namespace
} // namespace retort
