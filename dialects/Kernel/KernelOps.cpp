//===- KernelOps.cpp - Verifiers of the kernel dialect --------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Kernel/KernelOps.h"
#include "kernels/cuda/shapes.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/OpImplementation.h"
#include "llvm/ADT/DenseSet.h"

using namespace mlir;
using namespace retort;
using namespace retort::kernel;

#define GET_OP_CLASSES
#include "dialects/Kernel/KernelOps.cpp.inc"

//===----------------------------------------------------------------------===//
// Program, buffer
//===----------------------------------------------------------------------===//

LogicalResult ProgramOp::verify() {
  bool known =
      isCuda() ? getStep() == "decode" || getStep() == "prefill" : !getTarget() && !getStep();
  if (!known) // (C3)
    return emitOpError() << "has target '" << getTarget().value_or("") << "' and step '"
                         << getStep().value_or("")
                         << "': \"cuda\" with \"decode\" or \"prefill\", or neither, is needed";
  if (isDecode() && getMaxRows() > 16) // (C4)
    return emitOpError() << "decodes " << getMaxRows() << " rows: at most 16 are possible";
  if (getDevice() && (getDevices() != 2 || *getDevice() >= 2 || !isCuda())) // (C5)
    return emitOpError() << "is for device " << *getDevice() << " of " << numDevices()
                         << ": 0 or 1 of 2, on CUDA, is possible";
  bool seenPhase = false, waited = true;
  uint64_t exchanges = 0;
  llvm::DenseSet<StringAttr> earlier;
  for (Operation &op : *getBody().begin()) {
    if (auto buffer = dyn_cast<BufferOp>(op)) {
      if (seenPhase) // (C1)
        return buffer.emitOpError() << "comes after a phase: buffers come first";
    } else if (auto phase = dyn_cast<PhaseOp>(op)) {
      seenPhase = true;
      earlier.insert(phase.getSymNameAttr());
      for (auto product : phase.getBody().getOps<MatmulOp>())
        if (product.getSend() && !waited) // (C7)
          return product.emitOpError("sends with no kernel.wait since the last exchange: the other "
                                     "device may not have read what it was sent before");
    } else if (auto wait = dyn_cast<WaitOp>(op)) {
      if (!earlier.contains(wait.getPhaseAttr().getAttr())) // (C2)
        return wait.emitOpError() << "waits for '" << wait.getPhase()
                                  << "', which is no earlier phase";
      waited = true;
    } else if (auto exchange = dyn_cast<ExchangeOp>(op)) {
      if (!earlier.contains(exchange.getPhaseAttr().getAttr())) // (C2)
        return exchange.emitOpError()
               << "waits for '" << exchange.getPhase() << "', which is no earlier phase";
      if (numDevices() == 1) // (C5)
        return exchange.emitOpError("stands in a program for one device");
      if (exchange.getIndex() != exchanges++) // (C6)
        return exchange.emitOpError()
               << "has index " << exchange.getIndex() << ", it is number " << exchanges - 1;
      if (exchanges > cuda::kMaxExchanges) // (C8)
        return exchange.emitOpError()
               << "is one too many: a step on two devices has at most " << cuda::kMaxExchanges;
      waited = false;
    } else {
      return op.emitOpError() << "cannot stand in a kernel.program: only buffers, phases, waits "
                                 "and exchanges";
    }
  }
  return success();
}

std::optional<PackedFormat> PackedFormat::parse(StringRef name) {
  if (name == "f32")
    return PackedFormat{Kind::F32, 0, true};
  if (name == "f16")
    return PackedFormat{Kind::F16, 0, true};
  if (name == "bf16")
    return PackedFormat{Kind::BF16, 0, true};
  PackedFormat format{name.starts_with("i8g")   ? Kind::I8
                      : name.starts_with("f8g") ? Kind::F8
                                                : Kind::I4,
                      0, true};
  if (format.kind == Kind::I4) {
    if (!name.starts_with("i4g") || !(name.ends_with("s") || name.ends_with("a")))
      return std::nullopt;
    format.symmetric = name.ends_with("s");
    name = name.drop_back();
  }
  if (name.drop_front(3).getAsInteger(10, format.group) ||
      (format.group != 32 && format.group != 64 && format.group != 128))
    return std::nullopt;
  return format;
}

