//===- Hash.h - Mixing 64 bits --------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string_view>

namespace retort {

/// A bijection of 64 bits whose every output bit depends on every input bit: the finaliser of
/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
inline uint64_t mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

/// The first 64 bits of a hash written in hexadecimal.
inline uint64_t leadingBits(std::string_view hex) {
  uint64_t value = 0;
  for (char c : hex.substr(0, 16))
    value = value << 4 | static_cast<uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
  return value;
}

} // namespace retort
