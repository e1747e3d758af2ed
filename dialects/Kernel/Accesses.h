//===- Accesses.h - Which buffers tile ops touch, and when -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
// A tile op says of each buffer that it names how it touches it (TileOpInterface.td). From that
// follows where a program needs a kernel.wait: lower-to-kernel puts waits where AccessHistory finds
// a conflict, and kernel.program's verifier refuses a program in which it finds one. Between two
// waits is an epoch: phases of one epoch run at the same time.
#pragma once
#include "dialects/Kernel/KernelOps.h"
#include "llvm/ADT/DenseMap.h"

namespace retort::kernel {

/// An access of a phase's op.
struct PhaseAccess {
  PhaseOp phase;
  TileOpInterface op;
  Access access;
};

/// Two accesses of one buffer, the second of which has to come after the first is done everywhere.
struct Conflict {
  PhaseAccess earlier, later;
  bool exchange = false; ///< only a kernel.exchange between them would do
};

/// What the phases of a program have touched that a later phase may have to wait for.
class AccessHistory {
public:
  /// Why `phase` cannot follow at once; none if it can.
  std::optional<Conflict> conflict(PhaseOp phase) const;
  /// `phase` follows.
  void append(PhaseOp phase);
  /// A kernel.wait follows, or a kernel.exchange, for a phase and all before it.
  void wait(PhaseOp phase);
  void exchange(PhaseOp phase);

private:
  /// Of the phases that no wait has ended, in order.
  mlir::SmallVector<PhaseAccess> running;
  /// Of the phases that no exchange has ended: what was sent, and received.
  mlir::SmallVector<PhaseAccess> exchanged;
};

/// The epochs in which a buffer is used, counted from 0.
struct Life {
  int64_t first, last;
  bool meets(const Life &other) const { return first <= other.last && other.first <= last; }
};

/// Lives of the buffers that the phases of `program` touch.
llvm::DenseMap<mlir::StringAttr, Life> lives(ProgramOp program);

/// Verifies what kernel.program says of accesses and lives.
mlir::LogicalResult verifyAccesses(ProgramOp program);

} // namespace retort::kernel
