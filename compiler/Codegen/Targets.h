//===- Targets.h - What --target names -------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <compare>
#include <string>
#include <string_view>
#include <vector>

namespace retort {

/// A GPU architecture in nvcc's names.
struct CudaArch {
  int number = 0;     ///< 80, 90, 120: ten times the compute capability
  std::string suffix; ///< "a": features of this architecture alone; "f": of its family; or empty

  std::string code() const { return "sm_" + std::to_string(number) + suffix; }
  /// PTX for this architecture and all later ones.
  std::string ptx() const { return "compute_" + std::to_string(number); }
  /// Bytes of shared memory that one CTA may have.
  int64_t sharedBytesLimit() const;
  auto operator<=>(const CudaArch &) const = default;
};

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
