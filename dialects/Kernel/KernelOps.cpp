//===- KernelOps.cpp - Programs, buffers and phases -----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Kernel/Accesses.h"
#include "kernels/cuda/machine.h"
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

LogicalResult ProgramOp::verifyRegions() { return verifyAccesses(*this); }

Type retort::kernel::cacheElement(MLIRContext *context, CacheFormat format) {
  switch (format) {
  case CacheFormat::F16:
    return Float16Type::get(context);
  case CacheFormat::BF16:
    return BFloat16Type::get(context);
  case CacheFormat::F8E4M3:
    return Float8E4M3FNType::get(context);
  case CacheFormat::F32:
    return Float32Type::get(context);
  }
  llvm_unreachable("all formats are above");
}

/// The format whose elements are of this type, if there is one.
static std::optional<CacheFormat> cacheFormatOf(Type element) {
  for (CacheFormat format : all<CacheFormat>())
    if (cacheElement(element.getContext(), format) == element)
      return format;
  return std::nullopt;
}

CacheFormat retort::kernel::cacheFormat(BufferOp cache) {
  return *cacheFormatOf(cache.getTensor().getElementType());
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
  if (!type || !type.hasStaticShape() || type.getRank() == 0) // (C1)
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
        !cacheFormatOf(type.getElementType())) // (C4)
      return emitOpError() << "is a cache of type " << type << ": 2 x kv_heads x "
                           << program.getPageRows()
                           << " x head_dim of f32, f16, bf16 or f8E4M3FN is needed";
    break;
  case BufferKind::Weights: {
    if (!getBytes()) // (C5)
      return emitOpError() << "holds weights but does not say its bytes";
    auto blocks = program.isCuda() ? MatrixLayout::Blocks::Mma16 : MatrixLayout::Blocks::Rows16;
    if (type.getRank() == 2 && (!getLayout() || getLayout()->blocks != blocks)) // (C5)
      return emitOpError() << "holds a matrix whose layout is not " << nameOf({blocks, false})
                           << " or " << nameOf({blocks, true});
    if (type.getRank() == 2 && !getFormat()) // (C5)
      return emitOpError("holds a matrix but does not say its format");
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
  if (getRowParts() && !getRowTile()) // (C1)
    return emitOpError() << "has rows of " << *getRowParts() << " parts and no row_tile, which "
                         << "counts them";
  return success();
}

TileSpace PhaseOp::getTileSpace() {
  return {static_cast<int>(getTiles()),
          getPerRow() ? 1 : static_cast<int>(getRowTile().value_or(0)),
          static_cast<int>(getRowParts().value_or(1))};
}
