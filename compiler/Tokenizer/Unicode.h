//===- Unicode.h - Sets of code points and Unicode's ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace retort {

constexpr uint32_t kCodePoints = 0x110000;

/// A set of code points: inclusive ranges, ascending, disjoint and not adjacent.
class CodeSet {
public:
  CodeSet() = default;
  explicit CodeSet(std::vector<std::pair<uint32_t, uint32_t>> ranges);
  static CodeSet of(uint32_t code) { return CodeSet({{code, code}}); }
  CodeSet complement() const;
  CodeSet operator|(const CodeSet &other) const;
  bool contains(uint32_t code) const;
  bool empty() const { return ranges_.empty(); }
  const std::vector<std::pair<uint32_t, uint32_t>> &ranges() const { return ranges_; }
  bool operator==(const CodeSet &) const = default;

private:
  std::vector<std::pair<uint32_t, uint32_t>> ranges_;
};

/// A general category ("Lu") or a group of them ("L") in Unicode 16.0, as Oniguruma has it.
std::optional<CodeSet> unicodeCategory(std::string_view name);
/// White space as Oniguruma's \s has it: Unicode's White_Space.
CodeSet unicodeSpace();
/// Rust's char::is_numeric: the N categories of Unicode 17.0.
CodeSet unicodeNumeric();
/// Rust's regex crate's \w.
CodeSet unicodeWord();

/// One level of a canonical decomposition in Unicode 9.0, as tokenizers' NFC has it; `second` 0:
/// none.
struct Decomposition {
  uint32_t code, first, second;
  bool composes; ///< NFC puts it together again
};
std::vector<Decomposition> unicodeDecompositions();
/// Code points with a canonical combining class other than 0, ascending.
std::vector<std::pair<uint32_t, uint8_t>> unicodeCombiningClasses();

} // namespace retort
