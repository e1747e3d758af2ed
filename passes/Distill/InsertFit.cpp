//===- InsertFit.cpp - Ask for a student's layers to be solved for --------===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/LM/Units.h"
#include "passes/Distill/InsertTraining.h"
#include "passes/Distill/Passes.h"
#include <cmath>

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_INSERTFIT
#include "passes/Distill/Passes.h.inc"
namespace {

/// Whether the layer's output is added to the stream, and nothing else reads it.
bool isAdded(lm::LinearOp linear) {
  lm::Addition addition = lm::additionOf(linear.getResult());
  return addition.residual && addition.between.empty();
}

struct InsertFit : impl::InsertFitBase<InsertFit> {
  using InsertFitBase::InsertFitBase;
  template <typename PassT> friend FailureOr<MatrixFormats> retort::formatsOf(PassT &, lm::ModelOp);

  void runOnOperation() override {
    auto teacher = lm::findModel(getOperation(), this->teacher);
    auto student = lm::findModel(getOperation(), this->student);
    if (failed(teacher) || failed(student))
      return signalPassFailure();
    auto formats = formatsOf(*this, *student);
    if (failed(formats))
      return signalPassFailure();
    SmallVector<StringRef> params;
    const auto &readers = getChildAnalysis<lm::ParamReaders>(*student);
    auto want = [&](Operation *op, StringRef name) {
      lm::ParamOp param = lm::lookupParam(op, name);
      if (!readers.isShared(param) && weight::isWeightTensor(param.getType()))
        params.push_back(param.getSymName());
    };
    student->walk([&](lm::LinearOp linear) {
      if (!lm::blockLabel(linear).empty() && (formats->layers || isAdded(linear)))
        want(linear, linear.getWeight());
    });
    if (formats->layers)
      student->walk([&](lm::LogitsOp logits) { want(logits, logits.getWeight()); });
    if (params.empty()) {
      student->emitError("insert-fit: no linear layer's output is added to the stream as it is");
      return signalPassFailure();
    }
    numLayers += params.size();
    auto builder = OpBuilder::atBlockEnd(getOperation().getBody());
    auto symbol = [&](StringRef name) { return FlatSymbolRefAttr::get(&getContext(), name); };
    builder.create<distill::FitOp>(
        student->getLoc(),
        builder.getStringAttr(uniqueSymbol(getOperation(), ("fit_" + student->getSymName()).str())),
        symbol(teacher->getSymName()), symbol(student->getSymName()),
        builder.getI64IntegerAttr(tokens), builder.getI64IntegerAttr(sequenceLength),
        builder.getStrArrayAttr(params), builder.getF64FloatAttr(damping), formats->layers,
        formats->embedding, formats->logits, distill::FileAttr(), UnitAttr());
  }
};

} // namespace
} // namespace retort
