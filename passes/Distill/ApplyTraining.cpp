//===- ApplyTraining.cpp - Make parameters from a training's result -------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Distill/Passes.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_APPLYTRAINING
#include "passes/Distill/Passes.h.inc"
namespace {

struct ApplyTraining : impl::ApplyTrainingBase<ApplyTraining> {
  using ApplyTrainingBase::ApplyTrainingBase;

  void runOnOperation() override {
    auto model = lm::findModel(getOperation(), this->model);
    if (failed(model))
      return signalPassFailure();
    Operation *latest = nullptr;
    for (Operation &op : getOperation().getOps())
      if (isFinished<distill::TrainOp>(op, *model) || isFinished<distill::FitOp>(op, *model))
        latest = &op;
    if (!latest) {
      model->emitError() << "apply-training: @" << model->getSymName()
                         << " has no finished distill.train or distill.fit";
      return signalPassFailure();
    }
    if (failed(llvm::TypeSwitch<Operation *, LogicalResult>(latest)
                   .Case<distill::TrainOp, distill::FitOp>(
                       [&](auto work) { return apply(work, *model); })))
      return signalPassFailure();
  }

private:
  template <typename OpT> static bool isFinished(Operation &op, lm::ModelOp model) {
    auto work = dyn_cast<OpT>(op);
    return work && work.getStudent() == model.getSymName() && work.getResult();
  }

  template <typename OpT> LogicalResult apply(OpT work, lm::ModelOp model) {
    if (work.getApplied())
      return work.emitError("apply-training: is applied already");
    auto params = model.getBody()->getOps<lm::ParamOp>();
    // Before the first change: a trained parameter is made of numbers.
    for (auto param : params)
      if (!work.isFrozen(param.getSymName()) && !weight::isWeightTensor(param.getType()))
        return param.emitError() << "apply-training: @" << param.getSymName()
                                 << " is quantised: apply before quantising";
    for (auto param : params)
      if (!work.isFrozen(param.getSymName()))
        replace(param, work.getResult()->getSha256());
    work.setApplied(true);
    return success();
  }

  /// The new program: a load, and a cast where the parameter is not f32.
  void replace(lm::ParamOp param, StringRef sha256) {
    Operation *yield = param.getYield();
    ImplicitLocOpBuilder builder = param.getProgramBuilder();
    auto type = RankedTensorType::get(param.getShape(), builder.getF32Type());
    Value value =
        builder.create<weight::LoadOp>(type, builder.getStringAttr(param.getSymName()),
                                       builder.getStringAttr("F32"), builder.getStringAttr(sha256));
    if (type != param.getType())
      value = builder.create<weight::CastOp>(param.getType(), value);
    param.setProgramValue(value);
    // What the program was is read by nobody: erase it from its end.
    for (Operation &op : llvm::make_early_inc_range(llvm::reverse(*yield->getBlock())))
      if (&op != yield && op.use_empty())
        op.erase();
    ++numReplaced;
  }
};

} // namespace
} // namespace retort
