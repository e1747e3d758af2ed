//===- GgufBytes.h - Writing GGUF files, right and wrong --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace retort::test {

/// Appends what it is told to, whether it makes sense or not.
struct Bytes {
  std::vector<uint8_t> data;

  template <typename T> Bytes &put(T value) {
    const auto *bytes = reinterpret_cast<const uint8_t *>(&value);
    data.insert(data.end(), bytes, bytes + sizeof value);
    return *this;
  }
  Bytes &raw(std::string_view text) {
    data.insert(data.end(), text.begin(), text.end());
    return *this;
  }
  Bytes &string(std::string_view text) { return put<uint64_t>(text.size()).raw(text); }
  Bytes &header(uint64_t tensors, uint64_t values, uint32_t version = 3) {
    return raw("GGUF").put(version).put(tensors).put(values);
  }
  Bytes &key(std::string_view name, uint32_t type) { return string(name).put(type); }
  Bytes &u32(std::string_view name, uint32_t value) { return key(name, 4).put(value); }
  Bytes &tensor(std::string_view name, std::vector<uint64_t> fastestFirst, uint32_t type,
                uint64_t offset) {
    string(name).put(static_cast<uint32_t>(fastestFirst.size()));
    for (uint64_t size : fastestFirst)
      put(size);
    return put(type).put(offset);
  }
  Bytes &align(size_t to = 32) {
    data.resize((data.size() + to - 1) / to * to);
    return *this;
  }
  Bytes &zeros(size_t count) {
    data.resize(data.size() + count);
    return *this;
  }
};

} // namespace retort::test
