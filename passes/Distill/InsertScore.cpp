//===- InsertScore.cpp - Ask for a model's bits per byte -------------------===//
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
    auto builder = OpBuilder::atBlockEnd(getOperation().getBody());
    insertScore(builder, *model, name.empty() ? ("score_" + model->getSymName()).str() : name,
                tokens);
  }
};

} // namespace
} // namespace retort
