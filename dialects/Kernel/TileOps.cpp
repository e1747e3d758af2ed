//===- TileOps.cpp - Verifiers and tile spaces of tile ops ----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Kernel/KernelOps.h"
#include "kernels/cuda/shapes.h"

using namespace mlir;
using namespace retort;
using namespace retort::kernel;

#include "dialects/Kernel/TileOpInterface.cpp.inc"

//===----------------------------------------------------------------------===//
// What tile ops have in common
//===----------------------------------------------------------------------===//

BufferOp Buffers::operator[](FlatSymbolRefAttr name) const {
  return name ? symbols.lookup<BufferOp>(name.getAttr()) : BufferOp();
}

int64_t Buffers::columns(FlatSymbolRefAttr name) const {
  return (*this)[name].getTensor().getShape().back();
}

static ProgramOp programOf(Operation *op) { return op->getParentOfType<ProgramOp>(); }

/// (C3) of kernel.phase.
static LogicalResult verifyNames(TileOpInterface op, const Buffers &buffers) {
  SmallVector<Access> accesses = op.getAccesses();
  for (const Access &access : accesses) {
    BufferOp buffer = buffers[access.buffer];
    if (!buffer)
      return op->emitOpError() << "names '" << access.buffer.getValue()
                               << "', which is no buffer of the program";
    BufferKind kind = buffer.getKind();
    bool received = access.is<access::Send, access::Receive>();
    if (received != (kind == BufferKind::Received))
      return op->emitOpError() << (access.is<access::Receive>() ? "adds" : access.verb()) << " '"
                               << access.buffer.getValue() << "', which is "
                               << (received ? "not received" : "received from the other device");
    bool isFixed =
        kind == BufferKind::Weights || kind == BufferKind::Constant || kind == BufferKind::Input;
    if (access.writes() && isFixed)
      return op->emitOpError() << access.verb() << " '" << access.buffer.getValue()
                               << "', which is of kind " << stringifyBufferKind(kind);
  }
  for (NamedAttribute attribute : op->getAttrs()) {
    auto name = dyn_cast<FlatSymbolRefAttr>(attribute.getValue());
    bool stated = llvm::any_of(accesses, [&](const Access &a) { return a.buffer == name; });
    if (name && !stated && buffers[name])
      return op->emitOpError() << "names '" << name.getValue() << "' as " << attribute.getName()
                               << " but does not say how it touches it";
  }
  return success();
}

/// " for each 128 parts of rows, 3 a row".
static std::string rowsText(const TileSpace &space) {
  if (space.rowTile <= 1)
    return space.perRow() ? " per row" : "";
  std::string text = " for each " + std::to_string(space.rowTile);
  if (space.rowParts == 1)
    return text + " rows";
  return text + " parts of rows, " + std::to_string(space.rowParts) + " a row";
}

/// (C2) of kernel.phase.
static LogicalResult verifyTileSpace(TileOpInterface op, const Buffers &buffers) {
  auto phase = cast<PhaseOp>(op->getParentOp());
  std::optional<TileSpace> space = op.getTileSpace(buffers, phase.getRowTile().value_or(0));
  TileSpace found = phase.getTileSpace();
  if (!space || *space == found)
    return success();
  return op->emitOpError() << "needs " << space->tiles << " tiles" << rowsText(*space)
                           << ", its phase has " << found.tiles << rowsText(found);
}

LogicalResult retort::kernel::verifyTileOp(TileOpInterface op, SymbolTableCollection &tables) {
  Buffers buffers(tables.getSymbolTable(programOf(op)));
  if (failed(verifyNames(op, buffers)) || failed(op.verifyBuffers(buffers)))
    return failure();
  return verifyTileSpace(op, buffers);
}

//===----------------------------------------------------------------------===//
// Tile spaces
//===----------------------------------------------------------------------===//

/// Of `out` rows of weights, or gated channels. Prefill: of mma.sync (wgmma's tiles are larger).
static TileSpace productTiles(int64_t out, bool gated, bool prefill) {
  cuda::ProductShape shape{.out = static_cast<int>(out), .gated = gated};
  return prefill ? shape.prefillTiles(/*wgmma=*/false) : shape.decodeTiles();
}

std::optional<TileSpace> StageOp::getTileSpace(const Buffers &, int64_t) { return std::nullopt; }

std::optional<TileSpace> MatmulOp::getTileSpace(const Buffers &buffers, int64_t rowTile) {
  return productTiles(buffers.columns(getDestAttr()), false, rowTile != 0);
}

