//===- CudaArch.h - Names of GPU architectures ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <compare>
#include <optional>
#include <string>
#include <string_view>

namespace retort {

/// A GPU architecture in NVIDIA's names: "sm_90a" of code for it, "compute_120" of PTX. Code with
/// the suffix 'a' runs on exactly that one, with 'f' on it and later ones of its major version,
/// without on those and, as PTX, on all later ones.
struct CudaArch {
  int number = 0; ///< ten times the compute capability: 80, 90, 120
  char suffix = 0;

  int major() const { return number / 10; }
  int minor() const { return number % 10; }
  /// Nothing where `text` is not `prefix`, two or three digits, and perhaps a suffix.
  static std::optional<CudaArch> parse(std::string_view text, std::string_view prefix = "sm_");
  std::string text(const char *prefix = "sm_") const;
  /// What PTX for this architecture and all later ones is named after.
  CudaArch withoutSuffix() const { return {number}; }
  auto operator<=>(const CudaArch &) const = default;
};

} // namespace retort
