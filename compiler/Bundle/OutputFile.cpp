//===- OutputFile.cpp - Files that appear only when whole ------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Bundle/OutputFile.h"
#include "runtime/base/SystemError.h"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace retort {
namespace {

namespace fs = std::filesystem;

/// A name beside `path` that nobody else has: ".NAME.partial-PID-N".
std::string uniqueBeside(const std::string &folder, const std::string &name) {
  static std::atomic<unsigned> count{0};
  return folder + "/." + name + ".partial-" + std::to_string(::getpid()) + "-" +
         std::to_string(count.fetch_add(1));
}

std::string baseName(const std::string &path) { return fs::path(path).filename().string(); }

void syncFolder(const std::string &folder) {
  int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0)
    return; // the name may be lost in a power failure, never the content
  ::fsync(fd);
  ::close(fd);
}

} // namespace

std::string OutputFile::folderOf(const std::string &path) {
  std::string folder = fs::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

std::string OutputFile::hiddenName() const { return uniqueBeside(folder_, baseName(shown_)); }

OutputFile::OutputFile(const std::string &folder, std::string shown)
    : folder_(folder), shown_(std::move(shown)) {
  fd_ = ::open(folder_.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0666);
  if (fd_ < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL || errno == ENOENT)) {
    temporary_ = hiddenName();
    fd_ = ::open(temporary_.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0666);
  }
  if (fd_ < 0) {
    temporary_.clear();
    failSystem(shown_, "cannot be written");
  }
}

OutputFile::~OutputFile() {
  if (fd_ >= 0)
    ::close(fd_);
  if (!temporary_.empty())
    ::unlink(temporary_.c_str());
}

void OutputFile::refused(const char *what, uint64_t wanted) const {
  const int error = errno;
  if (error != ENOSPC && error != EDQUOT && error != EFBIG)
    failSystem(shown_, what, error);
  struct statvfs disk = {};
  ::fstatvfs(fd_, &disk);
  fail(ExitCode::Resources,
       shown_ + ": the disk is full: " + std::to_string(bytes_) + " bytes are written, " +
           std::to_string(wanted) + " more are wanted and " +
           std::to_string(uint64_t(disk.f_bavail) * disk.f_frsize) + " are free (" +
           std::strerror(error) + "): free some space; nothing was left behind");
}

void OutputFile::write(std::string_view text) {
  while (!text.empty()) {
    const ssize_t done = ::write(fd_, text.data(), text.size());
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      refused("cannot be written", text.size());
    bytes_ += uint64_t(done);
    text.remove_prefix(size_t(done));
  }
}

void OutputFile::writeAt(uint64_t offset, std::string_view text) {
  while (!text.empty()) {
    const ssize_t done = ::pwrite(fd_, text.data(), text.size(), off_t(offset));
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0)
      refused("cannot be written", text.size());
    offset += uint64_t(done);
    text.remove_prefix(size_t(done));
  }
}

void OutputFile::closeAs(const std::string &path) {
  if (::fsync(fd_) != 0)
    refused("cannot be made durable", 0);
  if (temporary_.empty()) { // link(2) does not replace, rename(2) does
    const std::string name = hiddenName();
    const std::string self = "/proc/self/fd/" + std::to_string(fd_);
    if (::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0)
      refused("cannot be named", 0);
    temporary_ = name;
  }
  if (::rename(temporary_.c_str(), path.c_str()) != 0)
    refused("cannot be named", 0);
  temporary_.clear();
  ::close(fd_);
  fd_ = -1;
  syncFolder(folder_);
}

OutputDirectory::OutputDirectory(std::string path) : final_(std::move(path)) {
  temporary_ = uniqueBeside(OutputFile::folderOf(final_), baseName(final_));
  if (::mkdir(temporary_.c_str(), 0777) != 0) {
    temporary_.clear();
    failSystem(final_, "cannot be written");
  }
}

OutputDirectory::~OutputDirectory() {
  std::error_code ignored;
  if (!temporary_.empty())
    fs::remove_all(temporary_, ignored);
}

uint64_t OutputDirectory::commit() {
  uint64_t bytes = 0;
  for (const fs::directory_entry &entry : fs::directory_iterator(temporary_))
    bytes += entry.file_size();
  syncFolder(temporary_);
  struct stat info;
  if (::lstat(final_.c_str(), &info) != 0) {
    if (::rename(temporary_.c_str(), final_.c_str()) != 0)
      failSystem(final_, "cannot be named");
    temporary_.clear();
  } else if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, final_.c_str(), RENAME_EXCHANGE) !=
             0) {
    failSystem(final_, "cannot be replaced");
  } // temporary_ now names what was replaced: the destructor removes it
  syncFolder(OutputFile::folderOf(final_));
  return bytes;
}

} // namespace retort
