//===- InsertDistillation.cpp - Ask for a student to be trained -----------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Distill/InsertTraining.h"
#include "passes/Distill/Passes.h"

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_INSERTDISTILLATION
#include "passes/Distill/Passes.h.inc"
namespace {

struct InsertDistillation : impl::InsertDistillationBase<InsertDistillation> {
  using InsertDistillationBase::InsertDistillationBase;
  template <typename PassT>
  friend distill::TrainOp retort::insertTraining(PassT &, StringRef, lm::ModelOp, lm::ModelOp,
                                                 ArrayRef<Attribute>, QuantisedFormats);
  template <typename PassT>
  friend FailureOr<QuantisedFormats> retort::formatsOf(PassT &, lm::ModelOp);

  void runOnOperation() override {
    auto teacherModel = lm::findModel(getOperation(), teacher);
    auto studentModel = lm::findModel(getOperation(), student);
    if (failed(teacherModel) || failed(studentModel))
      return signalPassFailure();
    SmallVector<Attribute> losses;
    if (failed(makeLosses(*studentModel, losses)))
      return signalPassFailure();
    auto formats = formatsOf(*this, *studentModel);
    if (failed(formats))
      return signalPassFailure();
    // Without KL nothing is learned from the teacher.
    insertTraining(*this, ("distill_" + studentModel->getSymName()).str(),
                   klWeight == 0 ? lm::ModelOp() : *teacherModel, *studentModel, losses, *formats);
  }

private:
  LogicalResult makeLosses(lm::ModelOp model, SmallVectorImpl<Attribute> &losses) {
    auto emitError = [&] { return model.emitError("insert-distillation: "); };
    Builder builder(&getContext());
    auto add = [&](distill::LossKind kind, double weight, double temperature) {
      auto loss = distill::LossAttr::getChecked(emitError, &getContext(), kind,
                                                builder.getF64FloatAttr(weight),
                                                builder.getF64FloatAttr(temperature));
      losses.push_back(loss);
      return success(loss != nullptr);
    };
    if (klWeight != 0 && failed(add(distill::LossKind::ForwardKL, klWeight, temperature)))
      return failure();
    return ceWeight == 0 ? success() : add(distill::LossKind::CrossEntropy, ceWeight, 1.0);
  }
};

} // namespace
} // namespace retort
