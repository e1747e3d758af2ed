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
    auto model = lm::findModel(getOperation(), this->model);
    auto beaten = against.empty() ? FailureOr<lm::ModelOp>(lm::ModelOp())
                                  : lm::findModel(getOperation(), against);
    if (failed(model) || failed(beaten))
      return signalPassFailure();
    if (!*beaten && maximum == 0) {
      model->emitError("insert-gate: give against=MODEL or maximum=BITS");
      return signalPassFailure();
    }
    auto builder = OpBuilder::atBlockEnd(getOperation().getBody());
    FlatSymbolRefAttr score = insertScore(builder, *model);
    FlatSymbolRefAttr other = *beaten ? insertScore(builder, *beaten) : FlatSymbolRefAttr();
    builder.create<distill::GateOp>(
        model->getLoc(), builder.getStringAttr(uniqueSymbol(getOperation(), "gate")), score, other,
        maximum == 0 ? FloatAttr() : builder.getF64FloatAttr(maximum));
  }

private:
  FlatSymbolRefAttr insertScore(OpBuilder &builder, lm::ModelOp model) {
    distill::ScoreOp score =
        retort::insertScore(builder, model, ("score_" + model.getSymName()).str(), tokens);
    return FlatSymbolRefAttr::get(score.getSymNameAttr());
  }
};

} // namespace
} // namespace retort
