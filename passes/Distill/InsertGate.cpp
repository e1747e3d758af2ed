//===- InsertGate.cpp - Say what a model must reach -----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Distill/Insert.h"
#include "passes/Distill/Passes.h"

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_INSERTGATE
#include "passes/Distill/Passes.h.inc"
namespace {

struct InsertGate : impl::InsertGateBase<InsertGate> {
  using InsertGateBase::InsertGateBase;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto isScore = [&](StringRef name) { return module.lookupSymbol<distill::ScoreOp>(name); };
    if (!isScore(score) || !(of.empty() || isScore(of))) {
      module.emitError("insert-gate: there is no score '")
          << (isScore(score) ? of : score) << "': insert-score makes one";
      return signalPassFailure();
    }
    auto builder = OpBuilder::atBlockEnd(module.getBody());
    builder.create<distill::GateOp>(
        module.getLoc(), builder.getStringAttr(uniqueSymbol(module, "gate")),
        FlatSymbolRefAttr::get(builder.getStringAttr(score)),
        distill::MetricAttr::get(&getContext(), metric), builder.getF64FloatAttr(bound),
        of.empty() ? FlatSymbolRefAttr() : FlatSymbolRefAttr::get(builder.getStringAttr(of)),
        strict ? builder.getUnitAttr() : UnitAttr());
  }
};

} // namespace
} // namespace retort
