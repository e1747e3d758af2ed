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
                                                 ArrayRef<Attribute>, MatrixFormats);
  template <typename PassT> friend FailureOr<MatrixFormats> retort::formatsOf(PassT &, lm::ModelOp);

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
    const bool learns = llvm::any_of(
        losses, [](Attribute loss) { return cast<distill::LossAttr>(loss).needsTeacher(); });
    distill::TrainOp training =
        insertTraining(*this, ("distill_" + studentModel->getSymName()).str(),
                       learns ? *teacherModel : lm::ModelOp(), *studentModel, losses, *formats);
    training.setFreezeCodes(freezeCodes);
  }

private:
  LogicalResult makeLosses(lm::ModelOp model, SmallVectorImpl<Attribute> &losses) {
    auto emitError = [&] { return model.emitError("insert-distillation: "); };
    Builder builder(&getContext());
    const std::tuple<distill::LossKind, double, double> wanted[] = {
        {distill::LossKind::ForwardKL, klWeight, temperature},
        {distill::LossKind::ReverseKL, reverseKlWeight, temperature},
        {distill::LossKind::JensenShannon, jsWeight, temperature},
        {distill::LossKind::HiddenState, hiddenWeight, 1},
        {distill::LossKind::CrossEntropy, ceWeight, 1}};
    for (auto [kind, weight, degrees] : wanted) {
      if (weight == 0)
        continue;
      auto loss = distill::LossAttr::getChecked(emitError, &getContext(), kind,
                                                builder.getF64FloatAttr(weight),
                                                builder.getF64FloatAttr(degrees));
      if (!loss)
        return failure();
      losses.push_back(loss);
    }
    return success();
  }
};

} // namespace
} // namespace retort
