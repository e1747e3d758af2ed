//===- ProgramBuilder.h - Append phases to a kernel.program ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/Kernel/Accesses.h"
#include "dialects/LM/LMOps.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"

namespace retort {

/// Columns `at` to `at + width - 1` of an activation's rows.
struct Columns {
  kernel::BufferOp buffer;
  int64_t at = 0, width = 0;
  bool isWhole() { return at == 0 && width == buffer.getTensor().getDimSize(1); }
};

/// What a program is for.
struct ProgramKind {
  std::string name;     ///< the program's symbol after the model's: "kernel", "decode", "prefill"
  std::string target;   ///< "cuda", or empty for a CPU
  std::string step;     ///< "decode" or "prefill" on CUDA, else empty
  int64_t maxRows = 64; ///< most rows of a step
  int64_t rowTile = 0;  ///< rows of a tile of a prefill phase; 0 elsewhere
  bool cuda() const { return !target.empty(); }
};

/// Builds a kernel.program in order: buffers as they are asked for, and phases. A phase that
/// conflicts with those before it has a wait before it, an exchange if the other device wrote too.
class ProgramBuilder {
public:
  ProgramBuilder(lm::ModelOp model, const ProgramKind &kind);

  kernel::ProgramOp getProgram() { return program; }
  mlir::MLIRContext *getContext() { return program.getContext(); }

  /// A new activation of max_rows x features f32.
  kernel::BufferOp activation(mlir::Location loc, mlir::StringRef name, int64_t features);
  /// Where this device receives what the product of the open phase sends: the last of its ops.
  kernel::BufferOp received(mlir::Location loc, int64_t features);
  /// A block's share of a page of the KV cache.
  kernel::BufferOp cache(mlir::Location loc, mlir::StringRef name, int64_t kvHeads, int64_t dims,
                         mlir::Type element);
  /// Inputs and outputs of the step: one buffer a name.
  kernel::BufferOp stepBuffer(mlir::StringRef name, kernel::BufferKind kind,
                              mlir::RankedTensorType type);
  kernel::BufferOp constant(mlir::Location loc, mlir::StringRef name, mlir::ArrayRef<float> values);

  /// The buffer of a vector parameter (a gain, a bias). Fails with a diagnostic at `user`.
  mlir::FailureOr<kernel::BufferOp> vectorParam(mlir::Operation *user, mlir::StringRef name);
  /// The buffer of a matrix parameter in the target's layout, `gated` or plain; a parameter has one
  /// layout. Fails with a diagnostic at `user`.
  mlir::FailureOr<kernel::BufferOp> matrixParam(mlir::Operation *user, mlir::StringRef name,
                                                bool gated = false);
  /// Whether nothing has asked for the parameter in the plain layout.
  bool canBeGated(mlir::StringRef param);

  /// Opens a phase; ops are then created through the builder returned.
  mlir::OpBuilder phase(mlir::Location loc, mlir::StringRef name, mlir::StringRef label);

  /// Ends the last phase, gives phases their tiles, appends weight.pack to the program of every
  /// matrix asked for that has none, and a cast to f32 to vectors of another type.
  void finish();

  int64_t numPhases() const { return phases; }
  int64_t numWaits() const { return waits; }

private:
  lm::ModelOp model;
  ProgramKind kind;
  kernel::ProgramOp program;
  kernel::PhaseOp firstPhase, lastPhase, open; ///< the last is the one before `open`
  llvm::MapVector<mlir::StringAttr, kernel::BufferOp> params;
  llvm::StringMap<kernel::BufferOp> stepBuffers;
  llvm::StringSet<> names;
  kernel::AccessHistory history; ///< of the phases before `open`
  int64_t phases = 0, waits = 0;
  /// So far; sends since the last exchange, those of `open` apart.
  int64_t exchanges = 0, sends = 0, openSends = 0;

  void waitIfNeeded();
  void close();
  void setTiles();
  void packParams();
  MatrixLayout layout(bool gated) const;
  std::string unique(mlir::StringRef name);
  mlir::OpBuilder bufferBuilder();
  mlir::FailureOr<lm::ParamOp> lookup(mlir::Operation *user, mlir::StringRef name, int64_t rank);
};

/// " in blk.3" for an op of that block, "" outside of blocks: what diagnostics end with.
std::string inLayer(mlir::Operation *op);

} // namespace retort
