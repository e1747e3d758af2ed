//===- LowerAttention.cpp - Attention, its ropes and its cache ---------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Lower/Lowering.h"

using namespace mlir;
namespace retort {

constexpr int64_t kSplitPositions = 256; ///< of a full context, fewest in a range of attention

int64_t SplitChoice::of(lm::AttentionOp op) const {
  if (splits)
    return splits;
  int64_t context = op->getParentOfType<lm::ModelOp>().getContext();
  if (op.getWindow())
    context = std::min<int64_t>(context, *op.getWindow());
  int64_t byLength = llvm::divideCeil(context, kSplitPositions);
  // Not one tile more than multiprocessors: that one would take a second turn of all the time.
  int64_t byDevice = multiprocessors / op.getKvHeads();
  return std::clamp<int64_t>(std::min(byLength, byDevice), 1, kMaxSplits);
}

lm::NormOp Lowering::headNorm(Value value, lm::AttentionOp attention) {
  lm::NormOp norm = deferredNorm(value);
  // A norm over more than a head is computed on its own.
  return norm && lm::features(value) / norm.getGroups() == attention.getHeadDim() ? norm
                                                                                  : lm::NormOp();
}

FailureOr<Lowering::Heads> Lowering::heads(Value value, lm::AttentionOp attention) {
  Heads result;
  auto alone = [&](Value read) {
    return read.hasOneUse()
               ? success()
               : attention.emitOpError("reads heads that another op reads too: they are "
                                       "rotated in place");
  };
  lm::NormOp last = headNorm(value, attention);
  result.normLast = last && last.getInput().getDefiningOp<lm::RopeOp>();
  if (result.normLast) {
    if (failed(alone(value)))
      return failure();
    result.norm = last;
    value = last.getInput();
  }
  if ((result.rope = value.getDefiningOp<lm::RopeOp>())) {
    if (failed(alone(value)))
      return failure();
    value = result.rope.getInput();
  }
  if (!result.normLast && (result.norm = headNorm(value, attention))) {
    if (failed(alone(value)))
      return failure();
    value = result.norm.getInput();
  }
  if (result.norm) {
    FailureOr<kernel::BufferOp> gain = builder.vectorParam(result.norm, result.norm.getWeight());
    if (failed(gain))
      return failure();
    result.gain = *gain;
  }
  FailureOr<Columns> source = place(value, attention);
  if (failed(source) || failed(alone(value)))
    return failure();
  result.source = *source;
  return result;
}

FailureOr<Lowering::Angles> Lowering::anglesOf(lm::AttentionOp op, const Heads &q, const Heads &k) {
  lm::RopeOp ofQuery = q.rope, ofKey = k.rope;
  if (!ofQuery && !ofKey)
    return Angles{};
  if (!ofQuery || !ofKey || ofQuery.getDims() != ofKey.getDims())
    return op.emitOpError("rotates query and key by different numbers of features");
  kernel::BufferOp queries = angles.at(ofQuery), keys = angles.at(ofKey);
  return Angles{keys, queries == keys ? kernel::BufferOp() : queries};
}

LogicalResult Lowering::lower(lm::AttentionOp op) {
  FailureOr<Heads> q = heads(op.getQuery(), op), k = heads(op.getKey(), op);
  if (failed(q) || failed(k))
    return failure();
  FailureOr<Columns> v = place(op.getValue(), op);
  if (failed(v))
    return failure();
  FailureOr<Angles> turned = anglesOf(op, *q, *k);
  if (failed(turned))
    return failure();
  if (q->norm && k->norm &&
      (q->norm.getEps() != k->norm.getEps() || q->norm.getOffset() != k->norm.getOffset() ||
       q->normLast != k->normLast))
    return op.emitOpError("norms query and key heads with different eps or offset, or one before "
                          "and one after it is rotated");
  kernel::BufferOp sinks;
  if (op.getSinks()) {
    FailureOr<kernel::BufferOp> param = builder.vectorParam(op, *op.getSinks());
    if (failed(param))
      return failure();
    sinks = *param;
  }
  Type element = cacheElement(op.getCache());
  int64_t kvHeads = op.getKvHeads(), dims = op.getHeadDim();
  if (dims % 16 != 0)
    return op.emitOpError() << "has heads of " << dims << " features: kernels know multiples of 16";
  if (kind.cuda() && failed(checkCuda(op)))
    return failure();
  kernel::BufferOp cache = builder.cache(op.getLoc(), label + ".cache", kvHeads, dims, element);
  if (kind.step == "decode") {
    lowerAttend(op, *q, *k, *v, *turned, cache, sinks);
    return success();
  }
  lowerAppend(op, *q, *k, *v, *turned, cache);
  lowerAttention(op, *q, cache, sinks);
  return success();
}

Type Lowering::cacheElement(CacheFormat format) {
  return kernel::cacheElement(
      builder.getContext(), kind.cuda() && format == CacheFormat::F32 ? CacheFormat::F16 : format);
}

LogicalResult Lowering::checkCuda(lm::AttentionOp op) {
  if (op.getHeadDim() > 256)
    return op.emitOpError() << "has heads of " << op.getHeadDim() << " features" << inLayer(op)
                            << ": CUDA kernels know at most 256";
  return success();
}

void Lowering::lowerAttend(lm::AttentionOp op, Heads &q, Heads &k, Columns v, Angles turned,
                           kernel::BufferOp cache, kernel::BufferOp sinks) {
  int64_t splits = splitChoice.of(op), heads = op.getHeads(), dims = op.getHeadDim();
  kernel::BufferOp partials = fresh(op, label + ".partials", splits * heads * (dims + 2));
  kernel::BufferOp dest = fresh(op, label + ".attention", lm::features(op.getResult()));
  OpBuilder body = builder.phase(op.getLoc(), label + ".attend", label);
  lm::NormOp norm = q.norm ? q.norm : k.norm;
  body.create<kernel::AttendOp>(
      op.getLoc(), symbol(q.source.buffer), i64(q.source.at), symbol(k.source.buffer),
      i64(k.source.at), symbol(v.buffer), i64(v.at), symbol(cache), symbol(partials), symbol(dest),
      i64(heads), i64(op.getKvHeads()), i64(dims), i64(splits), f32(op.getScale()),
      op.getWindow() ? i64(*op.getWindow()) : IntegerAttr(), f32(op.getSoftCap()), symbol(sinks),
      symbol(turned.keys), symbol(turned.queries), symbol(q.gain), symbol(k.gain),
      norm ? f32(norm.getEps()) : f32(0.0), unit(norm && norm.getOffset()),
      unit(q.normLast || k.normLast));
  columns[op.getResult()] = whole(dest);
}

void Lowering::lowerAppend(lm::AttentionOp op, Heads &q, Heads &k, Columns v, Angles turned,
                           kernel::BufferOp cache) {
  OpBuilder body = builder.phase(op.getLoc(), label + ".append", label);
  lm::NormOp norm = q.norm ? q.norm : k.norm;
  body.create<kernel::RopeAppendOp>(
      op.getLoc(), symbol(q.source.buffer), i64(q.source.at), symbol(k.source.buffer),
      i64(k.source.at), symbol(v.buffer), i64(v.at), symbol(cache), i64(op.getHeads()),
      i64(op.getKvHeads()), i64(op.getHeadDim()), symbol(turned.keys), symbol(turned.queries),
      symbol(q.gain), symbol(k.gain), norm ? f32(norm.getEps()) : f32(0.0),
      unit(norm && norm.getOffset()), unit(q.normLast || k.normLast));
}

void Lowering::lowerAttention(lm::AttentionOp op, Heads &q, kernel::BufferOp cache,
                              kernel::BufferOp sinks) {
  kernel::BufferOp dest = fresh(op, label + ".attention", lm::features(op.getResult()));
  OpBuilder body = builder.phase(op.getLoc(), label + ".attention", label);
  body.create<kernel::AttentionOp>(
      op.getLoc(), symbol(q.source.buffer), i64(q.source.at), symbol(cache), symbol(dest),
      i64(op.getHeads()), i64(op.getKvHeads()), i64(op.getHeadDim()), f32(op.getScale()),
      op.getWindow() ? i64(*op.getWindow()) : IntegerAttr(), f32(op.getSoftCap()), symbol(sinks));
  columns[op.getResult()] = whole(dest);
}

} // namespace retort
