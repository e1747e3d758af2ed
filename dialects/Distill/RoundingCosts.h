//===- RoundingCosts.h - What a distill.probe finds -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// The file of a distill.probe (docs/ir.md). The executor fills it, the pass that chooses formats reads
// it. No MLIR and no torch here.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/base/NumberFormat.h"
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace retort {

struct RoundingCosts {
  /// Matrices that are rounded alike, since kernels multiply them together.
  struct Group {
    std::vector<std::string> params;
    /// Mean KL, in nats a token, of the model's distribution from that of the same model with only
    /// these rounded: of each of `formats`, at least 0.
    std::vector<double> kl;
  };
  /// All groups together cost about so many times the sum of what each costs alone, as measured
  /// (docs/experiments.md): what is lost before is in what layers read.
  static constexpr double kTogether = 1.4;
  int64_t tokens = 0; ///< that were predicted
  std::vector<NumberFormat> formats;
  std::vector<Group> groups;

  /// Throws Error (BadInput) if a cost is not finite.
  std::string toJson() const;
  /// Throws Error (BadInput) for what is no such file; `where` begins its message.
  static RoundingCosts fromJson(std::string_view text, const std::string &where);
};

} // namespace retort
