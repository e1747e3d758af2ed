//===- Utf8.h - Reading and repairing UTF-8 ---------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace retort {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD"; // U+FFFD

/// A character at the start of some bytes: valid, or the maximal part of one that is broken
/// (Unicode 3.9, "maximal subpart"). `bytes` is at least 1; `truncated`: the bytes end inside it.
struct Utf8Char {
  uint32_t code;
  uint8_t bytes;
  bool valid, truncated;
};

inline Utf8Char readUtf8(const char *text, size_t size) {
  const auto *p = reinterpret_cast<const uint8_t *>(text);
  uint8_t lead = p[0];
  if (lead < 0x80)
    return {lead, 1, true, false};
  if (lead < 0xC2 || lead > 0xF4)
    return {0xFFFD, 1, false, false};
  int more = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
  uint8_t low = 0x80, high = 0xBF; // of the second byte
  if (lead == 0xE0)
    low = 0xA0;
  else if (lead == 0xED)
    high = 0x9F;
  else if (lead == 0xF0)
    low = 0x90;
  else if (lead == 0xF4)
    high = 0x8F;
  uint32_t code = lead & (0x3F >> more);
  for (int i = 1; i <= more; ++i) {
    if (size_t(i) >= size)
      return {0xFFFD, uint8_t(i), false, true};
    if (p[i] < low || p[i] > high)
      return {0xFFFD, uint8_t(i), false, false};
    code = code << 6 | (p[i] & 0x3F);
    low = 0x80, high = 0xBF;
  }
  return {code, uint8_t(more + 1), true, false};
}

/// Reads a character of text known to be valid.
inline uint32_t nextCode(const char *&p) {
  auto b = reinterpret_cast<const uint8_t *>(p);
  if (b[0] < 0x80)
    return p += 1, b[0];
  if (b[0] < 0xE0)
    return p += 2, (b[0] & 0x1F) << 6 | (b[1] & 0x3F);
  if (b[0] < 0xF0)
    return p += 3, (b[0] & 0x0F) << 12 | (b[1] & 0x3F) << 6 | (b[2] & 0x3F);
  return p += 4,
         uint32_t(b[0] & 0x07) << 18 | (b[1] & 0x3F) << 12 | (b[2] & 0x3F) << 6 | (b[3] & 0x3F);
}

inline void appendUtf8(std::string &out, uint32_t code) {
  if (code < 0x80) {
    out += char(code);
  } else if (code < 0x800) {
    out += char(0xC0 | code >> 6);
    out += char(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += char(0xE0 | code >> 12);
    out += char(0x80 | (code >> 6 & 0x3F));
    out += char(0x80 | (code & 0x3F));
  } else {
    out += char(0xF0 | code >> 18);
    out += char(0x80 | (code >> 12 & 0x3F));
    out += char(0x80 | (code >> 6 & 0x3F));
    out += char(0x80 | (code & 0x3F));
  }
}

/// How many bytes at the start of the text are valid UTF-8.
inline size_t validPrefix(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    if (uint8_t(text[i]) < 0x80) {
      ++i;
      continue;
    }
    Utf8Char c = readUtf8(text.data() + i, text.size() - i);
    if (!c.valid)
      break;
    i += c.bytes;
  }
  return i;
}

/// Appends the text with U+FFFD for each maximal broken part.
inline void appendRepaired(std::string &out, std::string_view text) {
  while (!text.empty()) {
    size_t good = validPrefix(text);
    out.append(text.data(), good);
    text.remove_prefix(good);
    if (text.empty())
      return;
    out += kReplacement;
    text.remove_prefix(readUtf8(text.data(), text.size()).bytes);
  }
}

inline std::string repaired(std::string_view text) {
  std::string out;
  appendRepaired(out, text);
  return out;
}

} // namespace retort
