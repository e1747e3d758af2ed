//===- Cursor.cpp - Reading untrusted bytes in order ----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Checkpoint/Cursor.h"
#include "runtime/base/MappedFile.h"

namespace retort {

std::string quote(std::string_view text) {
  constexpr size_t limit = 80;
  std::string result = "'";
  for (unsigned char c : text.substr(0, limit)) {
    if (c >= 0x20 && c < 0x7f) {
      result += static_cast<char>(c);
      continue;
    }
    constexpr char digits[] = "0123456789abcdef";
    result += {'\\', 'x', digits[c >> 4], digits[c & 15]};
  }
  return result + (text.size() > limit ? "...'" : "'");
}

bool isVisibleAscii(std::string_view text) {
  for (unsigned char c : text)
    if (c <= 0x20 || c >= 0x7f)
      return false;
  return true;
}

std::string readTextFile(const std::string &path, uint64_t limit) {
  MappedFile file = MappedFile::open(path);
  if (file.bytes().size() > limit)
    fail(ExitCode::BadInput, path + ": has " + std::to_string(file.bytes().size()) +
                                 " bytes, more than the " + std::to_string(limit) +
                                 " that such a file may have: check that it is the right file");
  return {reinterpret_cast<const char *>(file.bytes().data()), file.bytes().size()};
}

} // namespace retort
