//===- Unicode.cpp - Sets of code points and Unicode's --------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Tokenizer/Unicode.h"
#include <algorithm>
#include <cstring>

namespace retort {
namespace {
#include "compiler/Tokenizer/Unicode.inc"

template <size_t N> uint32_t runEnd(const uint32_t (&runs)[N], size_t i, unsigned shift) {
  return i + 1 < N ? (runs[i + 1] >> shift) - 1 : kCodePoints - 1;
}
} // namespace

CodeSet::CodeSet(std::vector<std::pair<uint32_t, uint32_t>> ranges) {
  std::sort(ranges.begin(), ranges.end());
  for (auto [low, high] : ranges) {
    if (!ranges_.empty() && low <= ranges_.back().second + 1)
      ranges_.back().second = std::max(ranges_.back().second, high);
    else
      ranges_.push_back({low, high});
  }
}

CodeSet CodeSet::complement() const {
  std::vector<std::pair<uint32_t, uint32_t>> rest;
  uint32_t next = 0;
  for (auto [low, high] : ranges_) {
    if (low > next)
      rest.push_back({next, low - 1});
    next = high + 1;
  }
  if (next < kCodePoints)
    rest.push_back({next, kCodePoints - 1});
  return CodeSet(std::move(rest));
}

CodeSet CodeSet::operator|(const CodeSet &other) const {
  auto all = ranges_;
  all.insert(all.end(), other.ranges_.begin(), other.ranges_.end());
  return CodeSet(std::move(all));
}

bool CodeSet::contains(uint32_t code) const {
  auto it = std::upper_bound(ranges_.begin(), ranges_.end(), std::pair{code, UINT32_MAX});
  return it != ranges_.begin() && code <= std::prev(it)->second;
}

std::optional<CodeSet> unicodeCategory(std::string_view name) {
  bool wanted[std::size(kCategoryNames)] = {}, any = false;
  for (size_t i = 0; i < std::size(kCategoryNames); ++i)
    any |= wanted[i] =
        name == kCategoryNames[i] || (name.size() == 1 && name[0] == kCategoryNames[i][0]);
  if (!any)
    return std::nullopt;
  std::vector<std::pair<uint32_t, uint32_t>> ranges;
  for (size_t i = 0; i < std::size(kCategoryRuns); ++i)
    if (wanted[kCategoryRuns[i] & 255])
      ranges.push_back({kCategoryRuns[i] >> 8, runEnd(kCategoryRuns, i, 8)});
  return CodeSet(std::move(ranges));
}

CodeSet unicodeSpace() {
  return CodeSet({{9, 13},
                  {0x20, 0x20},
                  {0x85, 0x85},
                  {0xA0, 0xA0},
                  {0x1680, 0x1680},
                  {0x2000, 0x200A},
                  {0x2028, 0x2029},
                  {0x202F, 0x202F},
                  {0x205F, 0x205F},
                  {0x3000, 0x3000}});
}

CodeSet unicodeNumeric() {
  std::vector<std::pair<uint32_t, uint32_t>> later;
  for (size_t i = 0; i < std::size(kLaterNumeric); i += 2)
    later.push_back({kLaterNumeric[i], kLaterNumeric[i + 1]});
  return *unicodeCategory("N") | CodeSet(std::move(later));
}

CodeSet unicodeWord() {
  std::vector<std::pair<uint32_t, uint32_t>> ranges;
  for (size_t i = 0; i < std::size(kWordRuns); ++i)
    if (kWordRuns[i] & 1)
      ranges.push_back({kWordRuns[i] >> 1, runEnd(kWordRuns, i, 1)});
  return CodeSet(std::move(ranges));
}

std::vector<Decomposition> unicodeDecompositions() {
  std::vector<Decomposition> rows;
  for (const DecompositionRow &row : kDecompositions)
    rows.push_back({row.code, row.first, row.second, row.composes != 0});
  return rows;
}

std::vector<std::pair<uint32_t, uint8_t>> unicodeCombiningClasses() {
  std::vector<std::pair<uint32_t, uint8_t>> classes;
  for (size_t i = 0; i < std::size(kCombiningRuns); ++i)
    if (kCombiningRuns[i] & 255)
      for (uint32_t c = kCombiningRuns[i] >> 8; c <= runEnd(kCombiningRuns, i, 8); ++c)
        classes.push_back({c, uint8_t(kCombiningRuns[i])});
  return classes;
}

} // namespace retort
