//===- Buffer.h - Memory from the operating system --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>

namespace retort::engine {

/// Zeroed memory, aligned to 4096, taken from the system page by page as it is first written.
class Buffer {
public:
  Buffer() = default;
  /// Throws Error (Resources) with the size if it is refused; `what` names it in the message.
  Buffer(uint64_t bytes, const std::string &what);
  Buffer(Buffer &&other) noexcept;
  Buffer &operator=(Buffer &&other) noexcept;
  ~Buffer();
  uint8_t *data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

private:
  uint8_t *data_ = nullptr;
  uint64_t bytes_ = 0;
};

/// Bytes for people: "4096 bytes", "91.2 MB".
std::string sizeText(uint64_t bytes);

} // namespace retort::engine
