//===- QuantizeWeights.cpp - Round matrices to a few bits a weight --------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Quantize/Matrices.h"
#include "passes/Quantize/Passes.h"

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_QUANTIZEWEIGHTS
#include "passes/Quantize/Passes.h.inc"
namespace {

struct QuantizeWeights : impl::QuantizeWeightsBase<QuantizeWeights> {
  using QuantizeWeightsBase::QuantizeWeightsBase;

  void runOnOperation() override {
    auto model = lm::findModel(getOperation(), this->model);
    if (failed(model))
      return signalPassFailure();
    auto emitError = [&] { return model->emitError("quantize-weights: "); };
    auto attribute = [&](const NumberFormat &format) {
      return weight::FormatAttr::getChecked(emitError, &getContext(), format);
    };
    MatrixFormats formats;
    formats.layers = attribute(format);
    if (embedding)
      formats.embedding = attribute(*embedding);
    if (logits)
      formats.logits = attribute(*logits);
    if (!formats.layers || (embedding && !formats.embedding) || (logits && !formats.logits))
      return signalPassFailure();
    auto matrices = matricesOf(*model, "quantize-weights");
    if (failed(matrices))
      return signalPassFailure();
    for (Matrix matrix : *matrices)
      if (weight::isWeightTensor(matrix.param.getType()) && wanted(matrix.param.getSymName()))
        quantize(matrix.param, formats.of(matrix));
  }

private:
  bool wanted(StringRef name) const {
    return only.empty() ||
           llvm::any_of(only, [&](const std::string &part) { return name.contains(part); });
  }
  void quantize(lm::ParamOp param, weight::FormatAttr format) {
    Value value = param.getProgramValue();
    Type type = format.typeOf(param.getShape()[0], param.getShape()[1]);
    param.removeRoundsToAttr(); // it is done
    param.setProgramValue(param.getProgramBuilder().create<weight::QuantizeOp>(type, value));
    ++numQuantized;
  }
};

} // namespace
} // namespace retort
