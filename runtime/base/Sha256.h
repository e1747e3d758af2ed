//===- Sha256.h - SHA-256 by OpenSSL's libcrypto ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace retort {

/// SHA-256 of what has been added so far; hex() ends it.
class Sha256 {
public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256 &) = delete;
  Sha256 &operator=(const Sha256 &) = delete;
  void add(std::span<const uint8_t> bytes);
  void add(std::string_view text);
  /// 64 lower-case hexadecimal digits. Call it once, last.
  std::string hex();

private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256Hex(std::span<const uint8_t> bytes);
std::string sha256Hex(std::string_view text);

} // namespace retort