cuda::WeightLayout retort::kernel::mma16(const PackedFormat &format) {
  switch (format.kind) {
  case PackedFormat::Kind::F32:
    return {cuda::WeightKind::F32};
  case PackedFormat::Kind::F16:
    return {cuda::WeightKind::F16};
  case PackedFormat::Kind::BF16:
    return {cuda::WeightKind::Bf16};
  case PackedFormat::Kind::I8:
    return {cuda::WeightKind::I8, static_cast<int>(format.group)};
  case PackedFormat::Kind::F8:
    return {cuda::WeightKind::F8, static_cast<int>(format.group)};
  case PackedFormat::Kind::I4:
    return {cuda::WeightKind::I4, static_cast<int>(format.group), !format.symmetric};
  }
  llvm_unreachable("all kinds are above");
}

int64_t retort::kernel::productTiles(int64_t outputs, bool gated, int64_t rowTile) {
  cuda::ProductShape shape{.out = static_cast<int>(outputs), .gated = gated};
  return rowTile ? shape.prefillTiles(/*wgmma=*/false).tiles : shape.decodeTiles().tiles;
}

int64_t retort::kernel::attentionTiles(int64_t heads, int64_t kvHeads, int64_t rowTile) {
  constexpr int64_t kTileQueries = cuda::AttentionShape::kQueries;
  int64_t queries = rowTile * (heads / kvHeads);
  return rowTile ? kvHeads * ((queries + kTileQueries - 1) / kTileQueries) : heads;
}

StringRef retort::kernel::cacheFormatName(BufferOp cache) {
  Type element = cache.getTensor().getElementType();
  return element.isF32() ? "f32" : element.isF16() ? "f16" : element.isBF16() ? "bf16" : "f8e4m3";
}

int64_t BufferOp::sizeInBytes() {
  if (getBytes())
    return *getBytes();
  RankedTensorType type = getTensor();
  if (isFlagged())
    return type.getDimSize(0) * cuda::receivedStride(static_cast<int>(type.getDimSize(1))) *
           cuda::kReceivedBytes;
  return type.getNumElements() * ((type.getElementTypeBitWidth() + 7) / 8);
}

bool BufferOp::isFlagged() {
  return getKind() == BufferKind::Received &&
         getOperation()->getParentOfType<ProgramOp>().isDecode();
}

int64_t ProgramOp::flaggedBytes() {
  int64_t end = 0;
  for (auto buffer : getBody().getOps<BufferOp>())
    if (buffer.isFlagged())
      end = std::max(end,
                     static_cast<int64_t>(buffer.getOffset().value_or(0)) + buffer.sizeInBytes());
  return llvm::alignTo(end, 64);
}

