//===- MappedFile.cpp - A file mapped read-only ---------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/MappedFile.h"
#include "runtime/base/SystemError.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace retort {

namespace {

/// A regular file, open for reading.
struct File {
  int fd;
  uint64_t size = 0;

  explicit File(const std::string &path) : fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (fd < 0)
      failSystem(path, "cannot be opened");
    struct stat info;
    if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
      ::close(fd);
      fail(ExitCode::Io, path + ": is not a regular file");
    }
    size = static_cast<uint64_t>(info.st_size);
  }
  ~File() { ::close(fd); }
  File(const File &) = delete;
};

void readAll(const File &file, uint8_t *data, const std::string &path) {
  for (uint64_t done = 0; done < file.size;) {
    const ssize_t count = ::pread(file.fd, data + done, file.size - done, off_t(done));
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      failSystem(path, "cannot be read");
    if (count == 0)
      fail(ExitCode::Io, path + ": became shorter while it was read");
    done += static_cast<uint64_t>(count);
  }
}

} // namespace

MappedFile MappedFile::open(const std::string &path) {
  const File source(path);
  MappedFile file;
  file.path_ = path;
  if (source.size == 0)
    return file;
  void *data = ::mmap(nullptr, source.size, PROT_READ, MAP_PRIVATE, source.fd, 0);
  if (data == MAP_FAILED)
    failSystem(path, "cannot be mapped");
  file.data_ = static_cast<const uint8_t *>(data);
  file.size_ = source.size;
  return file;
}

MappedFile MappedFile::copy(const std::string &path, bool lock) {
  const File source(path);
  MappedFile file;
  file.path_ = path;
  if (source.size == 0)
    return file;
  void *data =
      ::mmap(nullptr, source.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED)
    failSystem(path, "no memory for a copy", ENOMEM);
  file.data_ = static_cast<const uint8_t *>(data);
  file.size_ = source.size;
  file.copied_ = true;
  ::madvise(data, source.size, MADV_HUGEPAGE); // where there are none, small ones do
  if (lock && ::mlock(data, source.size) != 0)
    fail(ExitCode::Resources, path + ": " + std::to_string(source.size) +
                                  " bytes cannot be locked in memory (" + std::strerror(errno) +
                                  "): raise the limit (ulimit -l), or do not ask for it");
  readAll(source, static_cast<uint8_t *>(data), path);
  ::mprotect(data, source.size, PROT_READ);
  return file;
}

MappedFile::MappedFile(MappedFile &&other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)),
      copied_(other.copied_), path_(std::move(other.path_)) {}

MappedFile &MappedFile::operator=(MappedFile &&other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(copied_, other.copied_);
  std::swap(path_, other.path_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_)
    ::munmap(const_cast<uint8_t *>(data_), size_);
}

void MappedFile::release(uint64_t offset, uint64_t size) const {
  const uint64_t page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  const uint64_t begin = (offset + page - 1) / page * page;
  const uint64_t end = (offset + size) / page * page;
  if (data_ && !copied_ && begin < end && end <= size_)
    ::madvise(const_cast<uint8_t *>(data_) + begin, end - begin, MADV_DONTNEED);
}

} // namespace retort
