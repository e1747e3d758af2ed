//===- OutputFile.h - Files that appear only when whole --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace retort {

/// A file that has no name until closeAs() gives it one, so that being killed leaves nothing. On a
/// file system without O_TMPFILE it has a hidden name, removed by the destructor.
class OutputFile {
public:
  /// In `folder`; `shown` names the output in messages. Throws Error (failSystem).
  OutputFile(const std::string &folder, std::string shown);
  ~OutputFile();
  OutputFile(const OutputFile &) = delete;
  OutputFile &operator=(const OutputFile &) = delete;

  uint64_t bytes() const { return bytes_; }
  /// Throws Error: Resources on a full disk, with what is written, wanted and free; Io.
  void write(std::string_view text);
  /// Over bytes that were written before.
  void writeAt(uint64_t offset, std::string_view text);
  /// Makes the content durable, then names the file, replacing one of that name. Once, last.
  void closeAs(const std::string &path);

  /// The folder that holds `path`: "." if it names none.
  static std::string folderOf(const std::string &path);

private:
  [[noreturn]] void refused(const char *what, uint64_t wanted) const;
  std::string hiddenName() const;
  std::string folder_, shown_;
  std::string temporary_; ///< empty: the file has no name
  int fd_ = -1;
  uint64_t bytes_ = 0;
};

/// A folder that appears under its name only when whole: made under a hidden name beside it,
/// removed by the destructor unless commit() returned.
class OutputDirectory {
public:
  /// Throws Error (failSystem).
  explicit OutputDirectory(std::string path);
  ~OutputDirectory();
  OutputDirectory(const OutputDirectory &) = delete;
  OutputDirectory &operator=(const OutputDirectory &) = delete;

  /// Where its files are written.
  const std::string &path() const { return temporary_; }
  /// Gives it its name, replacing what bears it. Returns the bytes of its files.
  uint64_t commit();

private:
  std::string final_, temporary_;
};

} // namespace retort
