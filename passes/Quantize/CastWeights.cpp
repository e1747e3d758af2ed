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
    if (type.quantised()) {
      model->emitError() << "cast-weights: " << nameOf(type)
                         << " is quantised: quantize-weights rounds to it";
      return signalPassFailure();
    }
    using Kind = NumberFormat::Kind;
    Type element = type.kind == Kind::F16    ? Type(builder.getF16Type())
                   : type.kind == Kind::BF16 ? Type(builder.getBF16Type())
                                             : Type(builder.getF32Type());
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
