//===- Program.h - A bundle's code, loaded ----------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/abi/cpu_program.h"
#include "runtime/src/engine/Manifest.h"
#include <span>
#include <string>

namespace retort::engine {

/// Whether this CPU and operating system can run code for an instruction set: "x86-64-v4" here
/// means AVX-512 F, BW, VL and DQ with VNNI and BF16; "x86-64-v3" means AVX2, FMA, F16C and BMI2.
bool cpuRuns(const std::string &isa);

/// Whether an entry of the manifest is for this CPU.
bool hasCodeForCpu(const Manifest &manifest);

/// program.so with the entry that suits this CPU. The bytes are copied to anonymous memory first
/// (memfd), so what runs is what was checked, whatever becomes of the file.
class Program {
public:
  /// `isa` chooses the entry; empty: the best that the CPU runs. Throws Error: Unsupported if there
  /// is none; BadInput if the part cannot be loaded or lacks the symbol; Resources, Io.
  /// `sha256` is of the code, and compared with what is loaded: a copy that nobody can change.
  static Program load(std::span<const uint8_t> sharedObject, const std::string &sha256,
                      const Manifest &manifest, const std::string &isa, const std::string &where);
  Program(Program &&other) noexcept;
  Program &operator=(Program &&) = delete;
  ~Program();

  retort_cpu_entry entry() const { return entry_; }
  const std::string &isa() const { return isa_; }

private:
  Program() = default;
  void *handle_ = nullptr;
  retort_cpu_entry entry_ = nullptr;
  std::string isa_;
};

} // namespace retort::engine
