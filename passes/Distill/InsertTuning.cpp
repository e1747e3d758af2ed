//===- InsertTuning.cpp - Ask for a model to be trained on the corpus -----===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Distill/InsertTraining.h"
#include "passes/Distill/Passes.h"

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_INSERTTUNING
#include "passes/Distill/Passes.h.inc"
namespace {

struct InsertTuning : impl::InsertTuningBase<InsertTuning> {
  using InsertTuningBase::InsertTuningBase;
  template <typename PassT>
  friend distill::TrainOp retort::insertTraining(PassT &, StringRef, lm::ModelOp, lm::ModelOp,
                                                 ArrayRef<Attribute>, MatrixFormats);

  void runOnOperation() override {
    auto model = lm::findModel(getOperation(), this->model);
    if (failed(model))
      return signalPassFailure();
    auto loss = distill::LossAttr::get(&getContext(), distill::LossKind::CrossEntropy, 1.0);
    insertTraining(*this, ("tune_" + model->getSymName()).str(), {}, *model, Attribute(loss), {});
  }
};

} // namespace
} // namespace retort
