//===- failing_calls.cpp - A system that refuses one call -----------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Preloaded into a command, it makes one kind of call fail, for a full disk or a file system that lacks a
// call cannot be had everywhere. Of the environment: RETORT_FAIL_CALL names the call, RETORT_FAIL_FILE is
// a part of the name of the file that it is about (empty: of any), RETORT_FAIL_ERROR the error's number.
#include <cerrno>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace {

std::string setting(const char *name) {
  const char *value = ::getenv(name);
  return value ? value : "";
}

/// Whether this call is to fail; errno is set then.
bool fails(const char *call, const std::string &file) {
  if (setting("RETORT_FAIL_CALL") != call || file.find(setting("RETORT_FAIL_FILE")) == file.npos)
    return false;
  errno = std::atoi(setting("RETORT_FAIL_ERROR").c_str());
  return true;
}

std::string nameOf(int fd) {
  char name[4096];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t size = ::readlink(link.c_str(), name, sizeof name);
  return size < 0 ? "" : std::string(name, size_t(size));
}

template <class Function> Function *next(const char *call) {
  return reinterpret_cast<Function *>(::dlsym(RTLD_NEXT, call));
}

} // namespace

#define RETORT_FAILING extern "C" __attribute__((visibility("default")))

RETORT_FAILING int fsync(int fd) {
  struct stat info = {};
  const bool isFolder = ::fstat(fd, &info) == 0 && S_ISDIR(info.st_mode);
  return fails(isFolder ? "fsync_folder" : "fsync", nameOf(fd)) ? -1 : next<int(int)>("fsync")(fd);
}

RETORT_FAILING int linkat(int from, const char *old, int to, const char *name, int flags) noexcept {
  return fails("linkat", name) ? -1
                               : next<int(int, const char *, int, const char *, int)>("linkat")(
                                     from, old, to, name, flags);
}

RETORT_FAILING int rename(const char *old, const char *name) noexcept {
  return fails("rename", name) ? -1 : next<int(const char *, const char *)>("rename")(old, name);
}

RETORT_FAILING int renameat2(int from, const char *old, int to, const char *name,
                             unsigned flags) noexcept {
  return fails("renameat2", name) ? -1
                                  : next<int(int, const char *, int, const char *, unsigned)>(
                                        "renameat2")(from, old, to, name, flags);
}

RETORT_FAILING int statvfs(const char *path, struct statvfs *result) noexcept {
  return fails("statvfs", path)
             ? -1
             : next<int(const char *, struct statvfs *)>("statvfs")(path, result);
}

RETORT_FAILING int memfd_create(const char *name, unsigned flags) noexcept {
  return fails("memfd_create", name)
             ? -1
             : next<int(const char *, unsigned)>("memfd_create")(name, flags);
}

RETORT_FAILING void *mmap(void *at, size_t size, int access, int flags, int fd,
                          off_t offset) noexcept {
  if (fd >= 0 && fails("mmap", nameOf(fd)))
    return MAP_FAILED;
  return next<void *(void *, size_t, int, int, int, off_t)>("mmap")(at, size, access, flags, fd,
                                                                    offset);
}

RETORT_FAILING int fcntl(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  void *argument = va_arg(list, void *);
  va_end(list);
  if ((command == F_ADD_SEALS && fails("seal", nameOf(fd))) ||
      (command == F_DUPFD_CLOEXEC && fails("duplicate", nameOf(fd))))
    return -1;
  return next<int(int, int, ...)>("fcntl")(fd, command, argument);
}
