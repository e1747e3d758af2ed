//===- FuseLinears.cpp - Make one linear layer of several -----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Fuse/FuseLinears.h"
#include "dialects/LM/Units.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
namespace retort {
namespace {

/// What a fused matrix joins: the value before a final quantisation, if there is one.
Value joinedValue(lm::ParamOp param) {
  if (weight::QuantizeOp quantize = lm::finalQuantize(param))
    return quantize.getInput();
  return param.getProgramValue();
}

/// Whether the programs can be joined by rows: unquantised, or quantised the same way at their end.
bool canJoin(ArrayRef<lm::ParamOp> params) {
  weight::QuantizeOp first = lm::finalQuantize(params.front());
  for (lm::ParamOp param : params) {
    weight::QuantizeOp quantize = lm::finalQuantize(param);
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
  weight::QuantizeOp quantize = lm::finalQuantize(front);
  RankedTensorType type =
      quantize ? quantize.getFormat().typeOf(shape[0], shape[1]) : cast<RankedTensorType>(floats);
  Location location = FusedLoc::get(builder.getContext(), locations);
  auto fused = builder.create<lm::ParamOp>(location, name, type);
  builder.setInsertionPointToEnd(fused.getBody());
  SmallVector<Value> parts;
  for (lm::ParamOp param : params) {
    IRMapping mapping;
    for (Operation &op : param.getBody()->without_terminator())
      if (&op != lm::finalQuantize(param).getOperation())
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

/// Where the inputs' layers have their parameters: blk.0.attn_qkv.weight for blk.0.attn_q.weight.
std::string fusedName(lm::ModelOp model, lm::ParamOp first, StringRef name) {
  StringRef param = first.getSymName(), old = lm::shortName(param);
  size_t at = size_t(old.data() - param.data());
  return model.getFreeParamName(
      (param.take_front(at) + name + param.drop_front(at + old.size())).str());
}

/// The linear layers that make the inputs; none if one has no layer of its own.
SmallVector<lm::LinearOp> linearsOf(const lm::Unit &unit) {
  SmallVector<lm::LinearOp> linears;
  for (const lm::Projection &input : unit.inputs) {
    auto linear = dyn_cast_or_null<lm::LinearOp>(static_cast<Operation *>(input.op));
    if (!linear || input.split || llvm::is_contained(linears, linear))
      return {};
    linears.push_back(linear);
  }
  return linears;
}
} // namespace

LogicalResult fuseInputs(const lm::Unit &unit, StringRef name) {
  SmallVector<lm::LinearOp> linears = linearsOf(unit);
  if (linears.empty())
    return failure();
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
  lm::ParamReaders readers(model);
  auto isShared = [&](lm::ParamOp param) { return readers.isShared(param); };
  if (llvm::any_of(matrices, isShared) || llvm::any_of(biases, isShared) || !canJoin(matrices) ||
      (!biases.empty() && (biases.size() != linears.size() || !canJoin(biases))))
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
  auto joined = [&](ArrayRef<lm::ParamOp> params) {
    return FlatSymbolRefAttr::get(
        join(params, fusedName(model, params.front(), name)).getSymNameAttr());
  };
  FlatSymbolRefAttr matrix = joined(matrices);
  FlatSymbolRefAttr bias = biases.empty() ? FlatSymbolRefAttr() : joined(biases);
  auto fused = builder.create<lm::LinearOp>(
      front.getLoc(), lm::rowsType(builder.getContext(), features), front.getInput(), matrix, bias);
  auto split = builder.create<lm::SplitOp>(front.getLoc(), types, fused.getResult());
  for (auto [index, part] : llvm::enumerate(split.getResults())) {
    lm::LinearOp linear = linears[index];
    linear.getResult().replaceAllUsesWith(part);
    linear.erase();
  }
  return success();
}

} // namespace retort
