//===- Case.h - Characters as Python's str sees them ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace retort::chat {

enum class Case { Upper, Lower, Title };

/// A character in another case: `many` if it becomes several, else `one`.
struct Cased {
  uint32_t one;
  std::string_view many;
};
Cased changeCase(Case to, uint32_t code);
/// Whether repr() writes the character as an escape.
bool isUnprintable(uint32_t code);
/// str.isspace()
bool isSpace(uint32_t code);
/// Where str.splitlines() ends a line.
bool isLineEnd(uint32_t code);

} // namespace retort::chat
