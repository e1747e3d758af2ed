//===- Lowering.cpp - Where values are, and phases of rows -------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Lower/Lowering.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
namespace retort {

std::string stem(StringRef param) {
  param.consume_back(".weight");
  return param.str();
}

LogicalResult Lowering::run() {
  lm::ForwardOp forward = model.getForward();
  if (failed(lowerAngles(forward)) || failed(lower(*forward.getBody())))
    return failure();
  builder.finish();
  return success();
}

kernel::BufferOp Lowering::rowInput(StringRef name) {
  int64_t rows = builder.getProgram().getMaxRows();
  return builder.stepBuffer(
      name, kernel::BufferKind::Input,
      RankedTensorType::get({rows}, IntegerType::get(builder.getContext(), 32)));
}

kernel::BufferOp Lowering::fresh(Operation *op, StringRef name, int64_t features) {
  return builder.activation(op->getLoc(), name, features);
}

//===--- Where values are --------------------------------------------------------------===//

lm::NormOp Lowering::deferredNorm(Value value) {
  return columns.contains(value) ? lm::NormOp() : value.getDefiningOp<lm::NormOp>();
}

std::optional<Columns> Lowering::placed(Value value) {
  if (auto found = columns.find(value); found != columns.end())
    return found->second;
  auto found = sumOf.find(value);
  if (found == sumOf.end() || !sums[found->second].added.buffer)
    return std::nullopt;
  return sums[found->second].added;
}

FailureOr<Columns> Lowering::place(Value value, Operation *reader) {
  if (auto found = columns.find(value); found != columns.end())
    return found->second;
  if (auto found = sumOf.find(value); found != sumOf.end())
    return addUp(sums[found->second], reader);
  if (lm::NormOp norm = deferredNorm(value)) {
    if (failed(lowerNorm(norm, norm.getResult(), Value())))
      return failure();
    return columns.at(value);
  }
  return reader->emitOpError() << "reads a value that no kernel can compute on its own: "
                               << "a rope must feed an attention";
}

FailureOr<kernel::BufferOp> Lowering::placeWhole(Value value, Operation *reader) {
  FailureOr<Columns> at = place(value, reader);
  if (failed(at))
    return failure();
  if (!at->isWhole())
    return reader->emitOpError() << "reads columns " << at->at << " to " << at->at + at->width
                                 << " of a fused product, whole rows are needed";
  return at->buffer;
}

Columns Lowering::addUp(Sum &sum, Operation *reader) {
  if (sum.added.buffer)
    return sum.added;
  kernel::BufferOp dest = fresh(reader, label + ".sum", sum.partial.getTensor().getDimSize(1));
  OpBuilder body = builder.phase(reader->getLoc(), label + ".sum", label);
  body.create<kernel::SumOp>(reader->getLoc(), symbol(sum.partial), symbol(sum.received),
                             symbol(dest), symbol(sum.stream));
  return sum.added = whole(dest);
}

LogicalResult Lowering::forward(Value from, Value to, Operation *reader) {
  if (auto found = sumOf.find(from); found != sumOf.end()) {
    size_t index = found->second;
    sumOf[to] = index;
    return success();
  }
  FailureOr<Columns> at = place(from, reader);
  if (failed(at))
    return failure();
  columns[to] = *at;
  return success();
}

//===--- Ops ---------------------------------------------------------------------------===//

LogicalResult Lowering::lower(Block &block) {
  for (Operation &op : block) {
    if (fused.contains(&op))
      continue;
    LogicalResult result =
        llvm::TypeSwitch<Operation *, LogicalResult>(&op)
            .Case<lm::NormOp, lm::RopeOp, lm::YieldOp>([](auto) { return success(); })
            .Case<lm::EmbedOp, lm::BlockOp, lm::LayerNormOp, lm::LinearOp, lm::SplitOp,
                  lm::AttentionOp, lm::GluOp, lm::GateOp, lm::ResidualOp, lm::LogitsOp,
                  lm::ReturnOp, lm::AllReduceOp>([&](auto op) { return lower(op); })
            .Default([](Operation *op) { return op->emitOpError("has no lowering to kernels"); });
    if (failed(result))
      return failure();
  }
  return success();
}

LogicalResult Lowering::lower(lm::BlockOp op) {
  if (failed(forward(op.getInput(), op.getEntry(), op)))
    return failure();
  label = op.getLabel().str();
  if (failed(lower(*op.getBody())) || failed(forward(op.getYield().getValue(), op.getResult(), op)))
    return failure();
  label = "model";
  return success();
}

LogicalResult Lowering::lower(lm::EmbedOp op) {
  FailureOr<kernel::BufferOp> table = builder.matrixParam(op, op.getWeight());
  if (failed(table))
    return failure();
  kernel::BufferOp tokens = rowInput("tokens"),
                   dest = fresh(op, "embedding", lm::features(op.getResult()));
  OpBuilder body = builder.phase(op.getLoc(), "embedding", label);
  body.create<kernel::EmbedOp>(op.getLoc(), symbol(tokens), symbol(*table), symbol(dest),
                               f32(op.getScale()));
  columns[op.getResult()] = whole(dest);
  return success();
}

LogicalResult Lowering::lowerAngles(lm::ForwardOp forward) {
  struct Table {
    SmallVector<float> frequencies, steps;
    float amplitude;
    int64_t every;
    bool operator==(const Table &) const = default;
  };
  auto floats = [](ArrayRef<double> values) {
    return llvm::map_to_vector(values, [](double value) { return static_cast<float>(value); });
  };
  SmallVector<std::pair<Table, kernel::BufferOp>> tables;
  WalkResult result = forward.walk([&](lm::RopeOp op) {
    const int64_t context = model.getContext(), every = op.getEvery().value_or(context);
    if (op.getLengthScale() && (context - 1) / every >= kMaxSteps) {
      op.emitOpError() << "has a scale of " << (context - 1) / every + 1 << " steps over "
                       << context << " positions: kernels know at most " << kMaxSteps;
      return WalkResult::interrupt();
    }
    const Table table = {floats(op.getInverseFrequencies()), floats(op.getLengthSteps(context)),
                         static_cast<float>(op.getAmplitude()), every};
    for (auto &[known, buffer] : tables)
      if (known == table) {
        angles[op] = buffer;
        return WalkResult::advance();
      }
    kernel::BufferOp inverse = builder.constant(op.getLoc(), "rope.inv_freq", table.frequencies);
    kernel::BufferOp steps;
    if (!table.steps.empty())
      steps = builder.constant(op.getLoc(), "rope.steps", table.steps);
    kernel::BufferOp dest =
        fresh(op, "rope.angles", 2 * static_cast<int64_t>(table.frequencies.size()));
    kernel::BufferOp positions = rowInput("positions");
    OpBuilder body = builder.phase(op.getLoc(), "rope.angles", "model");
    body.create<kernel::AnglesOp>(op.getLoc(), symbol(positions), symbol(inverse), symbol(dest),
                                  f32(table.amplitude), symbol(steps),
                                  steps ? i64(every) : IntegerAttr());
    tables.push_back({table, dest});
    angles[op] = dest;
    return WalkResult::advance();
  });
  return failure(result.wasInterrupted());
}

LogicalResult Lowering::lowerNorm(lm::NormOp op, Value result, Value residual) {
  FailureOr<kernel::BufferOp> source = placeWhole(op.getInput(), op);
  FailureOr<kernel::BufferOp> gain = builder.vectorParam(op, op.getWeight());
  if (failed(source) || failed(gain))
    return failure();
  kernel::BufferOp added;
  if (residual) {
    FailureOr<kernel::BufferOp> stream = placeWhole(residual, op);
    if (failed(stream))
      return failure();
    added = *stream;
  }
  std::string name = stem(op.getWeight());
  kernel::BufferOp dest = fresh(op, name, lm::features(result));
  OpBuilder body = builder.phase(op.getLoc(), name, label);
  body.create<kernel::NormOp>(op.getLoc(), symbol(*source), symbol(*gain), symbol(dest),
                              f32(op.getEps()), unit(op.getOffset()),
                              op.getGroups() > 1 ? i64(op.getGroups()) : IntegerAttr(),
                              symbol(added));
  columns[result] = whole(dest);
  return success();
}

LogicalResult Lowering::lower(lm::LayerNormOp op) {
  FailureOr<kernel::BufferOp> source = placeWhole(op.getInput(), op);
  FailureOr<kernel::BufferOp> gain = builder.vectorParam(op, op.getWeight());
  FailureOr<kernel::BufferOp> bias = builder.vectorParam(op, op.getBias());
  if (failed(source) || failed(gain) || failed(bias))
    return failure();
  std::string name = stem(op.getWeight());
  kernel::BufferOp dest = fresh(op, name, lm::features(op.getResult()));
  OpBuilder body = builder.phase(op.getLoc(), name, label);
  body.create<kernel::LayerNormOp>(op.getLoc(), symbol(*source), symbol(*gain), symbol(*bias),
                                   symbol(dest), f32(op.getEps()));
  columns[op.getResult()] = whole(dest);
  return success();
}

LogicalResult Lowering::lower(lm::SplitOp op) {
  FailureOr<Columns> source = place(op.getInput(), op);
  if (failed(source))
    return failure();
  int64_t at = source->at;
  for (Value part : op.getResults()) {
    columns[part] = {source->buffer, at, lm::features(part)};
    at += lm::features(part);
  }
  return success();
}

LogicalResult Lowering::lower(lm::GluOp op) {
  return lowerGlu(op, label + ".glu", op.getGate(), op.getUp(), op.getAct());
}

LogicalResult Lowering::lower(lm::GateOp op) {
  return lowerGlu(op, label + ".gate", op.getGate(), op.getInput(), op.getAct());
}

LogicalResult Lowering::lowerGlu(Operation *op, const std::string &name, Value gate, Value up,
                                 Activation activation) {
  FailureOr<Columns> gateAt = place(gate, op), upAt = place(up, op);
  if (failed(gateAt) || failed(upAt))
    return failure();
  kernel::BufferOp dest = fresh(op, name, lm::features(op->getResult(0)));
  OpBuilder body = builder.phase(op->getLoc(), name, label);
  body.create<kernel::GluOp>(op->getLoc(), symbol(gateAt->buffer), i64(gateAt->at),
                             symbol(upAt->buffer), i64(upAt->at), symbol(dest), act(activation));
  columns[op->getResult(0)] = whole(dest);
  return success();
}

LogicalResult Lowering::lower(lm::ResidualOp op) {
  for (auto [output, stream] : {std::pair<Value, Value>(op.getOutput(), op.getStream()),
                                std::pair<Value, Value>(op.getStream(), op.getOutput())})
    if (lm::NormOp norm = deferredNorm(output); norm && output.hasOneUse())
      return lowerNorm(norm, op.getResult(), stream);
  for (auto [output, stream] : {std::pair<Value, Value>(op.getOutput(), op.getStream()),
                                std::pair<Value, Value>(op.getStream(), op.getOutput())})
    if (output.getDefiningOp<lm::AllReduceOp>() && output.hasOneUse()) {
      FailureOr<kernel::BufferOp> at = placeWhole(stream, op);
      if (failed(at))
        return failure();
      size_t index = sumOf.at(output);
      sums[index].stream = *at;
      sumOf[op.getResult()] = index;
      return success();
    }
  FailureOr<kernel::BufferOp> lhs = placeWhole(op.getStream(), op);
  FailureOr<kernel::BufferOp> rhs = placeWhole(op.getOutput(), op);
  if (failed(lhs) || failed(rhs))
    return failure();
  kernel::BufferOp dest = fresh(op, label + ".residual", lm::features(op.getResult()));
  OpBuilder body = builder.phase(op.getLoc(), label + ".residual", label);
  body.create<kernel::ResidualOp>(op.getLoc(), symbol(*lhs), symbol(*rhs), symbol(dest));
  columns[op.getResult()] = whole(dest);
  return success();
}

} // namespace retort
