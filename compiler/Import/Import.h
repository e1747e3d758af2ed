//===- Import.h - From a checkpoint to the lm dialect -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Checkpoint/Checkpoint.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include <string>
#include <vector>

namespace retort {

/// Builds a module with the checkpoint's model as `lm.model @<symbol>`. No weight is read, but for
/// rope_freqs.weight, which becomes a rope scaling, and a head that may equal the embedding. Parameters have GGUF's names; the location of
/// each is NameLoc(checkpoint's tensor name) at its file. Loads the dialects that it needs. Throws
/// Error: BadInput (a tensor missing or of another shape, by name and with both shapes),
/// Unsupported (architecture, rope scaling, activation, an extra tensor, by name).
mlir::OwningOpRef<mlir::ModuleOp> importModel(mlir::MLIRContext &context,
                                              const Checkpoint &checkpoint,
                                              llvm::StringRef symbol = "teacher");

/// What an import leaves out of the checkpoint, a line for each kind of tensor: towers for images and
/// sound, heads for tokens after the next.
std::vector<std::string> leftOut(const Checkpoint &checkpoint);

} // namespace retort
