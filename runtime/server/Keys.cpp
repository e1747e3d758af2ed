//===- Keys.cpp - Who may ask ---------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Keys.h"
#include "runtime/base/SystemError.h"

#include <algorithm>
#include <fstream>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <sys/stat.h>

namespace retort::server {

void requirePrivate(const std::string &path) {
  struct stat info = {};
  if (::stat(path.c_str(), &info) != 0)
    failSystem(path, "cannot be read");
  if (info.st_mode & (S_IROTH | S_IWOTH))
    fail(ExitCode::Usage, path + ": every user of this machine may read or change it: run `chmod "
                                 "o-rwx` on it, and replace the keys if others did");
}

Keys::Hash Keys::hash(std::string_view key) {
  Hash result;
  ::SHA256(reinterpret_cast<const unsigned char *>(key.data()), key.size(), result.data());
  return result;
}

Keys Keys::read(const std::string &path) {
  requirePrivate(path);
  std::ifstream file(path);
  Keys keys;
  std::string line;
  for (size_t number = 1; std::getline(file, line); ++number) {
    if (!line.empty() && line.back() == '\r')
      line.pop_back();
    if (line.empty() || line[0] == '#')
      continue;
    if (!std::all_of(line.begin(), line.end(), [](char c) { return c > ' ' && c < 127; }))
      fail(ExitCode::BadInput, path + ":" + std::to_string(number) +
                                   ": a key has printable ASCII without spaces only: make another");
    keys.hashes_.push_back(hash(line));
  }
  if (file.bad() || (!file.eof() && file.fail()))
    failSystem(path, "cannot be read");
  if (keys.empty())
    fail(ExitCode::BadInput, path + ": holds no key: write one a line");
  return keys;
}

bool Keys::holds(std::string_view key) const {
  const Hash given = hash(key);
  bool held = false;
  for (const Hash &known : hashes_)
    held |= ::CRYPTO_memcmp(known.data(), given.data(), given.size()) == 0;
  return held;
}

} // namespace retort::server
