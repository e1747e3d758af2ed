//===- CpuEmitter.h - kernel.program -> LLVM IR ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/Kernel/KernelOps.h"
#include "llvm/IR/Module.h"
#include <cstdint>
#include <string>

namespace retort::codegen {

/// Adds to `module` the function `symbol` (a retort_cpu_entry) that runs `program`, one outlined
/// function for each distinct shape of phase, and declarations of the microkernels they call.
/// Every function gets the attributes `like` has, so that LLVM inlines microkernels; `like` may be
/// null. Throws retort::Error (Internal) for a program without planned offsets.
void emitProgram(kernel::ProgramOp program, llvm::Module &module, const std::string &symbol,
                 const llvm::Function *like);

/// Bytes of per-thread scratch that the program's phases need, a multiple of 64.
int64_t scratchBytes(kernel::ProgramOp program);

/// "retort_step_v4" for "x86-64-v4".
std::string entrySymbol(const std::string &isa);

} // namespace retort::codegen
