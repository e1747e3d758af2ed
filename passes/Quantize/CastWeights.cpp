//===- CastWeights.cpp - Round matrices to another floating-point type ----===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Quantize/Matrices.h"
#include "passes/Quantize/Passes.h"

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_CASTWEIGHTS
#include "passes/Quantize/Passes.h.inc"
namespace {

struct CastWeights : impl::CastWeightsBase<CastWeights> {
  using CastWeightsBase::CastWeightsBase;

  void runOnOperation() override {
    auto model = lm::findModel(getOperation(), this->model);
    if (failed(model))
      return signalPassFailure();
    Builder builder(&getContext());
    Type element;
    if (type == "bf16")
      element = builder.getBF16Type();
    else if (type == "f16")
      element = builder.getF16Type();
    else if (type == "f32")
      element = builder.getF32Type();
    else {
      model->emitError() << "cast-weights: type must be bf16, f16 or f32, is '" << type.getValue()
                         << "'";
      return signalPassFailure();
    }
    auto matrices = matricesOf(*model, "cast-weights");
    if (failed(matrices))
      return signalPassFailure();
    for (Matrix matrix : *matrices) {
      auto from = matrix.param.getParamType();
      if (weight::isWeightTensor(from) && from.getElementType() != element)
        cast(matrix.param, from.clone(element));
    }
  }

private:
  void cast(lm::ParamOp param, Type to) {
    Value value = param.getProgramValue();
    param.setProgramValue(param.getProgramBuilder().create<weight::CastOp>(to, value));
    ++numCast;
  }
};

} // namespace
} // namespace retort
