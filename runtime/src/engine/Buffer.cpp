//===- Buffer.cpp - Memory from the operating system ----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/Buffer.h"
#include "runtime/base/Error.h"

#include <cstdio>
#include <sys/mman.h>
#include <utility>

namespace retort::engine {
namespace {
constexpr uint64_t kHugePage = 2u << 20;
}

Buffer::Buffer(uint64_t bytes, const std::string &what) {
  if (bytes == 0)
    return;
  void *data = bytes > (uint64_t(1) << 47)
                   ? MAP_FAILED
                   : ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED)
    fail(ExitCode::Resources, "no memory for " + what + ", " + sizeText(bytes));
  data_ = static_cast<uint8_t *>(data);
  bytes_ = bytes;
  if (bytes >= kHugePage)
    ::madvise(data, bytes, MADV_HUGEPAGE); // fewer TLB misses; a hint
}

Buffer::Buffer(Buffer &&other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Buffer &Buffer::operator=(Buffer &&other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Buffer::~Buffer() {
  if (data_)
    ::munmap(data_, bytes_);
}

std::string sizeText(uint64_t bytes) {
  if (bytes < 1'000'000)
    return std::to_string(bytes) + " bytes";
  const bool large = bytes >= 1'000'000'000;
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %s", double(bytes) / (large ? 1e9 : 1e6),
                large ? "GB" : "MB");
  return text;
}

} // namespace retort::engine
