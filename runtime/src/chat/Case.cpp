//===- Case.cpp - Characters as Python's str sees them --------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/chat/Case.h"

#include <algorithm>
#include <iterator>

namespace retort::chat {
namespace {

/// Every `stride`-th character of [first, last] moves by `delta`.
struct CaseRange {
  uint32_t first, last, stride;
  int32_t delta;
};
struct CaseMany {
  uint32_t code;
  const char *utf8;
};
struct CodeRange {
  uint32_t first, last;
};
#include "runtime/src/chat/Unicode.inc"

template <class Range> const Range *holding(const Range *begin, const Range *end, uint32_t code) {
  const Range *it = std::upper_bound(
      begin, end, code, [](uint32_t value, const Range &range) { return value < range.first; });
  return it != begin && code <= std::prev(it)->last ? std::prev(it) : nullptr;
}

template <size_t N, size_t M>
Cased change(const CaseRange (&ranges)[N], const CaseMany (&many)[M], uint32_t code) {
  for (const CaseMany &entry : many)
    if (entry.code == code)
      return {code, entry.utf8};
  const CaseRange *range = holding(std::begin(ranges), std::end(ranges), code);
  if (range && (code - range->first) % range->stride == 0)
    return {uint32_t(int64_t(code) + range->delta), {}};
  return {code, {}};
}

} // namespace

Cased changeCase(Case to, uint32_t code) {
  if (code < 0x80) {
    bool lower = code >= 'a' && code <= 'z', upper = code >= 'A' && code <= 'Z';
    if (to == Case::Lower)
      return {upper ? code + 32 : code, {}};
    return {lower ? code - 32 : code, {}};
  }
  switch (to) {
  case Case::Upper:
    return change(kUpper, kUpperMany, code);
  case Case::Lower:
    return change(kLower, kLowerMany, code);
  case Case::Title:
    return change(kTitle, kTitleMany, code);
  }
  return {code, {}};
}

bool isUnprintable(uint32_t code) {
  if (code < 0x80)
    return code < 0x20 || code == 0x7F;
  return holding(std::begin(kUnprintable), std::end(kUnprintable), code) != nullptr;
}

bool isSpace(uint32_t c) {
  return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x1F) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

bool isLineEnd(uint32_t c) {
  return (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

} // namespace retort::chat
