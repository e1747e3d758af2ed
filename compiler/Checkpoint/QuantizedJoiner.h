//===- QuantizedJoiner.h - Matrices of codes in checkpoints -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// One function a method: how its files lay a matrix out. Methods of words of 32 bits are in QuantizedWords.cpp, the
// others in QuantizedFolder.cpp.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "compiler/Checkpoint/Checkpoint.h"
#include "compiler/Checkpoint/CodedMatrix.h"
#include "compiler/Checkpoint/Cursor.h"
#include "runtime/base/Json.h"
#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <set>

namespace retort::quantized {

using nlohmann::json;
using Shape = std::vector<int64_t>;

inline std::string shapeText(const Shape &shape) {
  std::string text;
  for (int64_t size : shape)
    text += (text.empty() ? "" : "x") + std::to_string(size);
  return text.empty() ? "a scalar" : text;
}

inline bool isPositive(const Shape &shape) {
  return std::ranges::all_of(shape, [](int64_t size) { return size > 0; });
}

/// Puts matrices in the place of the tensors that they are kept in. Errors: see QuantizedFolder.h.
class Joiner {
public:
  Joiner(const json &config, const std::string &path, std::vector<CheckpointTensor> &tensors)
      : config_(config), path_(path), tensors_(tensors) {
    for (const CheckpointTensor &tensor : tensors)
      byName_.emplace(tensor.name, &tensor);
  }

  void join();

private:
  void gptq();
  void awq();
  void compressedTensors();
  void fp8();
  void mxfp4();
  void bitsandbytes();
  void modelopt();
  void quark();

  std::shared_ptr<CodedMatrix> gptqMatrix(const std::string &stem);
  std::shared_ptr<CodedMatrix> packedMatrix(const std::string &stem);
  std::shared_ptr<CodedMatrix> fp4Matrix(const std::string &stem, const CheckpointTensor &codes);
  std::shared_ptr<CodedMatrix> plainMatrix(const std::string &stem, const CheckpointTensor &weight,
                                           const CheckpointTensor &scales, const Shape &block);
  std::shared_ptr<CodedMatrix> nf4Matrix(const std::string &name, std::string_view type);
  std::shared_ptr<CodedMatrix> matrixByType(const std::string &stem, const CheckpointTensor &weight,
                                            const CheckpointTensor &scales);
  std::shared_ptr<CodedMatrix> quarkMatrix(const std::string &stem, const CheckpointTensor &weight,
                                           const CheckpointTensor &scales, const json &spec);
  const json *quarkSpec(const std::string &stem) const;

  //===- Tensors ------------------------------------------------------------===//

  const CheckpointTensor *find(const std::string &name) const {
    auto it = byName_.find(name);
    return it == byName_.end() ? nullptr : it->second;
  }
  const CheckpointTensor &need(const std::string &name, const std::string &beside) const {
    const CheckpointTensor *tensor = find(name);
    if (!tensor)
      fail(ExitCode::BadInput, path_ + ": has no tensor " + quote(name) + ", which belongs to " +
                                   quote(beside) + ": the checkpoint is not a whole one");
    return *tensor;
  }
  void expect(const CheckpointTensor &tensor, std::initializer_list<DType> types) const {
    if (std::ranges::find(types, tensor.type) == types.end())
      fail(ExitCode::BadInput, path_ + ": tensor " + quote(tensor.name) + " is stored as " +
                                   std::string(name(tensor.type)) + ", not as " +
                                   std::string(name(*types.begin())) +
                                   ": the file does not match its quantization_config");
  }
  void expectShape(const CheckpointTensor &tensor, const Shape &shape) const {
    if (tensor.shape != shape)
      fail(ExitCode::BadInput, path_ + ": tensor " + quote(tensor.name) + " is " +
                                   shapeText(tensor.shape) + ", but its matrix needs " +
                                   shapeText(shape) +
                                   ": the file does not match its quantization_config");
  }
  void expectMatrix(const CheckpointTensor &tensor) const {
    if (tensor.shape.size() != 2)
      fail(ExitCode::BadInput, path_ + ": tensor " + quote(tensor.name) + " is " +
                                   shapeText(tensor.shape) + ", not a matrix: the file is damaged");
  }
  /// The scales' type, and that all tensors of them are of weights.
  void expectNumbers(const CheckpointTensor &tensor) const {
    if (!isPlain(tensor.type) || !tensor.isOfWeights())
      expect(tensor, {DType::F16});
  }
  /// The columns of a group, of which there are `groups`.
  int64_t groupSize(const CheckpointTensor &scales, int64_t columns, int64_t groups) const {
    if (columns % groups != 0)
      fail(ExitCode::BadInput, path_ + ": tensor " + quote(scales.name) + " has " +
                                   std::to_string(groups) + " groups, which do not divide the " +
                                   std::to_string(columns) + " columns of its matrix");
    return columns / groups;
  }

  /// The same, where the config lists what sizes there are.
  int64_t listedGroupSize(const CheckpointTensor &scales, int64_t columns, int64_t groups) const {
    const int64_t size = groupSize(scales, columns, groups);
    if (groups > 1 && !groupSizes_.empty() && !groupSizes_.contains(size))
      fail(ExitCode::BadInput, path_ + ": tensor " + quote(scales.name) + " has groups of " +
                                   std::to_string(size) +
                                   " columns, a 'group_size' that config.json does not name: the "
                                   "files are of different models");
    return size;
  }

