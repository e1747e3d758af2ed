//===- Codegen.h - From a kernel.program to a CPU program ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/Kernel/KernelOps.h"
#include <cstdint>
#include <string>
#include <vector>

namespace retort {

/// Where a target's code finds parameters, and what a page of its cache takes.
struct ModelLayout {
  /// Where a parameter lies in the target's weights. Offsets are multiples of 64, ascending.
  struct Param {
    std::string name;           ///< symbol of the lm.param
    std::string format;         ///< "f32", "i4g32s", ... (runtime/base/Names.h)
    std::string layout;         ///< "rows16", "mma16_gated", ..., or "" for a vector of f32
    std::vector<int64_t> shape; ///< logical
    int64_t offset = 0, bytes = 0;
    bool operator==(const Param &) const = default;
  };
  std::vector<Param> params;
  int64_t weightBytes = 0;    ///< of all parameters
  int64_t cachePageBytes = 0; ///< manifest.cache.page_bytes
  int64_t pageRows = 0;       ///< positions in a page
  std::string cacheFormat;    ///< for people: "f16", or "f16, f8e4m3" if blocks differ
  int64_t vocab = 0;          ///< logits of a row
  bool operator==(const ModelLayout &) const = default;
};

/// The layout of a planned program.
ModelLayout layOut(kernel::ProgramOp program);

/// What a bundle needs of a model compiled for a CPU: the shared object and the numbers for its
/// manifest.
struct CompiledProgram : ModelLayout {
  struct Entry {
    std::string isa; ///< "x86-64-v3" or "x86-64-v4"
    std::string
        symbol; ///< exported function of type retort_cpu_entry (runtime/src/abi/cpu_program.h)
  };
  std::string sharedObject; ///< program.so: no dependency, only the entries exported
  std::vector<Entry> entries;
  int64_t activationBytes = 0;       ///< manifest.buffers.activations
  int64_t scratchBytesPerThread = 0; ///< manifest.buffers.scratch_per_thread
  int64_t maxRows = 0;               ///< most rows of a step
  int64_t bytesPerToken = 0;         ///< weight bytes read to decode one token
};

/// Compiles a planned program (after plan-buffers) for the CPU: for each of `isas`, which are of
/// cpuIsas() (Targets.h), best last, in a thread of its own. The bytes depend on the program and on
/// this build alone. Throws retort::Error: Usage for an unknown instruction set, Internal for a
/// program that is not planned or that the emitter cannot express, Io if a temporary file cannot be
/// written.
CompiledProgram emitCpu(kernel::ProgramOp program, const std::vector<std::string> &isas);

/// The LLVM IR that the emitter makes of `program` for one instruction set, before the microkernels
/// are linked in: text, for tests and for reading.
std::string emitCpuText(kernel::ProgramOp program, const std::string &isa);

} // namespace retort