std::optional<TileSpace> MatmulGluOp::getTileSpace(const Buffers &buffers, int64_t rowTile) {
  return productTiles(buffers.columns(getDestAttr()), true, rowTile != 0);
}

std::optional<TileSpace> ArgmaxOp::getTileSpace(const Buffers &, int64_t) { return std::nullopt; }

std::optional<TileSpace> AttentionOp::getTileSpace(const Buffers &, int64_t rowTile) {
  const int heads = static_cast<int>(getHeads()), kvHeads = static_cast<int>(getKvHeads());
  if (!rowTile)
    return TileSpace{heads, /*rowTile=*/1};
  return cuda::AttentionShape{.heads = heads, .cache = {.kvHeads = kvHeads}}.tiles();
}

std::optional<TileSpace> AttendOp::getTileSpace(const Buffers &, int64_t) {
  const int heads = static_cast<int>(getHeads()), kvHeads = static_cast<int>(getKvHeads());
  return cuda::AttendShape{.append = {.heads = heads, .cache = {.kvHeads = kvHeads}},
                           .splits = static_cast<int>(getSplits())}
      .tiles();
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

// These pass where an optional buffer is absent.
static LogicalResult checkColumns(Operation *op, BufferOp buffer, int64_t needed,
                                  bool exact = true) {
  int64_t columns = buffer ? buffer.getTensor().getShape().back() : needed;
  if (exact ? columns == needed : columns >= needed)
    return success();
  return op->emitOpError() << "needs " << needed << " columns of '" << buffer.getSymName()
                           << "', which has " << columns;
}

static LogicalResult checkElements(Operation *op, BufferOp buffer, int64_t needed) {
  if (!buffer || buffer.getTensor().getNumElements() == needed)
    return success();
  return op->emitOpError() << "needs " << needed << " elements of '" << buffer.getSymName()
                           << "', which has " << buffer.getTensor().getNumElements();
}

static LogicalResult checkCache(Operation *op, BufferOp cache, int64_t kvHeads, int64_t dims) {
  ArrayRef<int64_t> shape = cache.getTensor().getShape();
  if (shape.size() == 4 && shape[1] == kvHeads && shape[3] == dims)
    return success();
  return op->emitOpError() << "has " << kvHeads << " key/value heads of " << dims
                           << " dims, its cache is " << cache.getTensor();
}

/// A matrix of weights says its format and its layout (kernel.buffer); others do not.
static LogicalResult checkMatrix(Operation *op, BufferOp buffer) {
  if (buffer.getKind() == BufferKind::Weights && buffer.getTensor().getRank() == 2)
    return success();
  return op->emitOpError() << "needs a matrix of weights, '" << buffer.getSymName() << "' is "
                           << stringifyBufferKind(buffer.getKind()) << " " << buffer.getTensor();
}

static LogicalResult checkGroups(Operation *op, int64_t heads, int64_t kvHeads) {
  if (heads % kvHeads == 0)
    return success();
  return op->emitOpError() << "has " << heads << " query heads, not a multiple of its " << kvHeads
                           << " key/value heads";
}

/// What rope_append and attend read: rows of heads, gains and angles.
template <typename Op> static LogicalResult checkHeads(Op op, const Buffers &buffers) {
  int64_t heads = op.getHeads(), kvHeads = op.getKvHeads(), dims = op.getDims();
  if (failed(checkColumns(op, buffers[op.getQAttr()], op.getQAt() + heads * dims, false)) ||
      failed(checkColumns(op, buffers[op.getKAttr()], op.getKAt() + kvHeads * dims, false)) ||
      failed(checkColumns(op, buffers[op.getVAttr()], op.getVAt() + kvHeads * dims, false)) ||
      failed(checkCache(op, buffers[op.getCacheAttr()], kvHeads, dims)))
    return failure();
  int64_t rotated = op.getAngles() ? buffers.columns(op.getAnglesAttr()) : 0;
  if (rotated > dims)
    return op.emitOpError() << "rotates " << rotated << " features of heads of " << dims;
  if (failed(checkColumns(op, buffers[op.getQAnglesAttr()], rotated)))
    return failure();
  if (failed(checkElements(op, buffers[op.getQNormAttr()], dims)))
    return failure();
  return checkElements(op, buffers[op.getKNormAttr()], dims);
}

LogicalResult EmbedOp::verifyBuffers(const Buffers &buffers) {
  if (failed(checkMatrix(*this, buffers[getTableAttr()]))) // (C1)
    return failure();
  return checkColumns(*this, buffers[getDestAttr()], buffers.columns(getTableAttr())); // (C1)
}

LogicalResult AnglesOp::verifyBuffers(const Buffers &buffers) {
  if (getSteps().has_value() != getEvery().has_value() ||
      (getSteps() && buffers[getStepsAttr()].getKind() != BufferKind::Constant)) // (C2)
    return emitOpError("needs constant steps with every, or neither");
  return checkColumns(*this, buffers[getDestAttr()], 2 * buffers.columns(getInvFreqAttr())); // (C1)
}

LogicalResult StageOp::verifyBuffers(const Buffers &buffers) {
  BufferOp source = buffers[getSourceAttr()];
  ProgramOp program = programOf(*this);
  int64_t features = getResult().getType().getFeatures();
  if (failed(checkColumns(*this, source, getAt() + features, /*exact=*/false)) || // (C1)
      failed(checkElements(*this, buffers[getGainAttr()], features)))             // (C2)
    return failure();
  if (getReceived()) { // (C4)
    if (failed(checkColumns(*this, source, features)) ||
        failed(checkColumns(*this, buffers[getReceivedAttr()], features)) ||
        failed(checkColumns(*this, buffers[getSumAttr()], features)))
      return failure();
    if (!program.isDecode())
      return emitOpError("adds partial sums outside a CUDA decode step");
  }
  Type element = getResult().getType().getElementType();
  if (program.isCuda() != (element.isF16() || element.isInteger(16))) // (C3)
    return emitOpError() << "stages " << element << (program.isCuda() ? ": CUDA" : ": CPU")
                         << " programs stage " << (program.isCuda() ? "i16 or f16" : "f32 or i8");
  return success();
}

LogicalResult MatmulOp::verifyBuffers(const Buffers &buffers) {
  BufferOp weights = buffers[getWeightsAttr()];
  if (failed(checkMatrix(*this, weights))) // (C1)
    return failure();
  int64_t out = weights.getTensor().getDimSize(0);
  if (failed(checkColumns(*this, weights, getSource().getType().getFeatures())) || // (C1)
      failed(checkColumns(*this, buffers[getDestAttr()], out)) ||                  // (C2)
      failed(checkElements(*this, buffers[getBiasAttr()], out)) ||                 // (C2)
      failed(checkColumns(*this, buffers[getResidualAttr()], out)))                // (C4)
    return failure();
  return checkColumns(*this, buffers[getSendAttr()], out); // (C5)
}

LogicalResult SumOp::verifyBuffers(const Buffers &buffers) {
  int64_t columns = buffers.columns(getDestAttr());
  if (failed(checkColumns(*this, buffers[getPartialAttr()], columns)) ||
      failed(checkColumns(*this, buffers[getReceivedAttr()], columns)))
    return failure();
  return checkColumns(*this, buffers[getResidualAttr()], columns); // (C1)
}

LogicalResult ArgmaxOp::verifyBuffers(const Buffers &buffers) {
  auto product = dyn_cast_or_null<MatmulOp>((*this)->getPrevNode());
  if (!product || product.getDest() != getLogits() || product.getResidual()) // (C1)
    return emitOpError() << "does not follow the kernel.matmul that makes '" << getLogits() << "'";
  int64_t rows = programOf(*this).getMaxRows();
  RankedTensorType type = buffers[getDestAttr()].getTensor();
  if (type.getShape() != ArrayRef<int64_t>{rows} || !type.getElementType().isInteger(64)) // (C2)
    return emitOpError() << "needs " << rows << " x i64 of '" << getDest() << "', which is "
                         << type;
  if (!programOf(*this).isCuda()) // (C3)
    return emitOpError("is only allowed in a CUDA program");
  return success();
}

LogicalResult SampleOp::verifyBuffers(const Buffers &buffers) {
  ProgramOp program = programOf(*this);
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
  const bool other = getOtherLogits().has_value();
  if ((program.numDevices() > 1 && !first) || other != first) // (C3)
    return emitOpError() << (other ? "reads the logits of another device, and this is device "
                                   : "reads one device's logits, and this is device ")
                         << program.getDevice().value_or(0) << " of " << program.numDevices();
  int64_t tokens =
      buffers.columns(getLogitsAttr()) + (other ? buffers.columns(getOtherLogitsAttr()) : 0);
  if (tokens != static_cast<int64_t>(program.getVocab())) // (C3)
    return emitOpError() << "draws from " << tokens << " logits of a vocabulary of "
                         << program.getVocab();
  RankedTensorType type = buffers[getChoicesAttr()].getTensor();
  const int64_t rows = program.getMaxRows();
  if (type.getShape() != ArrayRef<int64_t>{rows, 3} || !type.getElementType().isInteger(64)) // (C4)
    return emitOpError() << "needs " << rows << " x 3 x i64 of '" << getChoices() << "', which is "
                         << type;
  return success();
}

LogicalResult MatmulGluOp::verifyBuffers(const Buffers &buffers) {
  BufferOp weights = buffers[getWeightsAttr()];
  if (failed(checkMatrix(*this, weights))) // (C1)
    return failure();
  int64_t channels = buffers.columns(getDestAttr()), rows = weights.getTensor().getDimSize(0);
  if (failed(checkColumns(*this, weights, getSource().getType().getFeatures()))) // (C1)
    return failure();
  if (rows != 2 * channels) // (C2)
    return emitOpError() << "makes " << channels << " channels of '" << getWeights() << "' with "
                         << rows << " rows: " << 2 * channels << " are needed";
  if (!weights.getLayout() || !weights.getLayout()->gated)
    return emitOpError() << "needs a gated layout of '" << getWeights() << "'";
  return success();
}

LogicalResult RopeAppendOp::verifyBuffers(const Buffers &buffers) {
  return checkHeads(*this, buffers); // (C1), (C2), (C4)
}

LogicalResult AttentionOp::verifyBuffers(const Buffers &buffers) {
  int64_t features = getHeads() * getDims();
  if (failed(checkGroups(*this, getHeads(), getKvHeads())) || // (C1)
      failed(checkCache(*this, buffers[getCacheAttr()], getKvHeads(), getDims())) ||
      failed(checkColumns(*this, buffers[getDestAttr()], features)) ||   // (C2)
      failed(checkElements(*this, buffers[getSinksAttr()], getHeads()))) // (C4)
    return failure();
  return checkColumns(*this, buffers[getQAttr()], getQAt() + features, false);
}

LogicalResult AttendOp::verifyBuffers(const Buffers &buffers) {
  int64_t heads = getHeads(), dims = getDims();
  if (!programOf(*this).isDecode()) // (C7)
    return emitOpError("is only allowed in a CUDA decode step");
  if (failed(checkGroups(*this, heads, getKvHeads())) ||                   // (C5)
      failed(checkHeads(*this, buffers)) ||                                // (C1), (C2), (C4)
      failed(checkColumns(*this, buffers[getDestAttr()], heads * dims)) || // (C5)
      failed(checkElements(*this, buffers[getSinksAttr()], heads)))        // (C5)
    return failure();
  return checkColumns(*this, buffers[getPartialsAttr()], getSplits() * heads * (dims + 2)); // (C6)
}

LogicalResult NormOp::verifyBuffers(const Buffers &buffers) {
  int64_t features = buffers.columns(getSourceAttr()), groups = getGroups().value_or(1);
  if (features % groups != 0)
    return emitOpError() << "has " << features << " columns, not a multiple of its " << groups
                         << " groups";
  if (failed(checkElements(*this, buffers[getGainAttr()], features / groups)) || // (C1)
      failed(checkColumns(*this, buffers[getDestAttr()], features)))             // (C2)
    return failure();
  return checkColumns(*this, buffers[getResidualAttr()], features); // (C2)
}

LogicalResult LayerNormOp::verifyBuffers(const Buffers &buffers) {
  int64_t features = buffers.columns(getSourceAttr());
  if (failed(checkElements(*this, buffers[getGainAttr()], features)) ||
      failed(checkElements(*this, buffers[getBiasAttr()], features))) // (C1)
    return failure();
  return checkColumns(*this, buffers[getDestAttr()], features); // (C2)
}

LogicalResult GluOp::verifyBuffers(const Buffers &buffers) {
  int64_t channels = buffers.columns(getDestAttr());
  if (failed(checkColumns(*this, buffers[getGateAttr()], getGateAt() + channels, false)))
    return failure();
  return checkColumns(*this, buffers[getUpAttr()], getUpAt() + channels, false); // (C1)
}

LogicalResult ResidualOp::verifyBuffers(const Buffers &buffers) {
  int64_t columns = buffers.columns(getDestAttr());
  if (failed(checkColumns(*this, buffers[getLhsAttr()], columns)))
    return failure();
  return checkColumns(*this, buffers[getRhsAttr()], columns); // (C1)
}
