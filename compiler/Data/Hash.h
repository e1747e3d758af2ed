//===- Hash.h - Numbers of hashes -------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/base/Mix.h"
#include <cstdint>
#include <string_view>

namespace retort {

/// The first 64 bits of a hash written in hexadecimal.
inline uint64_t leadingBits(std::string_view hex) {
  uint64_t value = 0;
  for (char c : hex.substr(0, 16))
    value = value << 4 | static_cast<uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
  return value;
}

} // namespace retort
