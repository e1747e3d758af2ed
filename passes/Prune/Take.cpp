//===- Take.cpp - Pruning a parameter's rows or columns -------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Prune/Take.h"
#include <numeric>

using namespace mlir;

namespace retort {

FailureOr<SmallVector<lm::UnitAxis>> prunableAxes(const lm::Unit &unit,
                                                  const lm::ParamReaders &readers, StringRef pass,
                                                  StringRef what) {
  auto obstacle = unit.whyNotFed();
  if (!obstacle)
    obstacle = unit.whyNotFollowed();
  if (obstacle)
    return obstacle->at->emitError()
           << pass << ": " << lm::placeOf(unit.core) << " " << obstacle->sentence(what)
           << (obstacle->isFused ? ": prune before fusing" : "");
  SmallVector<lm::UnitAxis> axes = unit.axes();
  for (lm::UnitAxis &axis : axes) {
    StringRef name = axis.param.getSymName();
    if (!weight::isWeightTensor(axis.param.getType()))
      return axis.user->emitError()
             << pass << ": @" << name << " is quantised: prune before quantising";
    if (readers.isShared(axis.param))
      return axis.user->emitError() << pass << ": @" << name << " is read by more than one op";
  }
  return axes;
}

LogicalResult refuseStrays(const lm::Units &units, StringRef pass) {
  if (units.strays().empty())
    return success();
  lm::ParamUserOpInterface op = units.strays().front();
  return op->emitError() << pass << ": " << lm::placeOf(op) << " has " << lm::describeUser(op)
                         << " that belongs to no attention or gated unit";
}

void keepParts(const lm::Unit &unit, ArrayRef<lm::UnitAxis> axes, ArrayRef<int32_t> parts) {
  for (const lm::UnitAxis &axis : axes) {
    std::vector<int32_t> indices;
    for (int32_t part : parts)
      for (int64_t i = 0; i < axis.width; ++i)
        indices.push_back(int32_t(part * axis.width + i));
    takeParam(axis.param, axis.axis, indices);
  }
  unit.setParts(int64_t(parts.size()));
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
