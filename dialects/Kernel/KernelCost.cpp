//===- KernelCost.cpp - What the phases of a program move and compute -----===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Kernel/KernelCost.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
namespace retort::kernel {

int64_t tileBytes(BufferOp weights) {
  int64_t blocks = (weights.getTensor().getDimSize(0) + 15) / 16;
  return weights.sizeInBytes() / std::max<int64_t>(blocks, 1);
}

//===----------------------------------------------------------------------===//
// Tile ops
//===----------------------------------------------------------------------===//

/// One row of an activation, or all of the weights.
static void addBytes(BufferOp memory, PhaseCost &cost) {
  if (!memory)
    return;
  if (memory.getKind() == BufferKind::Weights)
    cost.weightBytes += memory.sizeInBytes();
  else if (memory.getKind() == BufferKind::Activation || memory.getKind() == BufferKind::Received)
    cost.activationBytes +=
        memory.getTensor().getShape().back() * memory.getTensor().getElementTypeBitWidth() / 8;
}

/// What an op moves that reads and writes its buffers whole.
static void addAccesses(TileOpInterface op, const Buffers &buffers, PhaseCost &cost) {
  for (const Access &access : op.getAccesses())
    addBytes(buffers[access.buffer], cost);
}

template <typename Op>
static void addProduct(Op op, int64_t matrices, const Buffers &buffers, PhaseCost &cost) {
  addAccesses(op, buffers, cost);
  BufferOp weights = buffers[op.getWeightsAttr()];
  ArrayRef<int64_t> shape = weights.getTensor().getShape();
  cost.flops += 2 * shape[0] * shape[1];
  cost.kind = PhaseKind::Product;
  cost.out = shape[0];
  cost.in = shape[1];
  cost.matrices = matrices;
  cost.format = *weights.getFormat();
}

template <typename Op>
static void addAttention(Op op, PhaseKind kind, const Buffers &buffers, PhaseCost &cost) {
  BufferOp cache = buffers[op.getCacheAttr()];
  cost.cacheBytesPerPosition += cache.sizeInBytes() / cache.getTensor().getDimSize(2);
  cost.kind = kind;
  cost.heads = op.getHeads();
  cost.kvHeads = op.getKvHeads();
  cost.dims = op.getDims();
  cost.window = op.getWindow().value_or(0);
  cost.cacheValueBytes = cache.getTensor().getElementTypeBitWidth() / 8;
}

void EmbedOp::addCost(const Buffers &buffers, PhaseCost &cost) {
  cost.weightBytes += tileBytes(buffers[getTableAttr()]) / 16;
  addBytes(buffers[getDestAttr()], cost);
}

void AnglesOp::addCost(const Buffers &buffers, PhaseCost &cost) {
  addAccesses(*this, buffers, cost);
  cost.flops += 4 * buffers.columns(getDestAttr());
}

void StageOp::addCost(const Buffers &buffers, PhaseCost &cost) {
  addAccesses(*this, buffers, cost);
  cost.flops += (getGain() ? 4 : 0) * getResult().getType().getFeatures();
  cost.wanted = getRows().has_value();
  cost.sums = getReceived().has_value();
}

void MatmulOp::addCost(const Buffers &buffers, PhaseCost &cost) {
  addProduct(*this, 1, buffers, cost);
  cost.sends = getSend().has_value();
}

void MatmulGluOp::addCost(const Buffers &buffers, PhaseCost &cost) {
  addProduct(*this, 2, buffers, cost);
}

void SumOp::addCost(const Buffers &buffers, PhaseCost &cost) {
  addAccesses(*this, buffers, cost);
  cost.flops += 2 * buffers.columns(getDestAttr());
}

void ArgmaxOp::addCost(const Buffers &, PhaseCost &) {} // in registers: part of the product

void SampleOp::addCost(const Buffers &buffers, PhaseCost &cost) {
  cost.kind = PhaseKind::Sample;
  cost.tokens = buffers.columns(getLogitsAttr()) +
                (getOtherLogits() ? buffers.columns(getOtherLogitsAttr()) : 0);
  cost.exchanges = getOtherLogits().has_value();
}

void RopeAppendOp::addCost(const Buffers &buffers, PhaseCost &cost) {
  int64_t values = (getHeads() + 2 * getKvHeads()) * getDims();
  cost.activationBytes += 8 * values;
  cost.flops += 3 * values;
  for (FlatSymbolRefAttr name : {getAnglesAttr(), getQAnglesAttr()})
    addBytes(buffers[name], cost);
}

void AttentionOp::addCost(const Buffers &buffers, PhaseCost &cost) {
  addAttention(*this, PhaseKind::Attention, buffers, cost);
  cost.activationBytes += 8 * getHeads() * getDims();
}

void AttendOp::addCost(const Buffers &buffers, PhaseCost &cost) {
  addAttention(*this, PhaseKind::Attend, buffers, cost);
  cost.splits = getSplits();
  // The row's q, k and v are read, k and v stored; then partials twice, and the result.
  int64_t values = (getHeads() + 2 * getKvHeads()) * getDims();
  cost.activationBytes += 4 * values + 8 * buffers.columns(getPartialsAttr());
  cost.flops += 3 * values;
  for (FlatSymbolRefAttr name : {getDestAttr(), getAnglesAttr(), getQAnglesAttr(), getQNormAttr(),
                                 getKNormAttr(), getSinksAttr()})
    addBytes(buffers[name], cost);
}

void NormOp::addCost(const Buffers &buffers, PhaseCost &cost) {
  addAccesses(*this, buffers, cost);
  cost.flops += 4 * buffers.columns(getDestAttr());
}

void LayerNormOp::addCost(const Buffers &buffers, PhaseCost &cost) {
  addAccesses(*this, buffers, cost);
  cost.flops += 7 * buffers.columns(getDestAttr());
}

void GluOp::addCost(const Buffers &buffers, PhaseCost &cost) {
  cost.activationBytes += 8 * buffers.columns(getDestAttr());
  addBytes(buffers[getDestAttr()], cost);
  cost.flops += 8 * buffers.columns(getDestAttr());
}

void ResidualOp::addCost(const Buffers &buffers, PhaseCost &cost) {
  addAccesses(*this, buffers, cost);
  cost.flops += buffers.columns(getDestAttr());
}

//===----------------------------------------------------------------------===//
// Phases
//===----------------------------------------------------------------------===//

std::vector<PhaseCost> phaseCosts(ProgramOp program) {
  SymbolTable symbols(program);
  Buffers buffers(symbols);
  std::vector<PhaseCost> result;
  bool waits = false, exchanges = false;
  for (Operation &op : *program.getBody().begin()) {
    waits |= isa<WaitOp, ExchangeOp>(op);
    exchanges |= isa<ExchangeOp>(op);
    auto phase = dyn_cast<PhaseOp>(op);
    if (!phase)
      continue;
    PhaseCost &cost = result.emplace_back();
    cost.name = phase.getSymName().str();
    cost.label = phase.getLabel().str();
    cost.tiles = phase.getTiles();
    cost.waits = std::exchange(waits, false);
    cost.exchanges = std::exchange(exchanges, false);
    cost.rowTile = phase.getPerRow() ? 1 : phase.getRowTile().value_or(0);
    for (auto op : phase.getBody().getOps<TileOpInterface>())
      op.addCost(buffers, cost);
  }
  return result;
}

int64_t bytesPerToken(ProgramOp program) {
  int64_t bytes = 0;
  for (const PhaseCost &cost : phaseCosts(program))
    bytes += cost.weightBytes;
  return bytes;
}

void printCosts(ProgramOp program, llvm::raw_ostream &os) {
  PhaseCost sum;
  int64_t waits = 0;
  os << "phase tiles weight_bytes activation_bytes cache_bytes_per_position flops wait\n";
  for (const PhaseCost &cost : phaseCosts(program)) {
    os << cost.name << ' ' << cost.tiles << ' ' << cost.weightBytes << ' ' << cost.activationBytes
       << ' ' << cost.cacheBytesPerPosition << ' ' << cost.flops
       << (cost.kind == PhaseKind::Sample ? " if asked for\n"
           : cost.waits                   ? " wait\n"
                                          : " -\n");
    if (cost.kind == PhaseKind::Sample)
      continue;
    sum.tiles += cost.tiles;
    sum.weightBytes += cost.weightBytes;
    sum.activationBytes += cost.activationBytes;
    sum.cacheBytesPerPosition += cost.cacheBytesPerPosition;
    sum.flops += cost.flops;
    waits += cost.waits;
  }
  os << "total " << sum.tiles << ' ' << sum.weightBytes << ' ' << sum.activationBytes << ' '
     << sum.cacheBytesPerPosition << ' ' << sum.flops << ' ' << waits << " waits\n";
}

} // namespace retort::kernel
