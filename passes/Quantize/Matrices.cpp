//===- Matrices.cpp - The matrices of a model -----------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Quantize/Matrices.h"

using namespace mlir;

namespace retort {

FailureOr<std::vector<Matrix>> matricesOf(lm::ModelOp model, StringRef pass) {
  lm::ParamReaders readers(model);
  std::vector<Matrix> matrices;
  for (auto param : model.getBody()->getOps<lm::ParamOp>()) {
    bool isMatrix = false, isLookedUp = false, hasTokens = false;
    for (const auto &[op, use] : readers.of(param)) {
      if (use.role == lm::ParamRole::Opaque && param.getShape().size() == 2)
        return op->emitError() << pass << ": '" << op->getName()
                               << "' does not say what it does with @" << param.getSymName();
      isMatrix |= use.role == lm::ParamRole::Matrix;
      isLookedUp |= use.role == lm::ParamRole::Table;
      hasTokens |= llvm::any_of(use.axes, [](const lm::ParamAxis &axis) {
        return axis.kind == lm::ParamAxis::Kind::Tokens;
      });
    }
    if (isLookedUp)
      matrices.push_back({param, Matrix::Kind::Embedding});
    else if (isMatrix)
      matrices.push_back({param, hasTokens ? Matrix::Kind::Logits : Matrix::Kind::Layer});
  }
  return matrices;
}

} // namespace retort
