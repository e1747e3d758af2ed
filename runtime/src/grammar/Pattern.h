//===- Pattern.h - Regular expressions --------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/grammar/Expression.h"
#include <string_view>

namespace retort::grammar {

/// How the characters of a text are written.
enum class Spelling {
  Plain, ///< as they are, in UTF-8
  Json   ///< as inside a string of JSON: escaped where they must be, and then as short as can be
};

/// The texts of one character of a set.
Expr spelled(const CharSet &set, Spelling spelling);
/// A text.
Expr spelled(std::string_view text, Spelling spelling);

/// The texts that a regular expression matches: as a whole, or, if `search`, anywhere, unless it begins
/// with ^ or ends with $. docs/serve.md lists what it may hold. Throws Error (Usage) that says at which
/// character it is wrong.
Expr compilePattern(std::string_view pattern, Spelling spelling, bool search = false);

} // namespace retort::grammar
