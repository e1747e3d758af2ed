//===- ApplyTraining.cpp - Make parameters from a training's result -------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Distill/Passes.h"

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
    auto training = findTraining(*model);
    if (failed(training) || failed(check(*model, *training)))
      return signalPassFailure();
    for (auto param : model->getBody()->getOps<lm::ParamOp>())
      if (!training->isFrozen(param.getSymName()))
        replace(param, training->getResult()->getSha256());
    training->setApplied(true);
  }

private:
  FailureOr<distill::TrainOp> findTraining(lm::ModelOp model) {
    distill::TrainOp last;
    for (auto training : getOperation().getOps<distill::TrainOp>())
      if (training.getStudent() == model.getSymName() && training.getResult())
        last = training;
    if (!last)
      return model.emitError() << "apply-training: @" << model.getSymName()
                               << " has no finished distill.train";
    if (last.getApplied())
      return last.emitError("apply-training: is applied already");
    return last;
  }

  /// Before the first change: a trained parameter is made of numbers.
  LogicalResult check(lm::ModelOp model, distill::TrainOp training) {
    for (auto param : model.getBody()->getOps<lm::ParamOp>())
      if (!training.isFrozen(param.getSymName()) && !weight::isWeightTensor(param.getType()))
        return param.emitError() << "apply-training: @" << param.getSymName()
                                 << " is quantised: apply before quantising";
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
