//===- Targets.h - What --target names -------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/base/CudaArch.h"
#include <string>
#include <string_view>
#include <vector>

namespace retort {

/// The targets of a compile.
struct CompileTargets {
  std::vector<std::string> cpu; ///< instruction sets, as cpuIsas() lists them; empty: no CPU
  std::vector<CudaArch> cuda;   ///< ascending, each once; empty: no GPU
};

/// The instruction sets of CPUs that this build has microkernels for, best last.
std::vector<std::string> cpuIsas();

/// Parses "cpu", "cpu:x86-64-v3", "cuda:sm_80,sm_90" or "cpu,cuda:sm_90": names with commas between
/// them, where an instruction set or architecture belongs to the cpu or cuda before it. "cpu" alone
/// means all of cpuIsas(). sm_90 means sm_90a: there is no other GPU of 9.0. Throws retort::Error:
/// Usage for what is no target; Unsupported for an architecture before sm_80, with both numbers.
CompileTargets parseTargets(std::string_view text);

} // namespace retort
