//===- InsertObservation.cpp - Ask for statistics of a model --------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Distill/Insert.h"
#include "passes/Distill/Passes.h"

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_INSERTOBSERVATION
#include "passes/Distill/Passes.h.inc"
namespace {

struct InsertObservation : impl::InsertObservationBase<InsertObservation> {
  using InsertObservationBase::InsertObservationBase;

  void runOnOperation() override {
    auto model = lm::findModel(getOperation(), this->model);
    if (failed(model))
      return signalPassFailure();
    SmallVector<Attribute> wanted;
    for (StringRef name : statistics) {
      auto statistic = statisticNamed(name);
      if (!statistic) {
        model->emitError() << "insert-observation: there is no statistic '" << name
                           << "': there are " << statisticNames();
        return signalPassFailure();
      }
      wanted.push_back(distill::StatisticAttr::get(&getContext(), *statistic));
    }
    if (wanted.empty()) {
      model->emitError("insert-observation: say which statistics");
      return signalPassFailure();
    }
    auto builder = OpBuilder::atBlockEnd(getOperation().getBody());
    builder.create<distill::ObserveOp>(model->getLoc(), uniqueSymbol(getOperation(), "observe"),
                                       model->getSymName(), tokens, sequenceLength,
                                       builder.getArrayAttr(wanted), distill::FileAttr());
  }
};

} // namespace
} // namespace retort
