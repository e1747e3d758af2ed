//===- Workspace.cpp - The content-addressed store of data work ------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Workspace.h"
#include "compiler/Bundle/OutputFile.h"
#include "runtime/base/MappedFile.h"
#include "runtime/base/Sha256.h"
#include "runtime/base/SystemError.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <pwd.h>
#include <sstream>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace fs = std::filesystem;

namespace retort {
namespace {

/// Closes a descriptor at the end of a scope.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0)
      ::close(fd);
  }
};

void syncPath(const std::string &path, int flags) {
  Descriptor file{::open(path.c_str(), flags | O_CLOEXEC)};
  if (file.fd < 0 || ::fsync(file.fd) != 0)
    failSystem(path, "cannot be flushed to the disk");
}

/// Renames a finished temporary to its name so that a crash leaves either nothing or all of it.
void publish(const std::string &temporary, const std::string &path) {
  syncPath(temporary, O_RDONLY);
  if (::rename(temporary.c_str(), path.c_str()) != 0)
    failSystem(path, "cannot be put in place");
  syncPath(fs::path(path).parent_path().empty() ? "." : fs::path(path).parent_path().string(),
           O_RDONLY | O_DIRECTORY);
}

std::string sumOf(const std::string &path) {
  const MappedFile file = MappedFile::open(path);
  Sha256 hash;
  constexpr uint64_t kPiece = 64 << 20; // pages that were hashed are given back
  for (uint64_t at = 0; at < file.bytes().size(); at += kPiece) {
    hash.add(file.bytes().subspan(at, std::min<uint64_t>(kPiece, file.bytes().size() - at)));
    file.release(at, kPiece);
  }
  return hash.hex();
}

/// Where there is no home: below /tmp, and refused if it is somebody else's.
std::string ownTemporaryFolder() {
  const std::string path = "/tmp/retort-" + std::to_string(::getuid());
  struct stat info;
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST)
    failSystem(path, "the workspace cannot be made");
  if (::lstat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != ::getuid())
    fail(ExitCode::Io, path + ": there is no home folder, and this is not yours: name a workspace "
                              "with RETORT_WORKSPACE");
  return path;
}

std::string temporaryFor(const std::string &path) {
  return path + ".tmp" + std::to_string(::getpid());
}

} // namespace

void Workspace::create() const {
  for (const char *part : {"objects", "sums", "partial", "locks"}) {
    std::error_code error;
    fs::create_directories(fs::path(dir_) / part, error);
    if (error)
      fail(exitCodeOf(error.value()), dir_ + ": the workspace cannot be made: " + error.message() +
                                          ": name another with --workspace");
  }
}

std::string Workspace::defaultDir() {
  auto variable = [](const char *name) -> std::string {
    const char *value = std::getenv(name);
    return value ? value : "";
  };
  if (std::string dir = variable("RETORT_WORKSPACE"); !dir.empty())
    return dir;
  if (std::string dir = variable("XDG_CACHE_HOME"); !dir.empty())
    return dir + "/retort";
  std::string home = variable("HOME");
  if (const struct passwd *user = home.empty() ? ::getpwuid(::getuid()) : nullptr)
    home = user->pw_dir;
  std::error_code ignored;
  return fs::is_directory(home, ignored) ? home + "/.cache/retort" : ownTemporaryFolder();
}

std::string Workspace::objectPath(const std::string &key, const std::string &kind) const {
  return dir_ + "/objects/" + key + "." + kind;
}

std::string Workspace::sumPath(const std::string &key, const std::string &kind) const {
  return dir_ + "/sums/" + key + "." + kind;
}

std::string Workspace::partialPath(const std::string &key) const {
  return dir_ + "/partial/" + key;
}

bool Workspace::lost(const std::string &path, const char *what) const {
  if (lost_.insert(path).second)
    std::fprintf(stderr, "retort: note: %s: %s, so it is made again\n", path.c_str(), what);
  return false;
}

bool Workspace::has(const std::string &key, const std::string &kind) const {
  const std::string path = objectPath(key, kind);
  if (whole_.contains(path))
    return true;
  std::error_code ignored;
  std::string sum;
  std::ifstream(sumPath(key, kind)) >> sum;
  if (!fs::exists(path, ignored))
    return !sum.empty() && lost(path, "is gone");
  if (sum != sumOf(path))
    return lost(path, "does not match its SHA-256");
  whole_.insert(path);
  return true;
}

std::string Workspace::getOrMake(const std::string &key, const std::string &kind,
                                 const std::function<void(const std::string &)> &make,
                                 const std::function<void()> &waiting) {
  const std::string path = objectPath(key, kind);
  if (has(key, kind))
    return path;
  create();
  const std::string lockPath = dir_ + "/locks/" + key;
  Descriptor lock{::open(lockPath.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666)};
  if (lock.fd < 0)
    failSystem(lockPath, "cannot be opened");
  if (::flock(lock.fd, LOCK_EX | LOCK_NB) != 0) {
    if (waiting)
      waiting();
    while (::flock(lock.fd, LOCK_EX) != 0)
      if (errno != EINTR)
        failSystem(lockPath, "cannot be locked");
    if (has(key, kind)) // made while we waited
      return path;
  }
  const std::string temporary = temporaryFor(path);
  try {
    make(temporary);
    // The sum first: an object whose sum is not there would be made again.
    writeFileAtomically(sumPath(key, kind), sumOf(temporary) + "\n");
    publish(temporary, path);
    ::unlink(partialPath(key).c_str());
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  ::unlink(lockPath.c_str());
  whole_.insert(path);
  return path;
}

void Workspace::put(const std::string &key, const std::string &kind,
                    const std::string &text) const {
  create();
  writeFileAtomically(sumPath(key, kind), sha256Hex(std::string_view(text)) + "\n");
  writeFileAtomically(objectPath(key, kind), text);
  whole_.insert(objectPath(key, kind));
}

std::optional<std::string> Workspace::read(const std::string &key, const std::string &kind) const {
  if (!has(key, kind))
    return std::nullopt;
  std::ifstream file(objectPath(key, kind), std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

/// Into a device or a pipe, which is written and never replaced.
static void writeThrough(const std::string &path, std::string_view content) {
  Descriptor file{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
  if (file.fd < 0)
    failSystem(path, "cannot be opened");
  while (!content.empty()) {
    const ssize_t written = ::write(file.fd, content.data(), content.size());
    if (written < 0 && errno != EINTR)
      failSystem(path, "cannot be written");
    content.remove_prefix(written < 0 ? 0 : static_cast<size_t>(written));
  }
}

void writeFileAtomically(const std::string &path, const std::string &content) {
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
    return writeThrough(path, content);
  OutputFile file(OutputFile::folderOf(path), path);
  file.write(content);
  file.closeAs(path);
}

uint64_t freeDiskBytes(const std::string &path) {
  fs::path folder = fs::absolute(path);
  while (!fs::exists(folder) && folder.has_relative_path())
    folder = folder.parent_path();
  struct statvfs info;
  if (::statvfs(folder.c_str(), &info) != 0)
    failSystem(path, "its free space cannot be read");
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

} // namespace retort
