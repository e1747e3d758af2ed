//===- GgufWriter.h - Writing GGUF files ------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Version 3 of the format: github.com/ggml-org/ggml/blob/master/docs/gguf.md.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "compiler/Checkpoint/DType.h"
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace retort {

/// First metadata and tensors are added, then begin(), then the tensors' bytes in the order in which they
/// were added. Same calls, same bytes.
class GgufWriter {
public:
  /// Takes the file's bytes, in order.
  using Sink = std::function<void(std::string_view)>;
  explicit GgufWriter(Sink sink) : sink_(std::move(sink)) {}

  void add(const std::string &key, const std::string &value);
  void add(const std::string &key, uint32_t value);
  void add(const std::string &key, float value);
  void add(const std::string &key, bool value);
  void add(const std::string &key, const std::vector<std::string> &values);
  void add(const std::string &key, const std::vector<int32_t> &values);
  /// `shape` as everywhere here, rows first; `type` F32, F16 or BF16.
  void addTensor(const std::string &name, DType type, std::span<const int64_t> shape);
  /// Writes what was added.
  void begin();
  /// The bytes of the next tensor, whole or in pieces; the last piece is followed by its padding.
  void append(std::span<const uint8_t> bytes);

private:
  struct Tensor {
    std::string name;
    DType type;
    std::vector<int64_t> shape;
    uint64_t bytes, offset;
  };
  template <typename T> void number(T value);
  void text(std::string_view value);
  void key(const std::string &name, uint32_t type);
  void pad(uint64_t written);

  Sink sink_;
  std::string metadata_;
  uint64_t keys_ = 0, offset_ = 0;
  std::vector<Tensor> tensors_;
  size_t current_ = 0;
  uint64_t written_ = 0; ///< of the current tensor
};

} // namespace retort
