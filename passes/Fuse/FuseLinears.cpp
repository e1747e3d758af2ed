//===- FuseLinears.cpp - Make one linear layer of several -----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Fuse/FuseLinears.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
namespace retort {
namespace {

/// Whether `param` is read by `user` alone.
bool isReadOnce(lm::ParamOp param, lm::ModelOp model) {
  std::optional<SymbolTable::UseRange> uses = SymbolTable::getSymbolUses(param, model);
  return uses && llvm::range_size(*uses) == 1;
}

/// The format that a param's program quantises to at its end; null if it does not.
weight::QuantizeOp finalQuantize(lm::ParamOp param) {
  return param.getProgramValue().getDefiningOp<weight::QuantizeOp>();
}

/// What a fused matrix joins: the value before a final quantisation, if there is one.
Value joinedValue(lm::ParamOp param) {
  if (weight::QuantizeOp quantize = finalQuantize(param))
    return quantize.getInput();
  return param.getProgramValue();
}

/// Whether the programs can be joined by rows: unquantised, or quantised the same way at their end.
bool canJoin(ArrayRef<lm::ParamOp> params) {
  weight::QuantizeOp first = finalQuantize(params.front());
  for (lm::ParamOp param : params) {
    weight::QuantizeOp quantize = finalQuantize(param);
    if (static_cast<bool>(quantize) != static_cast<bool>(first))
      return false;
    if (quantize && quantize.getFormat() != first.getFormat())
      return false;
    if (!weight::isWeightTensor(joinedValue(param).getType()))
      return false;
    auto type = cast<RankedTensorType>(joinedValue(param).getType());
    auto firstType = cast<RankedTensorType>(joinedValue(params.front()).getType());
    if (type.getElementType() != firstType.getElementType() ||
        type.getShape().drop_front() != firstType.getShape().drop_front())
      return false;
  }
  return true;
}

/// A new param before the first of `params` whose program joins theirs; they are erased.
lm::ParamOp join(ArrayRef<lm::ParamOp> params, StringRef name) {
  lm::ParamOp front = params.front();
  OpBuilder builder(front);
  SmallVector<Location> locations;
  int64_t rows = 0;
  for (lm::ParamOp param : params) {
    locations.push_back(param.getLoc());
    rows += param.getShape()[0];
  }
  SmallVector<int64_t> shape(front.getShape());
  shape[0] = rows;
  auto floats = cast<RankedTensorType>(joinedValue(front).getType()).clone(shape);
  weight::QuantizeOp quantize = finalQuantize(front);
  RankedTensorType type =
      quantize ? quantize.getFormat().typeOf(shape[0], shape[1]) : cast<RankedTensorType>(floats);
  Location location = FusedLoc::get(builder.getContext(), locations);
  auto fused = builder.create<lm::ParamOp>(location, name, type);
  builder.setInsertionPointToEnd(fused.getBody());
  SmallVector<Value> parts;
  for (lm::ParamOp param : params) {
    IRMapping mapping;
    for (Operation &op : param.getBody()->without_terminator())
      if (&op != finalQuantize(param).getOperation())
        builder.clone(op, mapping);
    parts.push_back(mapping.lookup(joinedValue(param)));
  }
  Value value = builder.create<weight::ConcatOp>(location, floats, weight::Axis::Rows, parts);
  if (quantize)
    value = builder.create<weight::QuantizeOp>(location, type, value);
  builder.create<weight::YieldOp>(location, value);
  for (lm::ParamOp param : params)
    param.erase();
  return fused;
}
} // namespace

std::string renamed(StringRef name, StringRef from, StringRef to) {
  size_t at = name.rfind(from);
  if (at == StringRef::npos)
    return {};
  return (name.take_front(at) + to + name.drop_front(at + from.size())).str();
}

LogicalResult fuseLinears(ArrayRef<lm::LinearOp> linears, StringRef name) {
  lm::LinearOp front = linears.front();
  lm::ModelOp model = lm::getModel(front);
  SmallVector<lm::ParamOp> matrices, biases;
  for (lm::LinearOp linear : linears) {
    if (linear.getInput() != front.getInput() || linear->getBlock() != front->getBlock())
      return failure();
    matrices.push_back(model.lookupParam(linear.getWeight()));
    if (linear.getBias())
      biases.push_back(model.lookupParam(*linear.getBias()));
  }
  if (!biases.empty() && biases.size() != linears.size())
    return failure();
  auto readOnce = [&](lm::ParamOp param) { return param && isReadOnce(param, model); };
  std::string biasName = renamed(name, ".weight", ".bias");
  if (name.empty() || !llvm::all_of(matrices, readOnce) || !llvm::all_of(biases, readOnce) ||
      !canJoin(matrices) || (!biases.empty() && (!canJoin(biases) || biasName.empty())) ||
      model.lookupParam(name) || (!biases.empty() && model.lookupParam(biasName)))
    return failure();

  OpBuilder builder(front);
  SmallVector<Type> types;
  int64_t features = 0;
  for (lm::LinearOp linear : linears) {
    types.push_back(linear.getType());
    features += lm::features(linear.getResult());
    if (linear->isBeforeInBlock(front))
      front = linear;
  }
  builder.setInsertionPoint(front);
  FlatSymbolRefAttr bias;
  join(matrices, name);
  if (!biases.empty()) {
    join(biases, biasName);
    bias = FlatSymbolRefAttr::get(builder.getContext(), biasName);
  }
  auto fused = builder.create<lm::LinearOp>(
      front.getLoc(), lm::rowsType(builder.getContext(), features), front.getInput(),
      FlatSymbolRefAttr::get(builder.getContext(), name), bias);
  auto split = builder.create<lm::SplitOp>(front.getLoc(), types, fused.getResult());
  for (auto [index, part] : llvm::enumerate(split.getResults())) {
    lm::LinearOp linear = linears[index];
    linear.getResult().replaceAllUsesWith(part);
    linear.erase();
  }
  return success();
}

} // namespace retort