LogicalResult BufferOp::verify() {
  auto type = dyn_cast<RankedTensorType>(getType());
  if (!type || !type.hasStaticShape()) // (C1)
    return emitOpError() << "has type " << getType()
                         << ": a ranked tensor of static shape is needed";
  if (getOffset() && *getOffset() % 64 != 0) // (C2)
    return emitOpError() << "is at offset " << *getOffset() << ", which is no multiple of 64";
  bool isConstant = getKind() == BufferKind::Constant;
  if (isConstant != getValue().has_value() || (isConstant && getValue()->getType() != type)) // (C6)
    return emitOpError() << (isConstant ? "is a constant without a value of its type"
                                        : "has a value but is no constant");
  auto program = cast<ProgramOp>((*this)->getParentOp());
  switch (getKind()) {
  case BufferKind::Received:
    if (program.numDevices() == 1) // (C7)
      return emitOpError("is received, but the program is for one device");
    [[fallthrough]];
  case BufferKind::Activation:
    if (type.getRank() != 2 ||
        type.getDimSize(0) != static_cast<int64_t>(program.getMaxRows())) // (C3)
      return emitOpError() << "is an activation of type " << type << ": " << program.getMaxRows()
                           << " rows (max_rows) are needed";
    break;
  case BufferKind::Cache:
    if (type.getRank() != 4 || type.getDimSize(0) != 2 ||
        type.getDimSize(2) != static_cast<int64_t>(program.getPageRows()) ||
        !(type.getElementType().isF32() || type.getElementType().isF16() ||
          type.getElementType().isBF16() || type.getElementType().isFloat8E4M3FN())) // (C4)
      return emitOpError() << "is a cache of type " << type << ": 2 x kv_heads x "
                           << program.getPageRows()
                           << " x head_dim of f32, f16, bf16 or f8E4M3FN is needed";
    break;
  case BufferKind::Weights: {
    if (!getBytes()) // (C5)
      return emitOpError() << "holds weights but does not say its bytes";
    StringRef layout = program.isCuda() ? "mma16" : "rows16";
    if (type.getRank() == 2 &&
        (!getLayout() || (*getLayout() != layout && *getLayout() != (layout + "_gated").str())))
      return emitOpError() << "holds a matrix whose layout is not " << layout << " or " << layout
                           << "_gated";
    if (type.getRank() == 2 && !PackedFormat::parse(getFormat().value_or("")))
      return emitOpError()
             << "holds a matrix of format '" << getFormat().value_or("")
             << "': f32, f16, bf16, i8gN, f8gN, i4gNs or i4gNa with N = 32, 64 or 128 is "
                "needed";
    break;
  }
  default:
    break;
  }
  return success();
}

LogicalResult PhaseOp::verify() {
  auto program = cast<ProgramOp>((*this)->getParentOp());
  if (getRowTile() && (getPerRow() || !program.isCuda() || program.isDecode())) // (C1)
    return emitOpError() << "has tiles for each " << *getRowTile()
                         << " rows: only prefill has, and not per_row too";
  return success();
}

//===----------------------------------------------------------------------===//
// Tile ops
//===----------------------------------------------------------------------===//

namespace {
/// Looks up a tile op's buffers; the first failure is kept and reported once.
struct Buffers {
  Operation *op;
  SymbolTableCollection &tables;
  bool failed = false;

  BufferOp get(FlatSymbolRefAttr name) {
    if (!name)
      return {};
    auto buffer = tables.lookupNearestSymbolFrom<BufferOp>(op, name);
    if (!buffer && !failed) {
      op->emitOpError() << "names '" << name.getValue() << "', which is no buffer of the program";
      failed = true;
    }
    return buffer;
  }
  ProgramOp program() { return op->getParentOfType<ProgramOp>(); }
  int64_t phaseTiles() { return cast<PhaseOp>(op->getParentOp()).getTiles(); }
  int64_t rowTile() { return cast<PhaseOp>(op->getParentOp()).getRowTile().value_or(0); }
  bool perRow() { return cast<PhaseOp>(op->getParentOp()).getPerRow(); }
  LogicalResult checkTiles(int64_t tiles, bool perRow) {
    if (phaseTiles() == tiles && this->perRow() == perRow)
      return success();
    return op->emitOpError() << "needs " << tiles << (perRow ? " tiles per row" : " tiles")
                             << ", its phase has " << phaseTiles()
                             << (this->perRow() ? " per row" : "");
  }
};

int64_t columns(BufferOp buffer) { return buffer.getTensor().getShape().back(); }
int64_t rowsOf(BufferOp buffer) { return buffer.getTensor().getDimSize(0); }

LogicalResult checkColumns(Operation *op, BufferOp buffer, int64_t needed, bool exact = true) {
  if (exact ? columns(buffer) == needed : columns(buffer) >= needed)
    return success();
  return op->emitOpError() << "needs " << needed << " columns of '" << buffer.getSymName()
                           << "', which has " << columns(buffer);
}

LogicalResult checkElements(Operation *op, BufferOp buffer, int64_t needed) {
  if (!buffer || buffer.getTensor().getNumElements() == needed)
    return success();
  return op->emitOpError() << "needs " << needed << " elements of '" << buffer.getSymName()
                           << "', which has " << buffer.getTensor().getNumElements();
}

LogicalResult checkCache(Operation *op, BufferOp cache, int64_t kvHeads, int64_t dims) {
  ArrayRef<int64_t> shape = cache.getTensor().getShape();
  if (shape.size() == 4 && shape[1] == kvHeads && shape[3] == dims)
    return success();
  return op->emitOpError() << "has " << kvHeads << " key/value heads of " << dims
                           << " dims, its cache is " << cache.getTensor();
}
} // namespace

