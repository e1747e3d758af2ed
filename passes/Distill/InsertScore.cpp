//===- InsertScore.cpp - Ask for a model's figures -------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Distill/Insert.h"
#include "passes/Distill/Passes.h"

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_INSERTSCORE
#include "passes/Distill/Passes.h.inc"
namespace {

struct InsertScore : impl::InsertScoreBase<InsertScore> {
  using InsertScoreBase::InsertScoreBase;

  void runOnOperation() override {
    auto model = lm::findModel(getOperation(), this->model);
    if (failed(model))
      return signalPassFailure();
    if (tokens < 0) {
      model->emitError("insert-score: cannot score ") << int64_t(tokens) << " tokens";
      return signalPassFailure();
    }
    if (task.empty() != taskName.empty() || (!task.empty() && tokens != 0)) {
      model->emitError("insert-score: give task and task-name together, and no tokens");
      return signalPassFailure();
    }
    const std::string symbol = name.empty() ? ("score_" + model->getSymName()).str() : name;
    distill::FileAttr file;
    if (!task.empty()) {
      auto refuse = [&] { return model->emitError("insert-score: task "); };
      file = distill::FileAttr::getChecked(refuse, &getContext(), StringRef(task));
      if (!file)
        return signalPassFailure();
    }
    auto builder = OpBuilder::atBlockEnd(getOperation().getBody());
    builder.create<distill::ScoreOp>(
        model->getLoc(), builder.getStringAttr(uniqueSymbol(getOperation(), symbol)),
        FlatSymbolRefAttr::get(model->getSymNameAttr()),
        against.empty() ? FlatSymbolRefAttr() : FlatSymbolRefAttr::get(&getContext(), against),
        file ? builder.getStringAttr(taskName) : StringAttr(), file,
        tokens == 0 ? IntegerAttr() : builder.getI64IntegerAttr(tokens), distill::FileAttr());
  }
};

} // namespace
} // namespace retort
