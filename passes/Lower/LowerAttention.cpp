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

FailureOr<Lowering::Heads> Lowering::heads(Value value, lm::AttentionOp attention) {
  Heads result;
  auto alone = [&](Value read) {
    return read.hasOneUse()
               ? success()
               : attention.emitOpError("reads heads that another op reads too: they are "
                                       "rotated in place");
  };
  if ((result.rope = value.getDefiningOp<lm::RopeOp>())) {
    if (failed(alone(value)))
      return failure();
    value = result.rope.getInput();
  }
  if ((result.norm = deferredNorm(value))) {
    if (lm::features(value) / result.norm.getGroups() != attention.getHeadDim()) {
      result.norm = {}; // A norm over more than a head: computed on its own.
    } else {
      FailureOr<kernel::BufferOp> gain = builder.vectorParam(result.norm, result.norm.getWeight());
      if (failed(gain) || failed(alone(value)))
        return failure();
      result.gain = *gain;
      value = result.norm.getInput();
    }
  }
  FailureOr<Columns> source = place(value, attention);
  if (failed(source) || failed(alone(value)))
    return failure();
  result.source = *source;
  return result;
}

LogicalResult Lowering::lower(lm::AttentionOp op) {
  FailureOr<Heads> q = heads(op.getQuery(), op), k = heads(op.getKey(), op);
  if (failed(q) || failed(k))
    return failure();
  FailureOr<Columns> v = place(op.getValue(), op);
  if (failed(v))
    return failure();
  if (static_cast<bool>(q->rope) != static_cast<bool>(k->rope) ||
      (q->rope && angles.at(q->rope) != angles.at(k->rope)))
    return op.emitOpError("rotates query and key by different angles");
  if (q->norm && k->norm &&
      (q->norm.getEps() != k->norm.getEps() || q->norm.getOffset() != k->norm.getOffset()))
    return op.emitOpError("norms query and key heads with different eps or offset");
  Type element = cacheElement(op.getCache());
  int64_t kvHeads = op.getKvHeads(), dims = op.getHeadDim();
  if (dims % 16 != 0)
    return op.emitOpError() << "has heads of " << dims << " features: kernels know multiples of 16";
  if (kind.cuda() && failed(checkCuda(op)))
    return failure();
  kernel::BufferOp cache = builder.cache(op.getLoc(), label + ".cache", kvHeads, dims, element);
  if (kind.step == "decode") {
    lowerAttend(op, *q, *k, *v, cache);
    return success();
  }
  lowerAppend(op, *q, *k, *v, cache);
  lowerAttention(op, *q, cache);
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

void Lowering::lowerAttend(lm::AttentionOp op, Heads &q, Heads &k, Columns v,
                           kernel::BufferOp cache) {
  int64_t splits = splitChoice.of(op), heads = op.getHeads(), dims = op.getHeadDim();
  kernel::BufferOp partials = fresh(op, label + ".partials", splits * heads * (dims + 2));
  kernel::BufferOp dest = fresh(op, label + ".attention", lm::features(op.getResult()));
  kernel::BufferOp turned = q.rope ? angles.at(q.rope) : kernel::BufferOp();
  OpBuilder body = builder.phase(op.getLoc(), label + ".attend", label);
  lm::NormOp norm = q.norm ? q.norm : k.norm;
  body.create<kernel::AttendOp>(
      op.getLoc(), symbol(q.source.buffer), i64(q.source.at), symbol(k.source.buffer),
      i64(k.source.at), symbol(v.buffer), i64(v.at), symbol(cache), symbol(partials), symbol(dest),
      i64(heads), i64(op.getKvHeads()), i64(dims), i64(splits), f32(op.getScale()),
      op.getWindow() ? i64(*op.getWindow()) : IntegerAttr(), f32(op.getSoftCap()), symbol(turned),
      symbol(q.gain), symbol(k.gain), norm ? f32(norm.getEps()) : f32(0.0),
      unit(norm && norm.getOffset()));
  columns[op.getResult()] = whole(dest);
}

void Lowering::lowerAppend(lm::AttentionOp op, Heads &q, Heads &k, Columns v,
                           kernel::BufferOp cache) {
  kernel::BufferOp turned = q.rope ? angles.at(q.rope) : kernel::BufferOp();
  OpBuilder body = builder.phase(op.getLoc(), label + ".append", label);
  lm::NormOp norm = q.norm ? q.norm : k.norm;
  body.create<kernel::RopeAppendOp>(
      op.getLoc(), symbol(q.source.buffer), i64(q.source.at), symbol(k.source.buffer),
      i64(k.source.at), symbol(v.buffer), i64(v.at), symbol(cache), i64(op.getHeads()),
      i64(op.getKvHeads()), i64(op.getHeadDim()), symbol(turned), symbol(q.gain), symbol(k.gain),
      norm ? f32(norm.getEps()) : f32(0.0), unit(norm && norm.getOffset()));
}

void Lowering::lowerAttention(lm::AttentionOp op, Heads &q, kernel::BufferOp cache) {
  kernel::BufferOp dest = fresh(op, label + ".attention", lm::features(op.getResult()));
  OpBuilder body = builder.phase(op.getLoc(), label + ".attention", label);
  body.create<kernel::AttentionOp>(
      op.getLoc(), symbol(q.source.buffer), i64(q.source.at), symbol(cache), symbol(dest),
      i64(op.getHeads()), i64(op.getKvHeads()), i64(op.getHeadDim()), f32(op.getScale()),
      op.getWindow() ? i64(*op.getWindow()) : IntegerAttr(), f32(op.getSoftCap()));
  columns[op.getResult()] = whole(dest);
}

} // namespace retort
