//===- QuantizeWeights.cpp - Round matrices to 8 or 4 bits a weight -------===//
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
    weight::FormatAttr linear = format(*model, bits);
    weight::FormatAttr table = format(*model, embeddingBits == 0 ? bits : embeddingBits);
    if (!linear || !table)
      return signalPassFailure();
    for (Matrix matrix : matricesOf(*model))
      if (weight::isWeightTensor(matrix.param.getType()))
        quantize(matrix.param, matrix.isTable ? table : linear);
  }

private:
  /// The format of `width` bits that the options describe; null, with a diagnostic, if there is
  /// none.
  weight::FormatAttr format(lm::ModelOp model, unsigned width) {
    auto scheme = asymmetric ? weight::Scheme::Asymmetric : weight::Scheme::Symmetric;
    auto emitError = [&] { return model.emitError("quantize-weights: "); };
    return weight::FormatAttr::getChecked(emitError, &getContext(), width, int64_t(group), scheme);
  }

  void quantize(lm::ParamOp param, weight::FormatAttr format) {
    Value value = param.getProgramValue();
    Type type = format.typeOf(param.getShape()[0], param.getShape()[1]);
    param.setProgramValue(param.getProgramBuilder().create<weight::QuantizeOp>(
        type, value, weight::Method::RoundToNearest));
    ++numQuantized;
  }
};

} // namespace
} // namespace retort
