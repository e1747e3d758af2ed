//===- Keys.h - Who may ask -------------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace retort::server {

/// Throws Error (Usage) if others than a file's owner and group may read or change it, or Io.
void requirePrivate(const std::string &path);

/// API keys, kept as hashes.
class Keys {
public:
  Keys() = default;
  /// A key a line; blank lines and those that begin with '#' are left out. Throws Error: Io, Usage
  /// as requirePrivate(), BadInput for a file without keys or with a key that no header can hold.
  static Keys read(const std::string &path);
  bool empty() const { return hashes_.empty(); }
  /// Takes the same time for every wrong key.
  bool holds(std::string_view key) const;

private:
  using Hash = std::array<uint8_t, 32>;
  static Hash hash(std::string_view key);
  std::vector<Hash> hashes_;
};

} // namespace retort::server