  /// Calls `body` with the part of each tensor's name before `ending`.
  void
  forEachEnding(const std::string &ending,
                const std::function<void(const std::string &, const CheckpointTensor &)> &body) {
    for (const CheckpointTensor &tensor : tensors_)
      if (tensor.name.ends_with(ending))
        body(std::string(tensor.name.substr(0, tensor.name.size() - ending.size())), tensor);
  }
  /// Lists the matrix in the place of its tensors.
  void add(std::shared_ptr<CodedMatrix> matrix) {
    for (const CheckpointTensor *tensor :
         {&matrix->codes.tensor, &matrix->scales,
          matrix->nested ? &matrix->nested->numbers : nullptr,
          matrix->nested ? &matrix->nested->scales : nullptr,
          matrix->zeros ? &matrix->zeros->tensor : nullptr,
          matrix->groupOfColumn ? &*matrix->groupOfColumn : nullptr})
      if (tensor)
        used_.insert(std::string(tensor->name));
    const CheckpointTensor &codes = matrix->codes.tensor;
    made_.push_back({matrix->name,
                     codes.type,
                     {matrix->rows, matrix->columns},
                     codes.bytes,
                     codes.file,
                     codes.offset,
                     std::move(matrix)});
  }

  //===- The config ---------------------------------------------------------===//

  [[noreturn]] void unsupported(const std::string &what) const {
    fail(ExitCode::Unsupported,
         path_ + ": " + what + ": use the model's F32, F16 or BF16 checkpoint, or a GGUF file");
  }
  std::string text(const json &object, const char *key) const {
    auto it = object.find(key);
    return it != object.end() && it->is_string() ? it->get<std::string>() : "";
  }
  /// A whole number of at most 32 bits; nothing if the key is missing or null.
  std::optional<int64_t> integer(const json &object, const char *key) const {
    auto it = object.find(key);
    if (it == object.end() || it->is_null())
      return std::nullopt;
    if (!it->is_number_integer() || *it > INT32_MAX || *it < INT32_MIN)
      fail(ExitCode::BadInput, path_ + ": key " + quote(key) +
                                   " of its quantization is not a small " +
                                   "whole number: the file is damaged");
    return it->get<int64_t>();
  }
  /// A matrix's bits and columns of a group, as the config has them (-1: one group).
  void checkGroups(const std::string &name, int64_t bits, int64_t group, int64_t columns,
                   int64_t wantedBits, int64_t wantedGroup) const {
    if (wantedGroup <= 0)
      wantedGroup = columns;
    if (bits != wantedBits || group != wantedGroup)
      fail(ExitCode::BadInput, path_ + ": matrix " + quote(name) + " has " + std::to_string(bits) +
                                   " bits in groups of " + std::to_string(group) +
                                   " columns, but config.json says " + std::to_string(wantedBits) +
                                   " bits in groups of " + std::to_string(wantedGroup));
  }
  /// Two sizes of a block; none if the key is missing or null.
  Shape blockSizes(const json &object, const char *key) const {
    auto it = object.find(key);
    if (it == object.end() || it->is_null())
      return {};
    if (!it->is_array() || it->size() != 2 || !std::ranges::all_of(*it, [](const json &size) {
          return size.is_number_unsigned() && size > 0 && size <= INT32_MAX;
        }))
      fail(ExitCode::BadInput, path_ + ": key " + quote(key) + " of its quantization is not two " +
                                   "sizes: the file is damaged");
    return it->get<Shape>();
  }
  int64_t firstInteger(const char *key, const char *older, int64_t otherwise) const {
    return integer(config_, key).value_or(integer(config_, older).value_or(otherwise));
  }

  const json &config_;
  const std::string &path_;
  std::vector<CheckpointTensor> &tensors_;
  std::map<std::string_view, const CheckpointTensor *> byName_;
  std::set<std::string, std::less<>> used_;
  std::set<int64_t> groupSizes_; ///< that compressed-tensors' config names
  bool quarkReorders_ = true;    ///< Quark's words have AutoAWQ's order
  std::vector<CheckpointTensor> made_;
};

/// What codes of two's complement stand for.
inline std::array<float, 256> signedIntegers(int bits) {
  std::array<float, 256> numbers{};
  for (int code = 0; code < 1 << bits; ++code)
    numbers[static_cast<size_t>(code)] =
        static_cast<float>(code < 1 << (bits - 1) ? code : code - (1 << bits));
  return numbers;
}

/// Codes that stand for themselves less `offset`.
inline std::array<float, 256> integers(int bits, int offset) {
  std::array<float, 256> numbers{};
  for (int code = 0; code < 1 << bits; ++code)
    numbers[static_cast<size_t>(code)] = static_cast<float>(code - offset);
  return numbers;
}

inline uint64_t words(int64_t count, int perWord) {
  return static_cast<uint64_t>((count + perWord - 1) / perWord);
}

/// Of 32 bits, for codes that lie on end.
inline int64_t wordsOf(int64_t count, int64_t bits) { return (count * bits + 31) / 32; }

} // namespace retort::quantized
