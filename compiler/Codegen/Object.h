//===- Object.h - LLVM IR -> object file -> shared object ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "llvm/IR/Module.h"
#include <memory>
#include <string>
#include <vector>

namespace retort::codegen {

/// The microkernels of `isa` as a module that phases are emitted into. Throws retort::Error: Usage
/// if this build has none for `isa`, Internal if the bitcode cannot be read.
std::unique_ptr<llvm::Module> loadKernels(llvm::LLVMContext &context, const std::string &isa);

/// Any microkernel of `module`: its attributes say what the emitted code is compiled for.
const llvm::Function *anyKernel(const llvm::Module &module);

/// Makes everything but `entry` private, optimises at -O3 and compiles to an ELF object.
std::string compileObject(llvm::Module &module, const std::string &entry);

/// Links objects to a shared object that exports `entries` and needs nothing. Throws retort::Error:
/// Internal with the linker's message, Io if a temporary file cannot be written.
std::string linkShared(const std::vector<std::string> &objects,
                       const std::vector<std::string> &entries);

} // namespace retort::codegen
