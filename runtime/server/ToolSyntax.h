//===- ToolSyntax.h - How a model writes calls ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "retort.hpp"
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace retort::server {

inline constexpr std::string_view kSpaces =
    " \t\r\n"; ///< that answers and templates put around calls

/// What stands around the names and the arguments of calls.
class ToolText {
public:
  struct Piece {
    enum Kind { Text, Token, Digits, Id } kind; ///< Token: a special one, by its name
    std::string text;
    bool operator==(const Piece &) const = default;
  };
  enum class Match { No, Begun, Whole };

  void add(Piece::Kind kind, std::string text);
  /// Whether `text` begins with this, or may with more of it; `size`: of what it begins with.
  Match match(std::string_view text, size_t &size) const;
  /// One text for both, with digits where they have other numbers. Empty: they differ otherwise.
  static std::optional<ToolText> merged(const ToolText &a, const ToolText &b);

  std::vector<Piece> pieces;
};

/// The calls of an answer are before NAME middle ARGUMENTS (between NAME middle ARGUMENTS)* after, the
/// arguments as a JSON object.
struct ToolSyntax {
  ToolText before, middle, after;
  std::optional<ToolText> between; ///< none: one call an answer
  /// What tells calls from text: a special token or a text, which stand nowhere else, or, if
  /// `onlyFirst`, a text that stands at an answer's beginning. The first piece of `before` begins with it.
  ToolText::Piece mark;
  bool onlyFirst = false;
  std::vector<int32_t> tokens; ///< the special ones of all this
  bool hasIds = false;         ///< the texts hold the calls' ids
};

/// Of a function's name.
bool isNameCharacter(char c);

/// Learns it from what the model's chat template makes of a conversation with calls. None: the template
/// knows no calls, or writes their arguments otherwise than as JSON.
std::optional<ToolSyntax> findToolSyntax(const Model &model);

} // namespace retort::server
