//===- GgufWriter.cpp - Writing GGUF files --------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Export/GgufWriter.h"
#include "runtime/base/Error.h"
#include <bit>
#include <cstring>

namespace retort {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is little-endian");

constexpr uint64_t kAlignment = 32; // the format's default
enum ValueType : uint32_t { Uint32 = 4, Int32 = 5, Float32 = 6, Bool = 7, String = 8, Array = 9 };

uint64_t aligned(uint64_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

/// ggml's number of a type.
uint32_t typeNumber(DType type) {
  switch (type) {
  case DType::F32:
    return 0;
  case DType::F16:
    return 1;
  case DType::BF16:
    return 30;
  default:
    fail(ExitCode::Internal, "GGUF: tensors of " + std::string(name(type)) + " are not written");
  }
}

} // namespace

template <typename T> void GgufWriter::number(T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  metadata_.append(bytes, sizeof value);
}

void GgufWriter::text(std::string_view value) {
  number(static_cast<uint64_t>(value.size()));
  metadata_ += value;
}

void GgufWriter::key(const std::string &name, uint32_t type) {
  text(name);
  number(type);
  ++keys_;
}

void GgufWriter::add(const std::string &name, const std::string &value) {
  key(name, String);
  text(value);
}

void GgufWriter::add(const std::string &name, uint32_t value) {
  key(name, Uint32);
  number(value);
}

void GgufWriter::add(const std::string &name, float value) {
  key(name, Float32);
  number(value);
}

void GgufWriter::add(const std::string &name, bool value) {
  key(name, Bool);
  number(static_cast<uint8_t>(value));
}

void GgufWriter::add(const std::string &name, const std::vector<std::string> &values) {
  key(name, Array);
  number(static_cast<uint32_t>(String));
  number(static_cast<uint64_t>(values.size()));
  for (const std::string &value : values)
    text(value);
}

void GgufWriter::add(const std::string &name, const std::vector<int32_t> &values) {
  key(name, Array);
  number(static_cast<uint32_t>(Int32));
  number(static_cast<uint64_t>(values.size()));
  for (const int32_t value : values)
    number(value);
}

void GgufWriter::addTensor(const std::string &name, DType type, std::span<const int64_t> shape) {
  uint64_t bytes = blockBytes(type);
  for (const int64_t size : shape)
    bytes *= static_cast<uint64_t>(size);
  tensors_.push_back({name, type, {shape.begin(), shape.end()}, bytes, offset_});
  offset_ += aligned(bytes);
}

void GgufWriter::begin() {
  std::string keys = std::exchange(metadata_, "");
  metadata_ = "GGUF";
  number(uint32_t(3));
  number(static_cast<uint64_t>(tensors_.size()));
  number(keys_);
  metadata_ += keys;
  for (const Tensor &tensor : tensors_) {
    text(tensor.name);
    number(static_cast<uint32_t>(tensor.shape.size()));
    for (size_t i = tensor.shape.size(); i-- > 0;) // columns first
      number(static_cast<uint64_t>(tensor.shape[i]));
    number(typeNumber(tensor.type));
    number(tensor.offset);
  }
  sink_(metadata_);
  pad(metadata_.size());
}

void GgufWriter::pad(uint64_t written) { sink_(std::string(aligned(written) - written, '\0')); }

void GgufWriter::append(std::span<const uint8_t> bytes) {
  if (current_ == tensors_.size() || written_ + bytes.size() > tensors_[current_].bytes)
    fail(ExitCode::Internal, "GGUF: more bytes than the tensors have");
  sink_({reinterpret_cast<const char *>(bytes.data()), bytes.size()});
  written_ += bytes.size();
  if (written_ == tensors_[current_].bytes) {
    pad(written_);
    written_ = 0;
    ++current_;
  }
}

} // namespace retort
