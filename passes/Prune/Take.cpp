//===- Take.cpp - Pruning a parameter's rows or columns -------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Prune/Take.h"
#include <numeric>

using namespace mlir;

namespace retort {

FailureOr<lm::ParamOp> prunableParam(Operation *user, StringRef name, StringRef pass) {
  lm::ParamOp param = lm::lookupParam(user, name);
  if (!param)
    return user->emitError() << pass << ": there is no parameter @" << name;
  if (!weight::isWeightTensor(param.getType()))
    return user->emitError() << pass << ": @" << name << " is quantised: prune before quantising";
  if (lm::isShared(param))
    return user->emitError() << pass << ": @" << name << " is read by more than one op";
  return param;
}

void takeParam(lm::ParamOp param, weight::Axis axis, ArrayRef<int32_t> indices) {
  ImplicitLocOpBuilder builder = param.getProgramBuilder();
  Value value = param.getProgramValue();
  param.setProgramValue(builder.create<weight::TakeOp>(value, axis, indices));
}

std::vector<int32_t> mostImportant(ArrayRef<double> importance, int64_t count) {
  std::vector<int32_t> indices(importance.size());
  std::iota(indices.begin(), indices.end(), 0);
  llvm::sort(indices, [&](int32_t a, int32_t b) {
    return std::pair(-importance[a], a) < std::pair(-importance[b], b);
  });
  indices.resize(count);
  llvm::sort(indices);
  return indices;
}

} // namespace retort
