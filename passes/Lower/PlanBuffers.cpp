//===- PlanBuffers.cpp - Give every buffer of a program its offset --------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Lower/Passes.h"

using namespace mlir;
namespace retort {
#define GEN_PASS_DEF_PLANBUFFERS
#include "passes/Lower/Passes.h.inc"
namespace {

int64_t align64(int64_t bytes) { return (bytes + 63) / 64 * 64; }

/// An activation's life in epochs (the stretches between waits, counted from 0) and its place.
struct Life {
  kernel::BufferOp buffer;
  int64_t first, last, bytes, offset = 0;
  bool touches(const Life &other) const { return first <= other.last && other.first <= last; }
};

/// Lives of the activations that phases use, in the order of the buffers.
SmallVector<Life> lives(kernel::ProgramOp program) {
  llvm::MapVector<StringAttr, std::pair<int64_t, int64_t>> used;
  int64_t epoch = 0;
  for (Operation &op : *program.getBody().begin()) {
    if (isa<kernel::WaitOp, kernel::ExchangeOp>(op))
      ++epoch;
    auto phase = dyn_cast<kernel::PhaseOp>(op);
    if (!phase)
      continue;
    for (Operation &tileOp : *phase.getBody().begin())
      for (NamedAttribute attribute : tileOp.getAttrDictionary())
        if (auto name = dyn_cast<FlatSymbolRefAttr>(attribute.getValue()))
          used.insert({name.getAttr(), {epoch, epoch}}).first->second.second = epoch;
  }
  SmallVector<Life> result;
  for (auto buffer : program.getBody().getOps<kernel::BufferOp>()) {
    if (buffer.getKind() != kernel::BufferKind::Activation)
      continue;
    auto [first, last] = used.lookup(buffer.getSymNameAttr());
    result.push_back({buffer, first, last, align64(buffer.sizeInBytes())});
  }
  return result;
}

/// Places `life` at the lowest offset where it overlaps none of `placed` that live with it.
void place(Life &life, ArrayRef<Life *> placed) {
  SmallVector<const Life *> rivals;
  for (const Life *other : placed)
    if (life.touches(*other))
      rivals.push_back(other);
  llvm::sort(rivals, [](const Life *a, const Life *b) { return a->offset < b->offset; });
  for (const Life *rival : rivals) {
    if (life.offset + life.bytes <= rival->offset)
      break;
    life.offset = std::max(life.offset, rival->offset + rival->bytes);
  }
}

struct PlanBuffers : impl::PlanBuffersBase<PlanBuffers> {
  using PlanBuffersBase::PlanBuffersBase;

  void runOnOperation() override {
    kernel::ProgramOp program = getOperation();
    program.setWeightBytes(placeInOrder(program, kernel::BufferKind::Weights));
    program.setPageBytes(placeInOrder(program, kernel::BufferKind::Cache));
    program.setActivationBytes(placeActivations(program));
  }

  /// Buffers of `kind` one after the other; returns the end.
  int64_t placeInOrder(kernel::ProgramOp program, kernel::BufferKind kind) {
    int64_t end = 0;
    for (auto buffer : program.getBody().getOps<kernel::BufferOp>()) {
      if (buffer.getKind() != kind)
        continue;
      buffer.setOffset(end);
      end += align64(buffer.sizeInBytes());
    }
    return end;
  }

  int64_t placeActivations(kernel::ProgramOp program) {
    SmallVector<Life> all = lives(program);
    SmallVector<Life *> order, placed;
    for (Life &life : all)
      order.push_back(&life);
    llvm::stable_sort(order, [](const Life *a, const Life *b) { return a->bytes > b->bytes; });
    // What others write lies first and shares no bytes: the devices' programs have other shapes and
    // must agree about where it is. With flags in it, it lies elsewhere.
    const int64_t received = placeInOrder(program, kernel::BufferKind::Received);
    const int64_t begin = program.isDecode() ? 0 : received;
    int64_t end = begin;
    for (Life *life : order) {
      life->offset = begin;
      place(*life, placed);
      placed.push_back(life);
      life->buffer.setOffset(life->offset);
      end = std::max(end, life->offset + life->bytes);
      unsharedBytes += life->bytes;
    }
    arenaBytes += end;
    return end;
  }
};
} // namespace
} // namespace retort
