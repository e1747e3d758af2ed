//===- Mix.h - A number's bits, mixed ---------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

namespace retort {

/// Every bit of the result depends on every bit of x: the last steps of SplitMix64 (Steele, Lea, Flood,
/// OOPSLA 2014).
inline uint64_t mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

} // namespace retort
