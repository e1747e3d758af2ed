//===- Targets.h - What --target names -------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/base/CudaArch.h"
#include <string_view>
#include <vector>

namespace retort {

/// The targets of a compile.
struct CompileTargets {
  bool cpu = false;
  std::vector<CudaArch> cuda; ///< ascending, each once; empty: no GPU
};

/// Parses "cpu", "cuda:sm_80,sm_90" or "cpu,cuda:sm_90": names with commas between them, where an
/// architecture belongs to the cuda before it. sm_90 means sm_90a: there is no other GPU of 9.0.
/// Throws retort::Error: Usage for what is no target; Unsupported for an architecture before sm_80,
/// with both numbers.
CompileTargets parseTargets(std::string_view text);

} // namespace retort
