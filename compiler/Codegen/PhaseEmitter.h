//===- PhaseEmitter.h - A phase's function over a range of its tiles -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/Kernel/KernelOps.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Module.h"

namespace retort::codegen {

/// Makes `void phase(step*, scratch*, i64 begin, i64 end, buffers...)`, which runs tiles begin to
/// end - 1 of `phase`. `buffers` are its arguments after `end`: a pointer each, or for a cache its
/// offset in a page. Different buffers never overlap while both live, so the pointers are noalias.
llvm::Function *emitPhaseFunction(kernel::ProgramOp program, kernel::PhaseOp phase,
                                  mlir::ArrayRef<kernel::BufferOp> buffers,
                                  const mlir::SymbolTable &symbols, llvm::Module &module,
                                  const llvm::Function *like);

/// Gives `function` the string attributes (target-cpu, target-features) of `like`, if not null.
void copyTargetAttributes(llvm::Function &function, const llvm::Function *like);

} // namespace retort::codegen
