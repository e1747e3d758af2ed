//===- Gguf.h - Reading GGUF checkpoints ------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// GGUF versions 2 and 3, little endian (github.com/ggml-org/ggml/blob/master/docs/gguf.md). The
// file is untrusted: every count, size and offset is compared with the bytes that remain before
// anything is allocated or read for it. All views point into the mapping and live as long as the
// GgufFile.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "compiler/Checkpoint/DType.h"
#include "runtime/base/MappedFile.h"
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace retort {

/// A tensor as the file lists it.
struct GgufTensor {
  std::string_view name;
  DType type = DType::F32;
  std::vector<int64_t> shape; ///< slowest first; 1 to 4 sizes, each at least 1
  uint64_t offset = 0;        ///< of its first byte in the file
  std::span<const uint8_t> bytes;
};

class GgufFile {
public:
  enum class Type : uint32_t {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64
  };
  /// A value of the metadata. For an array, `type` is its elements' and `count` how many they are;
  /// `bytes` are the elements one after another as they lie in the file (each string as a u64
  /// length and its bytes; all of them checked).
  struct Value {
    std::string_view key;
    Type type = Type::U8;
    bool isArray = false;
    uint64_t count = 1;
    uint64_t offset = 0; ///< of `bytes` in the file
    std::span<const uint8_t> bytes;
  };

  /// Maps and checks the file. Throws Error: Io; BadInput if it is damaged (with the byte);
  /// Unsupported for a tensor format or version that Retort does not read.
  static GgufFile open(const std::string &path);
  /// The same over bytes that the caller keeps alive; `path` is for messages.
  static GgufFile parse(std::span<const uint8_t> bytes, std::string path);

  const std::string &path() const { return path_; }
  /// The mapping; empty if made by parse().
  const MappedFile &file() const { return file_; }

  /// All metadata in the file's order, and one of them by key (null if there is none).
  std::span<const Value> values() const { return values_; }
  const Value *find(std::string_view key) const;
  bool has(std::string_view key) const { return find(key) != nullptr; }

  // Typed accessors: nothing if the key is missing; Error (BadInput) that names the key if its
  // value is of another kind. Integers of any width are taken as such if they fit; number() takes
  // floats and integers.
  std::optional<std::string_view> string(std::string_view key) const;
  std::optional<int64_t> integer(std::string_view key) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> boolean(std::string_view key) const;
  /// Arrays. The views of strings() point into the mapping; its vector costs 16 bytes a string.
  std::optional<std::vector<std::string_view>> strings(std::string_view key) const;
  std::optional<std::vector<int32_t>> int32s(std::string_view key) const;
  std::optional<std::vector<int64_t>> integers(std::string_view key) const;
  std::optional<std::vector<float>> floats(std::string_view key) const;

  std::span<const GgufTensor> tensors() const { return tensors_; }

private:
  friend class GgufParser;
  MappedFile file_;
  std::string path_;
  std::vector<Value> values_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string_view, size_t> valueIndex_;
};

} // namespace retort