/// What an op adds up over devices: `features` columns each, the second received.
static LogicalResult checkSum(Operation *op, BufferOp partial, BufferOp received,
                              int64_t features) {
  if (failed(checkColumns(op, partial, features)) || failed(checkColumns(op, received, features)))
    return failure();
  if (received.getKind() != BufferKind::Received)
    return op->emitOpError() << "adds '" << received.getSymName() << "', which is not received";
  return success();
}

LogicalResult EmbedOp::verifySymbolUses(SymbolTableCollection &tables) {
  Buffers buffers{*this, tables};
  BufferOp tokens = buffers.get(getTokensAttr()), table = buffers.get(getTableAttr()),
           dest = buffers.get(getDestAttr());
  if (!tokens || !table || !dest)
    return failure();
  if (failed(checkColumns(*this, dest, columns(table)))) // (C1)
    return failure();
  return buffers.checkTiles(1, true); // (C2)
}

LogicalResult AnglesOp::verifySymbolUses(SymbolTableCollection &tables) {
  Buffers buffers{*this, tables};
  BufferOp positions = buffers.get(getPositionsAttr()), freq = buffers.get(getInvFreqAttr()),
           dest = buffers.get(getDestAttr());
  if (!positions || !freq || !dest)
    return failure();
  return checkColumns(*this, dest, 2 * freq.getTensor().getNumElements()); // (C1)
}

LogicalResult StageOp::verifySymbolUses(SymbolTableCollection &tables) {
  Buffers buffers{*this, tables};
  BufferOp source = buffers.get(getSourceAttr()), gain = buffers.get(getGainAttr());
  BufferOp received = buffers.get(getReceivedAttr()), sum = buffers.get(getSumAttr());
  buffers.get(getRowsAttr());
  if (!source || buffers.failed)
    return failure();
  int64_t features = getResult().getType().getFeatures();
  if (failed(checkColumns(*this, source, getAt() + features, /*exact=*/false))) // (C1)
    return failure();
  if (failed(checkElements(*this, gain, features))) // (C2)
    return failure();
  if (received) { // (C4)
    if (failed(checkSum(*this, source, received, features)) ||
        (sum && failed(checkColumns(*this, sum, features))))
      return failure();
    if (!buffers.program().isDecode())
      return emitOpError("adds partial sums in a program that is no CUDA decode step");
  }
  Type element = getResult().getType().getElementType();
  if (buffers.program().isCuda() != (element.isF16() || element.isInteger(16))) // (C3)
    return emitOpError() << "stages " << element
                         << (buffers.program().isCuda() ? ": CUDA" : ": CPU") << " programs stage "
                         << (buffers.program().isCuda() ? "i16 or f16" : "f32 or i8");
  return success();
}

