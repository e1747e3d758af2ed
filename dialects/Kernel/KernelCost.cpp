//===- KernelCost.cpp - What the phases of a program move and compute -----===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Kernel/KernelCost.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
namespace retort::kernel {

int64_t tileBytes(BufferOp weights) {
  int64_t blocks = (weights.getTensor().getDimSize(0) + 15) / 16;
  return weights.sizeInBytes() / std::max<int64_t>(blocks, 1);
}

namespace {
struct Costs {
  SymbolTable symbols;
  PhaseCost cost;

  BufferOp buffer(FlatSymbolRefAttr name) {
    return name ? symbols.lookup<BufferOp>(name.getValue()) : BufferOp();
  }
  int64_t columns(FlatSymbolRefAttr name) { return buffer(name).getTensor().getShape().back(); }
  /// One row of an activation, or all of a vector of weights.
  void touch(FlatSymbolRefAttr name) {
    BufferOp memory = buffer(name);
    if (!memory)
      return;
    if (memory.getKind() == BufferKind::Weights)
      cost.weightBytes += memory.sizeInBytes();
    else if (memory.getKind() == BufferKind::Activation || memory.getKind() == BufferKind::Received)
      cost.activationBytes += columns(name) * memory.getTensor().getElementTypeBitWidth() / 8;
  }
  void product(FlatSymbolRefAttr weights, Value staged, int64_t matrices) {
    BufferOp matrix = buffer(weights);
    ArrayRef<int64_t> shape = matrix.getTensor().getShape();
    cost.flops += 2 * shape[0] * shape[1];
    touch(weights);
    cost.kind = PhaseKind::Product;
    cost.out = shape[0];
    cost.in = shape[1];
    cost.matrices = matrices;
    cost.format = *matrix.getFormat();
    if (auto stage = staged.getDefiningOp<StageOp>()) {
      cost.wanted = static_cast<bool>(stage.getRowsAttr());
      cost.sums = static_cast<bool>(stage.getReceivedAttr());
    }
  }
  template <class Op> void attention(Op op, PhaseKind kind) {
    BufferOp cache = buffer(op.getCacheAttr());
    cost.cacheBytesPerPosition += cache.sizeInBytes() / cache.getTensor().getDimSize(2);
    cost.kind = kind;
    cost.heads = op.getHeads();
    cost.kvHeads = op.getKvHeads();
    cost.dims = op.getDims();
    cost.window = op.getWindow().value_or(0);
    cost.cacheValueBytes = cache.getTensor().getElementTypeBitWidth() / 8;
  }

  void add(Operation *operation) {
    llvm::TypeSwitch<Operation *>(operation)
        .Case([&](EmbedOp op) {
          cost.weightBytes += tileBytes(buffer(op.getTableAttr())) / 16;
          touch(op.getDestAttr());
        })
        .Case([&](AnglesOp op) {
          touch(op.getInvFreqAttr());
          touch(op.getDestAttr());
          cost.flops += 4 * columns(op.getDestAttr());
        })
        .Case([&](StageOp op) {
          touch(op.getSourceAttr());
          touch(op.getGainAttr());
          touch(op.getReceivedAttr());
          touch(op.getSumAttr());
          cost.flops += (op.getGain() ? 4 : 0) * op.getResult().getType().getFeatures();
        })
        .Case([&](MatmulOp op) {
          product(op.getWeightsAttr(), op.getSource(), 1);
          touch(op.getBiasAttr());
          touch(op.getResidualAttr());
          touch(op.getDestAttr());
          touch(op.getSendAttr());
          cost.sends = op.getSend().has_value();
        })
        .Case([&](SumOp op) {
          touch(op.getPartialAttr());
          touch(op.getReceivedAttr());
          touch(op.getResidualAttr());
          touch(op.getDestAttr());
          cost.flops += 2 * columns(op.getDestAttr());
        })
        .Case([&](MatmulGluOp op) {
          product(op.getWeightsAttr(), op.getSource(), 2);
          touch(op.getDestAttr());
        })
        .Case([&](SampleOp op) {
          cost.kind = PhaseKind::Sample;
          cost.tokens = columns(op.getLogitsAttr()) +
                        (op.getOtherLogits() ? columns(op.getOtherLogitsAttr()) : 0);
          cost.exchanges = op.getOtherLogits().has_value();
        })
        .Case([&](RopeAppendOp op) {
          int64_t values = (op.getHeads() + 2 * op.getKvHeads()) * op.getDims();
          cost.activationBytes += 8 * values;
          cost.flops += 3 * values;
          touch(op.getAnglesAttr());
        })
        .Case([&](AttentionOp op) {
          attention(op, PhaseKind::Attention);
          cost.activationBytes += 8 * op.getHeads() * op.getDims();
        })
        .Case([&](AttendOp op) {
          attention(op, PhaseKind::Attend);
          cost.splits = op.getSplits();
          // The row's q, k and v are read, k and v stored; then partials twice, and the result.
          int64_t values = (op.getHeads() + 2 * op.getKvHeads()) * op.getDims();
          cost.activationBytes += 4 * values + 8 * columns(op.getPartialsAttr());
          cost.flops += 3 * values;
          touch(op.getDestAttr());
          touch(op.getAnglesAttr());
          touch(op.getQNormAttr());
          touch(op.getKNormAttr());
        })
        .Case([&](NormOp op) {
          touch(op.getSourceAttr());
          touch(op.getGainAttr());
          touch(op.getResidualAttr());
          touch(op.getDestAttr());
          cost.flops += 4 * columns(op.getDestAttr());
        })
        .Case([&](GluOp op) {
          cost.activationBytes += 8 * columns(op.getDestAttr());
          touch(op.getDestAttr());
          cost.flops += 8 * columns(op.getDestAttr());
        })
        .Case([&](ResidualOp op) {
          touch(op.getLhsAttr());
          touch(op.getRhsAttr());
          touch(op.getDestAttr());
          cost.flops += columns(op.getDestAttr());
        });
  }
};
} // namespace

std::vector<PhaseCost> phaseCosts(ProgramOp program) {
  Costs costs{SymbolTable(program), {}};
  std::vector<PhaseCost> result;
  bool waits = false, exchanges = false;
  for (Operation &op : *program.getBody().begin()) {
    waits |= isa<WaitOp, ExchangeOp>(op);
    exchanges |= isa<ExchangeOp>(op);
    auto phase = dyn_cast<PhaseOp>(op);
    if (!phase)
      continue;
    costs.cost = {};
    costs.cost.name = phase.getSymName().str();
    costs.cost.label = phase.getLabel().str();
    costs.cost.tiles = phase.getTiles();
    costs.cost.waits = std::exchange(waits, false);
    costs.cost.exchanges = std::exchange(exchanges, false);
    costs.cost.rowTile = phase.getPerRow() ? 1 : phase.getRowTile().value_or(0);
    for (Operation &tileOp : *phase.getBody().begin())
      costs.add(&tileOp);
    result.push_back(costs.cost);
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
