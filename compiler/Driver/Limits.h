//===- Limits.h - What a specialist must keep within ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "llvm/ADT/STLFunctionalExtras.h"
#include <cstdint>
#include <string>

namespace retort {
class Recipe;
struct Plan;

/// `--budget` and `--latency`.
struct Limits {
  uint64_t bundleBytes = 0; ///< most bytes of the bundle; 0: any
  double decodeUs = 0;      ///< most microseconds to decode a token, as predicted; 0: any
  std::string on;           ///< the device that `decodeUs` is predicted for

  bool any() const { return bundleBytes || decodeUs > 0; }
  /// How far the plan is from what breaks a limit: "the bundle will take 87 MB, over the budget of
  /// 40 MB"; empty if it keeps within all.
  std::string brokenBy(const Plan &plan) const;
};

/// Gives the recipe's parameter for budgets its largest value with which the plan keeps within `limits`.
/// `plan` makes the plan of the recipe as it is then, and is called last with what is chosen. Returns a
/// note for the user; empty where nothing had to be chosen. Throws Error (Resources) if no value does.
std::string fitLimits(const Limits &limits, Recipe &recipe,
                      llvm::function_ref<const Plan &()> plan);

/// The largest number from `low` to `high` that fits, by bisection; `low` does. `fits` is called with
/// it last.
int64_t largestThat(llvm::function_ref<bool(int64_t)> fits, int64_t low, int64_t high);

/// The names of the recipes that come with Retort and that `have` is true of: "a, b".
std::string recipesThat(llvm::function_ref<bool(const Recipe &)> have);

} // namespace retort