LogicalResult MatmulOp::verifySymbolUses(SymbolTableCollection &tables) {
  Buffers buffers{*this, tables};
  BufferOp weights = buffers.get(getWeightsAttr()), dest = buffers.get(getDestAttr()),
           bias = buffers.get(getBiasAttr()), residual = buffers.get(getResidualAttr()),
           send = buffers.get(getSendAttr());
  if (buffers.failed)
    return failure();
  int64_t out = rowsOf(weights);
  if (failed(checkColumns(*this, weights, getSource().getType().getFeatures())) ||       // (C1)
      failed(checkColumns(*this, dest, out)) || failed(checkElements(*this, bias, out))) // (C2)
    return failure();
  if (residual && failed(checkColumns(*this, residual, out))) // (C4)
    return failure();
  if (send && failed(checkColumns(*this, send, out))) // (C5)
    return failure();
  if (send && send.getKind() != BufferKind::Received) // (C5)
    return emitOpError() << "sends to '" << send.getSymName() << "', which is not received";
  return buffers.checkTiles(productTiles(out, false, buffers.rowTile()), false); // (C3)
}

LogicalResult SumOp::verifySymbolUses(SymbolTableCollection &tables) {
  Buffers buffers{*this, tables};
  BufferOp partial = buffers.get(getPartialAttr()), received = buffers.get(getReceivedAttr()),
           dest = buffers.get(getDestAttr()), residual = buffers.get(getResidualAttr());
  if (buffers.failed)
    return failure();
  if (failed(checkSum(*this, partial, received, columns(dest))) ||
      (residual && failed(checkColumns(*this, residual, columns(dest))))) // (C1)
    return failure();
  return buffers.checkTiles(1, true); // (C2)
}

LogicalResult ArgmaxOp::verifySymbolUses(SymbolTableCollection &tables) {
  Buffers buffers{*this, tables};
  BufferOp logits = buffers.get(getLogitsAttr()), dest = buffers.get(getDestAttr());
  if (buffers.failed)
    return failure();
  auto product = dyn_cast_or_null<MatmulOp>((*this)->getPrevNode());
  if (!product || product.getDest() != getLogits() || product.getResidual()) // (C1)
    return emitOpError() << "does not follow the kernel.matmul that makes '" << logits.getSymName()
                         << "'";
  int64_t rows = buffers.program().getMaxRows();
  RankedTensorType type = dest.getTensor();
  if (type.getRank() != 1 || type.getDimSize(0) != rows ||
      !type.getElementType().isInteger(64)) // (C2)
    return emitOpError() << "needs " << rows << " x i64 of '" << dest.getSymName() << "', which is "
                         << type;
  if (!buffers.program().isCuda()) // (C3)
    return emitOpError() << "stands in a program that is none for CUDA";
  return success();
}

LogicalResult SampleOp::verifySymbolUses(SymbolTableCollection &tables) {
  Buffers buffers{*this, tables};
  BufferOp logits = buffers.get(getLogitsAttr()), other = buffers.get(getOtherLogitsAttr()),
           choices = buffers.get(getChoicesAttr());
  buffers.get(getDestAttr());
  if (buffers.failed)
    return failure();
  ProgramOp program = buffers.program();
  Operation *phase = (*this)->getParentOp();
  if (!llvm::hasSingleElement(*(*this)->getBlock()) ||
      phase != &program.getBody().front().back()) // (C1)
    return emitOpError("is not the one op of the program's last phase");
  bool chosen = false;
  program.walk(
      [&](ArgmaxOp op) { chosen |= op.getLogits() == getLogits() && op.getDest() == getDest(); });
  if (!chosen) // (C2)
    return emitOpError() << "follows no kernel.argmax of '" << getLogits() << "' into '"
                         << getDest() << "'";
  const bool first = program.numDevices() > 1 && program.getDevice() == 0;
  if ((program.numDevices() > 1 && !first) || static_cast<bool>(other) != first) // (C3)
    return emitOpError() << (other ? "reads the logits of another device, and this is device "
                                   : "reads one device's logits, and this is device ")
                         << program.getDevice().value_or(0) << " of " << program.numDevices();
  int64_t tokens = columns(logits) + (other ? columns(other) : 0);
  if (tokens != static_cast<int64_t>(program.getVocab())) // (C3)
    return emitOpError() << "draws from " << tokens << " logits of a vocabulary of "
                         << program.getVocab();
  RankedTensorType type = choices.getTensor();
  const int64_t rows = program.getMaxRows();
  if (type.getShape() != ArrayRef<int64_t>{rows, 3} || !type.getElementType().isInteger(64)) // (C4)
    return emitOpError() << "needs " << rows << " x 3 x i64 of '" << choices.getSymName()
                         << "', which is " << type;
  return buffers.checkTiles(1, true); // (C1)
}

