//===- Numbers.h - Numbers between bounds -----------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/grammar/Expression.h"
#include <optional>

namespace retort::grammar {

/// A bound of a number.
struct Bound {
  long double value; ///< a double, or a whole number that may have more digits
  bool exclusive;
};

/// Numbers of JSON as a double holds them: at most 19 digits before the point and 24 behind it.
Expr anyNumber();
/// At most 18 digits.
Expr anyInteger();
/// Whole numbers, of at most 18 digits where there is no bound. Throws Error (Usage) for a bound beyond that.
Expr integerBetween(std::optional<Bound> low, std::optional<Bound> high);
/// Numbers without exponents, with at most 6 digits behind the point, and at most 9 before it where there
/// is no bound. So a double holds each as another. Throws Error (Usage) for a bound that has more.
Expr numberBetween(std::optional<Bound> low, std::optional<Bound> high);

} // namespace retort::grammar
