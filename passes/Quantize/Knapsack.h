//===- Knapsack.h - One choice of each group, within a size -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace retort {

/// A way to do one thing.
struct Choice {
  double cost = 0;  ///< finite
  int64_t size = 0; ///< at least 0
};

/// For each group the index of one of its choices: of all combinations whose sizes have a sum of at most
/// `limit`, one with the least sum of costs; nothing if there is none. Every group has a choice.
/// Dynamic programming over the combinations that no other beats in both cost and size (Kellerer,
/// Pferschy, Pisinger, "Knapsack Problems", section 11.5). Where there are more than 16,384 of them
/// the cheapest in each 16,384th of `limit` are kept, so the sum of costs may be a little above the
/// least; the limit is kept exactly.
std::optional<std::vector<size_t>> cheapestWithin(std::span<const std::vector<Choice>> groups,
                                                  int64_t limit);

} // namespace retort