LogicalResult MatmulGluOp::verifySymbolUses(SymbolTableCollection &tables) {
  Buffers buffers{*this, tables};
  BufferOp weights = buffers.get(getWeightsAttr()), dest = buffers.get(getDestAttr());
  if (buffers.failed)
    return failure();
  int64_t channels = columns(dest);
  if (failed(checkColumns(*this, weights, getSource().getType().getFeatures()))) // (C1)
    return failure();
  if (rowsOf(weights) != 2 * channels) // (C2)
    return emitOpError() << "makes " << channels << " channels of '" << weights.getSymName()
                         << "' with " << rowsOf(weights) << " rows: " << 2 * channels
                         << " are needed";
  if (!weights.getLayout().value_or("").ends_with("_gated"))
    return emitOpError() << "needs a gated layout of '" << weights.getSymName() << "'";
  return buffers.checkTiles(productTiles(channels, true, buffers.rowTile()), false); // (C3)
}

LogicalResult RopeAppendOp::verifySymbolUses(SymbolTableCollection &tables) {
  Buffers buffers{*this, tables};
  BufferOp q = buffers.get(getQAttr()), k = buffers.get(getKAttr()), v = buffers.get(getVAttr()),
           cache = buffers.get(getCacheAttr()), angles = buffers.get(getAnglesAttr()),
           qNorm = buffers.get(getQNormAttr()), kNorm = buffers.get(getKNormAttr());
  if (buffers.failed)
    return failure();
  int64_t heads = getHeads(), kvHeads = getKvHeads(), dims = getDims();
  if (failed(checkColumns(*this, q, getQAt() + heads * dims, false)) ||
      failed(checkColumns(*this, k, getKAt() + kvHeads * dims, false)) ||
      failed(checkColumns(*this, v, getVAt() + kvHeads * dims, false)) || // (C1)
      failed(checkCache(*this, cache, kvHeads, dims)) ||                  // (C2)
      failed(buffers.checkTiles(1, true)))                                // (C3)
    return failure();
  if (angles && columns(angles) > dims) // (C4)
    return emitOpError() << "rotates " << columns(angles) << " features of heads of " << dims;
  return success(succeeded(checkElements(*this, qNorm, dims)) &&
                 succeeded(checkElements(*this, kNorm, dims)));
}

LogicalResult AttentionOp::verifySymbolUses(SymbolTableCollection &tables) {
  Buffers buffers{*this, tables};
  BufferOp q = buffers.get(getQAttr()), cache = buffers.get(getCacheAttr()),
           dest = buffers.get(getDestAttr());
  if (buffers.failed)
    return failure();
  int64_t heads = getHeads(), kvHeads = getKvHeads(), dims = getDims();
  if (heads % kvHeads != 0) // (C1)
    return emitOpError() << "has " << heads << " query heads, not a multiple of its " << kvHeads
                         << " key/value heads";
  if (failed(checkCache(*this, cache, kvHeads, dims)) ||
      failed(checkColumns(*this, dest, heads * dims)) || // (C2)
      failed(checkColumns(*this, q, getQAt() + heads * dims, false)))
    return failure();
  int64_t rowTile = buffers.rowTile();
  return buffers.checkTiles(attentionTiles(heads, kvHeads, rowTile), !rowTile); // (C3)
}

