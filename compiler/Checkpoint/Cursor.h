//===- Cursor.h - Reading untrusted bytes in order --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/base/Error.h"
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace retort {

/// a * b and a + b, or nothing if the result does not fit.
inline std::optional<uint64_t> checkedMul(uint64_t a, uint64_t b) {
  uint64_t result;
  if (__builtin_mul_overflow(a, b, &result))
    return std::nullopt;
  return result;
}
inline std::optional<uint64_t> checkedAdd(uint64_t a, uint64_t b) {
  uint64_t result;
  if (__builtin_add_overflow(a, b, &result))
    return std::nullopt;
  return result;
}

/// Text out of a file, fit for a one-line message: quoted, control characters and non-ASCII bytes
/// escaped, at most 80 characters of it.
std::string quote(std::string_view text);

/// The whole of a small text file. Throws Error (Io; BadInput if it has more than `limit` bytes).
std::string readTextFile(const std::string &path, uint64_t limit);
/// Most bytes of a config.json, or of an adapter's.
constexpr uint64_t kMaxConfigBytes = 16 << 20;

/// Whether every character is visible ASCII, as tensor names and keys are.
bool isVisibleAscii(std::string_view text);

/// Reads little-endian numbers and strings, none beyond the end. Errors are BadInput, name the file
/// and the byte, and end with what to do.
class Cursor {
public:
  Cursor(std::span<const uint8_t> bytes, const std::string &path) : bytes_(bytes), path_(path) {}

  uint64_t position() const { return position_; }
  uint64_t remaining() const { return bytes_.size() - position_; }

  [[noreturn]] void damaged(uint64_t at, const std::string &what) const {
    fail(ExitCode::BadInput, path_ + ": byte " + std::to_string(at) + ": " + what +
                                 ": the file is damaged, download it again");
  }

  /// The next `size` bytes; `what` says what they are.
  std::span<const uint8_t> take(uint64_t size, std::string_view what) {
    if (size > remaining())
      damaged(position_, std::string(what) + " needs " + std::to_string(size) +
                             " bytes but the file has " + std::to_string(remaining()) + " more");
    std::span<const uint8_t> result = bytes_.subspan(position_, size);
    position_ += size;
    return result;
  }

  template <typename T> T read(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  /// A u64 length and that many bytes.
  std::string_view readString(std::string_view what) {
    uint64_t length = read<uint64_t>(what);
    std::span<const uint8_t> text = take(length, what);
    return {reinterpret_cast<const char *>(text.data()), text.size()};
  }

private:
  std::span<const uint8_t> bytes_;
  const std::string &path_;
  uint64_t position_ = 0;
};

} // namespace retort
