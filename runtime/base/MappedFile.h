//===- MappedFile.h - A file mapped read-only -------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace retort {

/// A regular file mapped read-only for the life of the object. Pages are read on demand, so opening
/// costs nothing for the file's size. Movable, not copyable.
class MappedFile {
public:
  /// Throws Error (Io) that names the path if it cannot be opened or is not a regular file.
  static MappedFile open(const std::string &path);
  /// The file's bytes in memory of this process alone, in huge pages where the machine has them: what
  /// becomes of the file no longer matters. `lock`: they are never paged out. Throws Error: Io as open(),
  /// Resources if memory is refused, or the lock (RLIMIT_MEMLOCK).
  static MappedFile copy(const std::string &path, bool lock);
  MappedFile() = default;
  MappedFile(MappedFile &&other) noexcept;
  MappedFile &operator=(MappedFile &&other) noexcept;
  ~MappedFile();

  std::span<const uint8_t> bytes() const { return {data_, size_}; }
  const std::string &path() const { return path_; }
  /// Drops the pages of [offset, offset + size) of a mapped file from this process's memory (they can
  /// be read again); does nothing to a copy.
  void release(uint64_t offset, uint64_t size) const;

private:
  const uint8_t *data_ = nullptr;
  uint64_t size_ = 0;
  bool copied_ = false;
  std::string path_;
};

} // namespace retort
