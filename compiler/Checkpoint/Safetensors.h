//===- Safetensors.h - Reading and writing safetensors files ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// The format (github.com/huggingface/safetensors): u64 header length, a JSON header, the tensors'
// bytes. The reader is strict: no key twice, no unknown field, the tensors' ranges touch each other
// and end where the file ends, so that nothing hides in a file (the polyglots of Trail of Bits'
// audit of 2023).
//
//===----------------------------------------------------------------------===//
#pragma once
#include "compiler/Checkpoint/DType.h"
#include "runtime/base/MappedFile.h"
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace retort {

/// A tensor as the header lists it.
struct SafetensorsTensor {
  std::string name;
  DType type = DType::F32;
  std::vector<int64_t> shape; ///< slowest first; no sizes for a scalar
  uint64_t offset = 0;        ///< of its first byte in the file
  std::span<const uint8_t> bytes;
};

class SafetensorsFile {
public:
  /// Maps and checks the file. Throws Error: Io; BadInput if it is damaged (with the byte);
  /// Unsupported for a tensor of a type that DType.h does not list (which it names).
  static SafetensorsFile open(const std::string &path);
  /// The same over bytes that the caller keeps alive; `path` is for messages.
  static SafetensorsFile parse(std::span<const uint8_t> bytes, std::string path);

  const std::string &path() const { return path_; }
  const MappedFile &file() const { return file_; }
  /// In the order of their bytes.
  std::span<const SafetensorsTensor> tensors() const { return tensors_; }
  const SafetensorsTensor *find(std::string_view name) const;
  /// The header's "__metadata__".
  const std::map<std::string, std::string> &metadata() const { return metadata_; }

private:
  MappedFile file_;
  std::string path_;
  std::vector<SafetensorsTensor> tensors_;
  std::unordered_map<std::string_view, size_t> index_;
  std::map<std::string, std::string> metadata_;
};

/// Writes a safetensors file in one pass: list the tensors, begin(), then append their bytes in
/// that order in pieces of any size. Equal input gives equal bytes.
class SafetensorsWriter {
public:
  /// Creates (or truncates) the file. The caller renames it into place after finish(). Throws Error
  /// (Io; Resources if the disk is full) here and below.
  explicit SafetensorsWriter(const std::string &path);
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter &) = delete;
  SafetensorsWriter &operator=(const SafetensorsWriter &) = delete;

  void addTensor(std::string name, DType type, std::vector<int64_t> shape);
  void setMetadata(std::string key, std::string value);
  /// Writes the header; addTensor() and setMetadata() may not follow.
  void begin();
  void append(std::span<const uint8_t> bytes);
  void append(std::span<const float> values);
  /// Checks that every tensor is complete, flushes and fsyncs.
  void finish();

private:
  struct State;
  std::unique_ptr<State> state_;
};

} // namespace retort
