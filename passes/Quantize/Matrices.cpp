//===- Matrices.cpp - The matrices of a model -----------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Quantize/Matrices.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace retort {

std::vector<Matrix> matricesOf(lm::ModelOp model) {
  llvm::StringSet<> linears, tables;
  model.getForward().walk([&](Operation *op) {
    llvm::TypeSwitch<Operation *>(op)
        .Case<lm::LinearOp>([&](auto linear) { linears.insert(linear.getWeight()); })
        .Case<lm::EmbedOp, lm::LogitsOp>([&](auto table) { tables.insert(table.getWeight()); });
  });
  std::vector<Matrix> matrices;
  for (auto param : model.getBody()->getOps<lm::ParamOp>()) {
    bool isTable = tables.contains(param.getSymName());
    if (isTable || linears.contains(param.getSymName()))
      matrices.push_back({param, isTable});
  }
  return matrices;
}

} // namespace retort
