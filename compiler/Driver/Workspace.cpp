//===- Workspace.cpp - The content-addressed store of data work ------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Workspace.h"
#include "compiler/Bundle/OutputFile.h"
#include "runtime/base/Error.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace fs = std::filesystem;

namespace retort {
namespace {

[[noreturn]] void failErrno(const std::string &path, const char *what) {
  const int error = errno;
  const bool full = error == ENOSPC || error == EDQUOT;
  fail(full ? ExitCode::Resources : ExitCode::Io,
       path + ": " + what + ": " + std::strerror(error) +
           (full ? ": free some space, what was computed is kept" : ""));
}

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
    failErrno(path, "cannot be flushed to the disk");
}

/// Renames a finished temporary to its name so that a crash leaves either nothing or all of it.
void publish(const std::string &temporary, const std::string &path) {
  syncPath(temporary, O_RDONLY);
  if (::rename(temporary.c_str(), path.c_str()) != 0)
    failErrno(path, "cannot be put in place");
  syncPath(fs::path(path).parent_path().empty() ? "." : fs::path(path).parent_path().string(),
           O_RDONLY | O_DIRECTORY);
}

std::string temporaryFor(const std::string &path) {
  return path + ".tmp" + std::to_string(::getpid());
}

} // namespace

Workspace::Workspace(std::string dir) : dir_(std::move(dir)) {
  for (const char *part : {"objects", "partial", "locks"}) {
    std::error_code error;
    fs::create_directories(fs::path(dir_) / part, error);
    if (error)
      fail(ExitCode::Io, dir_ + ": the workspace cannot be made: " + error.message() +
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
  return (home.empty() ? std::string("/tmp") : home) + "/.cache/retort";
}

std::string Workspace::objectPath(const std::string &key, const std::string &kind) const {
  return dir_ + "/objects/" + key + "." + kind;
}

std::string Workspace::partialPath(const std::string &key) const {
  return dir_ + "/partial/" + key;
}

bool Workspace::has(const std::string &key, const std::string &kind) const {
  return fs::exists(objectPath(key, kind));
}

std::string Workspace::getOrMake(const std::string &key, const std::string &kind,
                                 const std::function<void(const std::string &)> &make,
                                 const std::function<void()> &waiting) {
  const std::string path = objectPath(key, kind);
  if (fs::exists(path))
    return path;
  const std::string lockPath = dir_ + "/locks/" + key;
  Descriptor lock{::open(lockPath.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666)};
  if (lock.fd < 0)
    failErrno(lockPath, "cannot be opened");
  if (::flock(lock.fd, LOCK_EX | LOCK_NB) != 0) {
    if (waiting)
      waiting();
    while (::flock(lock.fd, LOCK_EX) != 0)
      if (errno != EINTR)
        failErrno(lockPath, "cannot be locked");
  }
  if (fs::exists(path)) // made while we waited
    return path;
  const std::string temporary = temporaryFor(path);
  try {
    make(temporary);
    publish(temporary, path);
    ::unlink(partialPath(key).c_str());
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  ::unlink(lockPath.c_str());
  return path;
}

void Workspace::put(const std::string &key, const std::string &kind, const std::string &text) {
  writeFileAtomically(objectPath(key, kind), text);
}

std::optional<std::string> Workspace::read(const std::string &key, const std::string &kind) const {
  std::ifstream file(objectPath(key, kind), std::ios::binary);
  if (!file)
    return std::nullopt;
  std::ostringstream text;
  text << file.rdbuf();
  return std::move(text).str();
}

void writeFileAtomically(const std::string &path, const std::string &content) {
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
    failErrno(path, "its free space cannot be read");
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

uint64_t availableMemoryBytes() {
  uint64_t available = UINT64_MAX;
  std::ifstream meminfo("/proc/meminfo");
  for (std::string name; meminfo >> name;) {
    uint64_t kilobytes = 0;
    if (name == "MemAvailable:" && meminfo >> kilobytes)
      available = kilobytes * 1024;
    meminfo.ignore(256, '\n');
  }
  // Control group v2: the limit and the use of the group this process is in, at the mount's root
  // inside a container.
  std::ifstream limitFile("/sys/fs/cgroup/memory.max"), useFile("/sys/fs/cgroup/memory.current");
  uint64_t limit = 0, use = 0;
  if (limitFile >> limit && useFile >> use)
    available = std::min(available, limit > use ? limit - use : 0);
  return available;
}

} // namespace retort
