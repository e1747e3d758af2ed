//===- Matrices.cpp - The matrices of a model -----------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Quantize/Matrices.h"

using namespace mlir;

namespace retort {

FailureOr<std::vector<Matrix>> matricesOf(lm::ModelOp model, StringRef pass) {
  lm::ParamReaders readers(model);
  std::vector<Matrix> matrices;
  for (auto param : model.getBody()->getOps<lm::ParamOp>()) {
    bool isMatrix = false, isTable = false;
    for (const auto &[op, use] : readers.of(param)) {
      if (use.role == lm::ParamRole::Opaque && param.getShape().size() == 2)
        return op->emitError() << pass << ": '" << op->getName()
                               << "' does not say what it does with @" << param.getSymName();
      isMatrix |= use.role == lm::ParamRole::Matrix || use.role == lm::ParamRole::Table;
      isTable |= llvm::any_of(use.axes, [](const lm::ParamAxis &axis) {
        return axis.kind == lm::ParamAxis::Kind::Tokens;
      });
    }
    if (isMatrix)
      matrices.push_back({param, isTable});
  }
  return matrices;
}

} // namespace retort
