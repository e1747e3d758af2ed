//===- LowerProducts.cpp - Products, and what they take in -------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Lower/Lowering.h"

using namespace mlir;
namespace retort {

Lowering::Sum *Lowering::fusibleSum(lm::NormOp norm) {
  if (!norm || kind.step != "decode")
    return nullptr;
  auto found = sumOf.find(norm.getInput());
  if (found == sumOf.end() || !sums[found->second].hasResidual || sums[found->second].added.buffer)
    return nullptr;
  return &sums[found->second];
}

FailureOr<Lowering::Prologue> Lowering::prologue(Value input, Operation *reader) {
  Prologue result;
  result.norm = deferredNorm(input);
  if (result.norm && result.norm.getGroups() != 1)
    result.norm = {};
  if ((result.sum = fusibleSum(result.norm))) {
    result.source = whole(result.sum->partial);
    if (!isa<lm::LogitsOp>(reader)) {
      result.keeps = fresh(reader, label + ".sum", result.source.width);
      result.sum->added = whole(result.keeps);
    }
  } else {
    FailureOr<Columns> source = place(result.norm ? result.norm.getInput() : input, reader);
    if (failed(source))
      return failure();
    result.source = *source;
  }
  if (result.norm) {
    FailureOr<kernel::BufferOp> gain = builder.vectorParam(result.norm, result.norm.getWeight());
    if (failed(gain))
      return failure();
    result.gain = *gain;
  }
  return result;
}

Value Lowering::stage(OpBuilder &body, Location loc, const Prologue &from, kernel::BufferOp weights,
                      kernel::BufferOp rows) {
  const NumberFormat format = *weights.getFormat();
  Type element;
  if (format.integers())
    element = body.getIntegerType(kind.cuda() ? 16 : 8);
  else
    element = kind.cuda() ? Type(body.getF16Type()) : Type(body.getF32Type());
  auto type = kernel::StagedType::get(body.getContext(), from.source.width, element,
                                      format.integers() ? format.group : 0);
  lm::NormOp norm = from.norm;
  return body.create<kernel::StageOp>(
      loc, type, symbol(from.source.buffer), i64(from.source.at), symbol(from.gain),
      norm ? f32(norm.getEps()) : f32(0.0), unit(norm && norm.getOffset()), symbol(rows),
      symbol(from.sum ? from.sum->received : kernel::BufferOp()), symbol(from.keeps));
}

lm::AllReduceOp Lowering::allReduceOf(lm::LinearOp op) {
  return op.getResult().hasOneUse() ? dyn_cast<lm::AllReduceOp>(*op.getResult().user_begin())
                                    : lm::AllReduceOp();
}

LogicalResult Lowering::lower(lm::AllReduceOp op) {
  if (sumOf.contains(op.getResult()))
    return success();
  return op.emitOpError("adds up what is no linear layer's result, or what another op reads too");
}

lm::ResidualOp Lowering::fusibleResidual(lm::LinearOp op, Value &stream) {
  lm::AllReduceOp reduce = allReduceOf(op); // device 0 adds what both would
  if (reduce && kind.step != "decode")      // a phase adds up, and may as well add the residual
    return {};
  Value result = reduce ? reduce.getResult() : op.getResult();
  if (!result.hasOneUse())
    return {};
  auto residual = dyn_cast<lm::ResidualOp>(*result.user_begin());
  if (!residual || residual->getBlock() != op->getBlock())
    return {};
  stream = residual.getStream() == result ? residual.getOutput() : residual.getStream();
  std::optional<Columns> at = placed(stream);
  return at && at->isWhole() ? residual : lm::ResidualOp();
}

lm::GluOp Lowering::fusibleGlu(lm::LinearOp op, lm::SplitOp &split) {
  if (op.getBias() || !op.getResult().hasOneUse())
    return {};
  split = dyn_cast<lm::SplitOp>(*op.getResult().user_begin());
  if (!split || split->getNumResults() != 2 || !split->getResult(0).hasOneUse() ||
      !split->getResult(1).hasOneUse())
    return {};
  auto glu = dyn_cast<lm::GluOp>(*split->getResult(0).user_begin());
  if (!glu || glu.getGate() != split->getResult(0) || glu.getUp() != split->getResult(1) ||
      !builder.canBeGated(op.getWeight()))
    return {};
  return glu;
}

LogicalResult Lowering::lower(lm::LinearOp op) {
  lm::SplitOp split;
  if (lm::GluOp glu = fusibleGlu(op, split))
    return lowerGated(op, split, glu);
  FailureOr<Prologue> from = prologue(op.getInput(), op);
  FailureOr<kernel::BufferOp> weights = builder.matrixParam(op, op.getWeight());
  if (failed(from) || failed(weights))
    return failure();
  kernel::BufferOp bias, added;
  if (op.getBias()) {
    FailureOr<kernel::BufferOp> param = builder.vectorParam(op, *op.getBias());
    if (failed(param))
      return failure();
    bias = *param;
  }
  Value stream;
  lm::ResidualOp residual = fusibleResidual(op, stream);
  lm::AllReduceOp reduce = allReduceOf(op);
  if (residual)
    added = placed(stream)->buffer;
  std::string name = stem(op.getWeight());
  int64_t features = lm::features(op.getResult());
  kernel::BufferOp dest = fresh(op, name, features);
  if (reduce && builder.getProgram().getDevice() != 0)
    added = {};
  OpBuilder body = builder.phase(op.getLoc(), name, label);
  Value staged = stage(body, op.getLoc(), *from, *weights, {});
  auto product =
      body.create<kernel::MatmulOp>(op.getLoc(), staged, symbol(*weights), symbol(dest),
                                    symbol(bias), symbol(added), FloatAttr(), FlatSymbolRefAttr());
  if (reduce) {
    if (!kind.cuda())
      return reduce.emitOpError("has no lowering for a CPU");
    kernel::BufferOp send = builder.received(op.getLoc(), features);
    product.setSendAttr(symbol(send));
    sumOf[reduce.getResult()] = sums.size();
    if (residual)
      sumOf[residual.getResult()] = sums.size();
    sums.push_back({dest, send, bool(residual), {}, {}});
  }
  if (residual)
    fused.insert(residual);
  if (!reduce)
    columns[residual ? residual.getResult() : op.getResult()] = whole(dest);
  return success();
}

LogicalResult Lowering::lowerGated(lm::LinearOp op, lm::SplitOp split, lm::GluOp glu) {
  FailureOr<Prologue> from = prologue(op.getInput(), op);
  FailureOr<kernel::BufferOp> weights = builder.matrixParam(op, op.getWeight(), /*gated=*/true);
  if (failed(from) || failed(weights))
    return failure();
  std::string name = stem(op.getWeight());
  int64_t channels = lm::features(glu.getResult());
  kernel::BufferOp dest = fresh(op, name, channels);
  OpBuilder body = builder.phase(op.getLoc(), name, label);
  Value staged = stage(body, op.getLoc(), *from, *weights, {});
  body.create<kernel::MatmulGluOp>(op.getLoc(), staged, symbol(*weights), symbol(dest),
                                   act(glu.getAct()));
  columns[glu.getResult()] = whole(dest);
  fused.insert(split);
  fused.insert(glu);
  return success();
}

LogicalResult Lowering::lower(lm::LogitsOp op) {
  FailureOr<Prologue> from = prologue(op.getInput(), op);
  FailureOr<kernel::BufferOp> weights = builder.matrixParam(op, op.getWeight());
  if (failed(from) || failed(weights))
    return failure();
  int64_t vocab = lm::features(op.getResult()), rows = builder.getProgram().getMaxRows();
  kernel::BufferOp wanted = rowInput("wanted");
  kernel::BufferOp logits = builder.stepBuffer(
      "logits", kernel::BufferKind::Output,
      RankedTensorType::get({rows, vocab}, Float32Type::get(builder.getContext())));
  OpBuilder body = builder.phase(op.getLoc(), "logits", label);
  Value staged = stage(body, op.getLoc(), *from, *weights, wanted);
  body.create<kernel::MatmulOp>(op.getLoc(), staged, symbol(*weights), symbol(logits),
                                FlatSymbolRefAttr(), FlatSymbolRefAttr(), f32(op.getSoftCap()),
                                FlatSymbolRefAttr());
  columns[op.getResult()] = whole(logits);
  if (kind.cuda())
    lowerChoice(body, op, logits);
  return success();
}

void Lowering::lowerChoice(OpBuilder &body, lm::LogitsOp op, kernel::BufferOp logits) {
  int64_t rows = builder.getProgram().getMaxRows();
  Type i64 = IntegerType::get(builder.getContext(), 64);
  kernel::BufferOp chosen =
      builder.stepBuffer("chosen", kernel::BufferKind::Output, RankedTensorType::get({rows}, i64));
  body.create<kernel::ArgmaxOp>(op.getLoc(), symbol(logits), symbol(chosen));
  if (builder.getProgram().getDevice().value_or(0) != 0)
    return;
  kernel::BufferOp other;
  int64_t others = builder.getProgram().getVocab() - logits.getTensor().getDimSize(1);
  if (others > 0)
    other = builder.stepBuffer(
        "other_logits", kernel::BufferKind::Input,
        RankedTensorType::get({rows, others}, Float32Type::get(builder.getContext())));
  kernel::BufferOp choices = builder.stepBuffer("choices", kernel::BufferKind::Input,
                                                RankedTensorType::get({rows, 3}, i64));
  OpBuilder phase = builder.phase(op.getLoc(), "sample", label);
  phase.create<kernel::SampleOp>(op.getLoc(), symbol(logits), symbol(other), symbol(choices),
                                 symbol(chosen));
}

LogicalResult Lowering::lower(lm::ReturnOp op) {
  if (op.getLogits().getDefiningOp<lm::LogitsOp>())
    return success();
  return op.emitOpError("returns what is no lm.logits: kernels write logits only");
}

} // namespace retort