LogicalResult AttendOp::verifySymbolUses(SymbolTableCollection &tables) {
  Buffers buffers{*this, tables};
  BufferOp q = buffers.get(getQAttr()), k = buffers.get(getKAttr()), v = buffers.get(getVAttr()),
           cache = buffers.get(getCacheAttr()), partials = buffers.get(getPartialsAttr()),
           dest = buffers.get(getDestAttr()), angles = buffers.get(getAnglesAttr()),
           qNorm = buffers.get(getQNormAttr()), kNorm = buffers.get(getKNormAttr());
  if (buffers.failed)
    return failure();
  int64_t heads = getHeads(), kvHeads = getKvHeads(), dims = getDims(), splits = getSplits();
  if (!buffers.program().isDecode()) // (C7)
    return emitOpError() << "stands in a program that is no CUDA decode step";
  if (heads % kvHeads != 0) // (C5)
    return emitOpError() << "has " << heads << " query heads, not a multiple of its " << kvHeads
                         << " key/value heads";
  if (failed(checkColumns(*this, q, getQAt() + heads * dims, false)) ||
      failed(checkColumns(*this, k, getKAt() + kvHeads * dims, false)) ||
      failed(checkColumns(*this, v, getVAt() + kvHeads * dims, false)) ||   // (C1)
      failed(checkCache(*this, cache, kvHeads, dims)) ||                    // (C2)
      failed(checkColumns(*this, dest, heads * dims)) ||                    // (C5)
      failed(checkColumns(*this, partials, splits * heads * (dims + 2))) || // (C6)
      failed(buffers.checkTiles(kvHeads * splits, true)))                   // (C3)
    return failure();
  if (angles && columns(angles) > dims) // (C4)
    return emitOpError() << "rotates " << columns(angles) << " features of heads of " << dims;
  return success(succeeded(checkElements(*this, qNorm, dims)) &&
                 succeeded(checkElements(*this, kNorm, dims)));
}

LogicalResult NormOp::verifySymbolUses(SymbolTableCollection &tables) {
  Buffers buffers{*this, tables};
  BufferOp source = buffers.get(getSourceAttr()), gain = buffers.get(getGainAttr()),
           dest = buffers.get(getDestAttr()), residual = buffers.get(getResidualAttr());
  if (buffers.failed)
    return failure();
  int64_t features = columns(source), groups = getGroups().value_or(1);
  if (features % groups != 0)
    return emitOpError() << "has " << features << " columns, not a multiple of its " << groups
                         << " groups";
  if (failed(checkElements(*this, gain, features / groups)) || // (C1)
      failed(checkColumns(*this, dest, features)))             // (C2)
    return failure();
  if (residual && failed(checkColumns(*this, residual, features)))
    return failure();
  return buffers.checkTiles(1, true); // (C3)
}

LogicalResult GluOp::verifySymbolUses(SymbolTableCollection &tables) {
  Buffers buffers{*this, tables};
  BufferOp gate = buffers.get(getGateAttr()), up = buffers.get(getUpAttr()),
           dest = buffers.get(getDestAttr());
  if (buffers.failed)
    return failure();
  int64_t channels = columns(dest);
  if (failed(checkColumns(*this, gate, getGateAt() + channels, false)) ||
      failed(checkColumns(*this, up, getUpAt() + channels, false))) // (C1)
    return failure();
  return buffers.checkTiles(1, true); // (C2)
}

LogicalResult ResidualOp::verifySymbolUses(SymbolTableCollection &tables) {
  Buffers buffers{*this, tables};
  BufferOp lhs = buffers.get(getLhsAttr()), rhs = buffers.get(getRhsAttr()),
           dest = buffers.get(getDestAttr());
  if (buffers.failed)
    return failure();
  if (failed(checkColumns(*this, lhs, columns(dest))) ||
      failed(checkColumns(*this, rhs, columns(dest)))) // (C1)
    return failure();
  return buffers.checkTiles(1, true); // (C2)
}
