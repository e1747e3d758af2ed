//===- PlanBuffers.cpp - Give every buffer of a program its offset --------===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Kernel/Accesses.h"
#include "passes/Lower/Passes.h"

using namespace mlir;
namespace retort {
#define GEN_PASS_DEF_PLANBUFFERS
#include "passes/Lower/Passes.h.inc"
namespace {

int64_t align64(int64_t bytes) { return (bytes + 63) / 64 * 64; }

/// An activation and its place.
struct Placed {
  kernel::BufferOp buffer;
  kernel::Life life;
  int64_t bytes, offset = 0;
};

/// The activations, in the order of the buffers, not yet placed.
SmallVector<Placed> activations(kernel::ProgramOp program) {
  llvm::DenseMap<StringAttr, kernel::Life> lives = kernel::lives(program);
  SmallVector<Placed> result;
  for (auto buffer : program.getBody().getOps<kernel::BufferOp>())
    if (buffer.getKind() == kernel::BufferKind::Activation)
      result.push_back(
          {buffer, lives.lookup(buffer.getSymNameAttr()), align64(buffer.sizeInBytes())});
  return result;
}

/// Gives `activation` the lowest offset where it overlaps none of `placed` that live with it.
void place(Placed &activation, ArrayRef<Placed *> placed) {
  SmallVector<const Placed *> rivals;
  for (const Placed *other : placed)
    if (activation.life.meets(other->life))
      rivals.push_back(other);
  llvm::sort(rivals, [](const Placed *a, const Placed *b) { return a->offset < b->offset; });
  for (const Placed *rival : rivals) {
    if (activation.offset + activation.bytes <= rival->offset)
      break;
    activation.offset = std::max(activation.offset, rival->offset + rival->bytes);
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
    SmallVector<Placed> all = activations(program);
    SmallVector<Placed *> order, placed;
    for (Placed &activation : all)
      order.push_back(&activation);
    llvm::stable_sort(order, [](const Placed *a, const Placed *b) { return a->bytes > b->bytes; });
    // What others write lies first and shares no bytes: the devices' programs have other shapes and
    // must agree about where it is. With flags in it, it lies elsewhere.
    const int64_t received = placeInOrder(program, kernel::BufferKind::Received);
    const int64_t begin = program.isDecode() ? 0 : received;
    int64_t end = begin;
    for (Placed *activation : order) {
      activation->offset = begin;
      place(*activation, placed);
      placed.push_back(activation);
      activation->buffer.setOffset(activation->offset);
      end = std::max(end, activation->offset + activation->bytes);
      unsharedBytes += activation->bytes;
    }
    arenaBytes += end;
    return end;
  }
};
} // namespace
} // namespace retort
