//===- QuantizedFolder.cpp - Quantised Hugging Face checkpoints -----------===//
// SPDX-License-Identifier: Apache-2.0
//
// One function a method: how its files lay a matrix out (GPTQ and GPTQModel, AutoAWQ,
// compressed-tensors, transformers' fp8 and mxfp4, bitsandbytes, ModelOpt, Quark).
//
//===----------------------------------------------------------------------===//
#include "compiler/Checkpoint/QuantizedFolder.h"
#include "compiler/Checkpoint/CodedMatrix.h"
#include "compiler/Checkpoint/Cursor.h"
#include "runtime/base/Json.h"
#include "runtime/base/SmallFloat.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <set>

namespace retort {
namespace {

using nlohmann::json;
using Shape = std::vector<int64_t>;

constexpr uint64_t kMaxConfigBytes = 16 << 20;
constexpr float kE2m1[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};

std::string shapeText(const Shape &shape) {
  std::string text;
  for (int64_t size : shape)
    text += (text.empty() ? "" : "x") + std::to_string(size);
  return text.empty() ? "a scalar" : text;
}

bool isPositive(const Shape &shape) {
  return std::ranges::all_of(shape, [](int64_t size) { return size > 0; });
}

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
  void addByType();

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
  std::vector<CheckpointTensor> made_;
};

/// Codes that stand for themselves less `offset`.
std::array<float, 256> integers(int bits, int offset) {
  std::array<float, 256> numbers{};
  for (int code = 0; code < 1 << bits; ++code)
    numbers[static_cast<size_t>(code)] = static_cast<float>(code - offset);
  return numbers;
}

/// Codes of a byte by their type: int8 or fp8.
std::array<float, 256> bytesOf(DType type) {
  std::array<float, 256> numbers{};
  for (size_t code = 0; code < numbers.size(); ++code) {
    const auto byte = static_cast<uint8_t>(code);
    numbers[code] =
        type == DType::I8 ? static_cast<float>(static_cast<int8_t>(byte)) : fromE4m3(byte);
  }
  return numbers;
}

std::array<float, 256> fp4Numbers() {
  std::array<float, 256> numbers{};
  for (size_t code = 0; code < 8; ++code) {
    numbers[code] = kE2m1[code];
    numbers[code + 8] = -kE2m1[code];
  }
  return numbers;
}

uint64_t words(int64_t count, int perWord) {
  return static_cast<uint64_t>((count + perWord - 1) / perWord);
}

/// Of 32 bits, for codes that lie on end.
int64_t wordsOf(int64_t count, int64_t bits) { return (count * bits + 31) / 32; }

//===- GPTQ ---------------------------------------------------------------===//

/// qweight [columns / n, rows], qzeros [groups, rows / n], scales [groups, rows], g_idx [columns].
std::shared_ptr<CodedMatrix> Joiner::gptqMatrix(const std::string &stem) {
  auto matrix = std::make_shared<CodedMatrix>();
  matrix->name = stem + ".weight";
  matrix->format = "GPTQ";
  const CheckpointTensor &codes = need(stem + ".qweight", matrix->name),
                         &zeros = need(stem + ".qzeros", matrix->name),
                         &scales = need(stem + ".scales", matrix->name);
  for (const CheckpointTensor *tensor : {&codes, &zeros, &scales})
    expectMatrix(*tensor);
  expect(codes, {DType::I32});
  expect(zeros, {DType::I32});
  expectNumbers(scales);
  const int64_t rows = matrix->rows = scales.shape[1], groups = scales.shape[0];
  expectShape(codes, {codes.shape[0], rows});
  const int64_t bits = zeros.shape[1] * 32 / rows;
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8)
    unsupported("matrix " + quote(matrix->name) + " has GPTQ codes of " + std::to_string(bits) +
                " bits, of which Retort reads 2, 3, 4 and 8");
  expectShape(zeros, {groups, wordsOf(rows, bits)});
  matrix->columns = codes.shape[0] * 32 / bits;
  matrix->columnsPerScale = groupSize(scales, matrix->columns, groups);
  if (!config_.contains("dynamic")) // which has other numbers for some matrices
    checkGroups(matrix->name, bits, matrix->columnsPerScale, matrix->columns,
                integer(config_, "bits").value_or(4), integer(config_, "group_size").value_or(-1));
  if (const CheckpointTensor *order = find(stem + ".g_idx")) {
    expect(*order, {DType::I32});
    expectShape(*order, {matrix->columns});
    matrix->groupOfColumn = *order;
  }
  matrix->codes = {codes, static_cast<int>(bits), 4, false, 1, static_cast<uint64_t>(rows)};
  matrix->numbers = integers(static_cast<int>(bits), 0);
  matrix->scales = scales;
  matrix->scalesByColumn = true;
  // Rows of the matrix are columns of qzeros; the groups are its rows.
  matrix->zeros = {
      zeros, static_cast<int>(bits), 4, true, 1, static_cast<uint64_t>(zeros.shape[1])};
  if (text(config_, "checkpoint_format") != "gptq_v2") // the first format stores zeros less one
    for (int at = 0; at < (bits == 3 ? 1 : 32); at += static_cast<int>(bits))
      matrix->zeros->increment |= 1u << at;
  return matrix;
}

void Joiner::gptq() {
  for (const char *key : {"checkpoint_format", "format"})
    if (const std::string format = text(config_, key);
        !format.empty() && format != "gptq" && format != "gptq_v2")
      unsupported("GPTQ matrices in the format " + quote(format) + " are not supported");
  forEachEnding(".qweight",
                [&](const std::string &stem, const CheckpointTensor &) { add(gptqMatrix(stem)); });
}

//===- AWQ ----------------------------------------------------------------===//

/// qweight [columns, rows / 8], qzeros [groups, rows / 8], scales [groups, rows].
void Joiner::awq() {
  std::string version = text(config_, "version");
  std::ranges::transform(version, version.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const std::string &format : {version, text(config_, "format")})
    if (!format.empty() && format != "gemm")
      unsupported("AWQ matrices in the format " + quote(format) + " are not supported");
  forEachEnding(".qweight", [&](const std::string &stem, const CheckpointTensor &codes) {
    auto matrix = std::make_shared<CodedMatrix>();
    matrix->name = stem + ".weight";
    matrix->format = "AWQ";
    const CheckpointTensor &zeros = need(stem + ".qzeros", matrix->name),
                           &scales = need(stem + ".scales", matrix->name);
    for (const CheckpointTensor *tensor : {&codes, &zeros, &scales})
      expectMatrix(*tensor);
    expect(codes, {DType::I32});
    expect(zeros, {DType::I32});
    expectNumbers(scales);
    matrix->rows = scales.shape[1];
    matrix->columns = codes.shape[0];
    const auto rowWords = static_cast<int64_t>(words(matrix->rows, 8));
    expectShape(codes, {matrix->columns, rowWords});
    expectShape(zeros, {scales.shape[0], rowWords});
    matrix->columnsPerScale = groupSize(scales, matrix->columns, scales.shape[0]);
    checkGroups(matrix->name, 4, matrix->columnsPerScale, matrix->columns,
                firstInteger("bits", "w_bit", 4), firstInteger("group_size", "q_group_size", 128));
    matrix->codes = {codes, 4, 4, true, 1, static_cast<uint64_t>(rowWords)};
    matrix->codes.isAwq = true;
    matrix->numbers = integers(4, 0);
    matrix->scales = scales;
    matrix->scalesByColumn = true;
    matrix->zeros = matrix->codes;
    matrix->zeros->tensor = zeros;
    add(std::move(matrix));
  });
}

//===- Plain codes with scales --------------------------------------------===//

/// One code a byte; scales [] or [1], [rows, 1], [rows, groups], or one for each `block` of rows and
/// columns.
std::shared_ptr<CodedMatrix> Joiner::plainMatrix(const std::string &stem,
                                                 const CheckpointTensor &weight,
                                                 const CheckpointTensor &scales,
                                                 const Shape &block) {
  auto matrix = std::make_shared<CodedMatrix>();
  matrix->name = stem + ".weight";
  expectMatrix(weight);
  expect(weight, {DType::F8_E4M3, DType::I8});
  expectNumbers(scales);
  matrix->format = weight.type == DType::I8 ? "INT8" : "FP8";
  const int64_t rows = matrix->rows = weight.shape[0], columns = matrix->columns = weight.shape[1];
  matrix->codes = {.tensor = weight, .rowStride = static_cast<uint64_t>(columns)};
  matrix->numbers = bytesOf(weight.type);
  matrix->scales = scales;
  if (scales.elements() == 1) {
    matrix->rowsPerScale = rows;
    matrix->columnsPerScale = columns;
  } else if (block.empty()) {
    const int64_t groups = scales.shape.size() == 2 ? scales.shape[1] : 1;
    if (scales.shape.size() != 1)
      expectShape(scales, {rows, groups});
    else
      expectShape(scales, {rows});
    matrix->columnsPerScale = listedGroupSize(scales, columns, groups);
  } else {
    matrix->rowsPerScale = block[0];
    matrix->columnsPerScale = block[1];
    expectShape(scales, {(rows + block[0] - 1) / block[0], matrix->groups()});
  }
  return matrix;
}

void Joiner::fp8() {
  const Shape block = blockSizes(config_, "weight_block_size");
  forEachEnding(".weight", [&](const std::string &stem, const CheckpointTensor &weight) {
    if (weight.type != DType::F8_E4M3)
      return;
    const CheckpointTensor *scales = find(stem + ".weight_scale");
    if (!scales)
      scales = &need(stem + ".weight_scale_inv", stem + ".weight");
    add(plainMatrix(stem, weight, *scales, block));
  });
}

//===- compressed-tensors -------------------------------------------------===//

/// weight_packed [rows, columns / n], weight_scale [rows, groups], weight_zero_point
/// [rows / n, groups], weight_shape [2], weight_g_idx [columns].
std::shared_ptr<CodedMatrix> Joiner::packedMatrix(const std::string &stem) {
  auto matrix = std::make_shared<CodedMatrix>();
  matrix->name = stem + ".weight";
  matrix->format = "INT4";
  const CheckpointTensor &codes = need(stem + ".weight_packed", matrix->name),
                         &scales = need(stem + ".weight_scale", matrix->name),
                         &shape = need(stem + ".weight_shape", matrix->name);
  expectMatrix(codes);
  expectMatrix(scales);
  expectNumbers(scales);
  expect(shape, {DType::I64, DType::I32});
  expectShape(shape, {2});
  const uint64_t width = blockBytes(shape.type);
  std::memcpy(&matrix->rows, shape.bytes.data(), width);
  std::memcpy(&matrix->columns, shape.bytes.data() + width, width);
  used_.insert(std::string(shape.name));
  const int64_t rows = codes.shape[0], columns = matrix->columns;
  // Codes fill their words, but for the last of a row.
  const int64_t bits = columns > 0 && columns < INT32_MAX ? (codes.shape[1] * 32) / columns : 0;
  if (matrix->rows != rows || (bits != 2 && bits != 4 && bits != 8) ||
      codes.shape[1] != static_cast<int64_t>(words(columns, static_cast<int>(32 / bits))))
    fail(ExitCode::BadInput,
         path_ + ": tensor " + quote(codes.name) + " is " + shapeText(codes.shape) +
             ", which are no codes of 2, 4 or 8 bits of " + std::to_string(matrix->rows) + "x" +
             std::to_string(columns) + " weights");
  if (bits != 4)
    matrix->format = bits == 8 ? "INT8" : "INT2";
  expectShape(scales, {rows, scales.shape[1]});
  matrix->columnsPerScale = listedGroupSize(scales, columns, scales.shape[1]);
  const int perWord = static_cast<int>(32 / bits);
  matrix->codes = {codes, static_cast<int>(bits), 4, false, static_cast<uint64_t>(codes.shape[1])};
  matrix->numbers = integers(static_cast<int>(bits), 1 << (bits - 1));
  matrix->scales = scales;
  if (const CheckpointTensor *zeros = find(stem + ".weight_zero_point")) {
    expect(*zeros, {DType::I32});
    expectShape(*zeros, {static_cast<int64_t>(words(rows, perWord)), scales.shape[1]});
    matrix->zeros = {*zeros, static_cast<int>(bits), 4, true,
                     static_cast<uint64_t>(scales.shape[1])};
    matrix->zeroOffset = -static_cast<float>(1 << (bits - 1));
  }
  if (const CheckpointTensor *order = find(stem + ".weight_g_idx")) {
    expect(*order, {DType::I32});
    expectShape(*order, {columns});
    matrix->groupOfColumn = *order;
  }
  return matrix;
}

/// `codes` [rows, columns / 2], weight_scale [rows, groups]: E4M3 with a divisor or a factor of all
/// (NVFP4), or exponents (MXFP4).
std::shared_ptr<CodedMatrix> Joiner::fp4Matrix(const std::string &stem,
                                               const CheckpointTensor &codes) {
  auto matrix = std::make_shared<CodedMatrix>();
  matrix->name = stem + ".weight";
  const CheckpointTensor &scales = need(stem + ".weight_scale", matrix->name);
  expectMatrix(codes);
  expect(scales, {DType::F8_E4M3, DType::U8, DType::F8_E8M0});
  matrix->format = scales.type == DType::F8_E4M3 ? "NVFP4" : "MXFP4";
  matrix->rows = codes.shape[0];
  matrix->columns = codes.shape[1] * 2;
  matrix->columnsPerScale = scales.type == DType::F8_E4M3 ? 16 : 32;
  expectShape(scales, {matrix->rows, matrix->groups()});
  matrix->codes = {codes, 4, 1, false, static_cast<uint64_t>(codes.shape[1])};
  matrix->numbers = fp4Numbers();
  matrix->scales = scales;
  if (scales.type != DType::F8_E4M3) {
    matrix->scales.type = DType::F8_E8M0;
    return matrix;
  }
  const CheckpointTensor *factor = find(stem + ".weight_scale_2"); // as ModelOpt has it
  const CheckpointTensor &ofAll =
      factor ? *factor : need(stem + ".weight_global_scale", matrix->name);
  expect(ofAll, {DType::F32});
  if (ofAll.elements() != 1)
    expectShape(ofAll, {1});
  std::memcpy(factor ? &matrix->scaleFactor : &matrix->scaleDivisor, ofAll.bytes.data(),
              sizeof(float));
  used_.insert(std::string(ofAll.name));
  return matrix;
}

void Joiner::compressedTensors() {
  auto check = [&](const std::string &format) {
    for (const char *known :
         {"", "dense", "mixed-precision", "pack-quantized", "int-quantized", "float-quantized",
          "naive-quantized", "nvfp4-pack-quantized", "mxfp4-pack-quantized"})
      if (format == known)
        return;
    unsupported("compressed-tensors in the format " + quote(format) + " are not supported");
  };
  check(text(config_, "format"));
  for (const char *key : {"transform_config", "sparsity_config"})
    if (auto it = config_.find(key);
        it != config_.end() && it->is_object() && !it->empty() && text(*it, "format") != "dense")
      unsupported("compressed-tensors with a " + quote(key) + " are not supported");
  Shape block;
  if (auto groups = config_.find("config_groups"); groups != config_.end() && groups->is_object())
    for (const auto &[name, group] : groups->items()) {
      check(text(group, "format"));
      const auto weights = group.find("weights");
      if (weights == group.end() || !weights->is_object())
        continue;
      groupSizes_.insert(integer(*weights, "group_size").value_or(-1));
      if (text(*weights, "strategy") == "block")
        block = blockSizes(*weights, "block_structure");
    }
  forEachEnding(".weight_packed", [&](const std::string &stem, const CheckpointTensor &codes) {
    if (codes.type == DType::U8)
      return add(fp4Matrix(stem, codes));
    expect(codes, {DType::I32, DType::U8});
    add(packedMatrix(stem));
  });
  forEachEnding(".weight", [&](const std::string &stem, const CheckpointTensor &weight) {
    if (weight.type != DType::I8 && weight.type != DType::F8_E4M3)
      return;
    auto matrix = plainMatrix(stem, weight, need(stem + ".weight_scale", stem + ".weight"), block);
    if (const CheckpointTensor *zeros = find(stem + ".weight_zero_point")) {
      expect(*zeros, {DType::I8});
      expectShape(*zeros, matrix->scales.shape);
      matrix->zeros = {.tensor = *zeros, .rowStride = static_cast<uint64_t>(matrix->groups())};
      matrix->zerosAreSigned = true;
    }
    add(std::move(matrix));
  });
}

//===- mxfp4 --------------------------------------------------------------===//

/// As gpt-oss has them: NAME_blocks [rows, groups, 16], NAME_scales [rows, groups].
void Joiner::mxfp4() {
  forEachEnding("_blocks", [&](const std::string &name, const CheckpointTensor &codes) {
    auto matrix = std::make_shared<CodedMatrix>();
    matrix->name = name;
    matrix->format = "MXFP4";
    const CheckpointTensor &scales = need(name + "_scales", name);
    expect(codes, {DType::U8});
    expect(scales, {DType::U8, DType::F8_E8M0});
    expectMatrix(scales);
    expectShape(codes, {scales.shape[0], scales.shape[1], 16});
    matrix->rows = scales.shape[0];
    matrix->columnsPerScale = 32;
    matrix->columns = scales.shape[1] * 32;
    matrix->codes = {codes, 4, 1, false, static_cast<uint64_t>(matrix->columns / 2)};
    matrix->numbers = fp4Numbers();
    matrix->scales = scales;
    matrix->scales.type = DType::F8_E8M0;
    add(std::move(matrix));
  });
}

//===- bitsandbytes -------------------------------------------------------===//

/// NAME [bytes, 1], two codes a byte; NAME.absmax, one of each run of weights; NAME.quant_map, what
/// the codes stand for; and JSON in the bytes of a tensor.
std::shared_ptr<CodedMatrix> Joiner::nf4Matrix(const std::string &name, std::string_view type) {
  auto matrix = std::make_shared<CodedMatrix>();
  matrix->name = name;
  matrix->format = type == "nf4" ? "NF4" : "FP4";
  const CheckpointTensor &codes = need(name, name), &scales = need(name + ".absmax", name),
                         &map = need(name + ".quant_map", name),
                         &state =
                             need(name + ".quant_state.bitsandbytes__" + std::string(type), name);
  auto damaged = [&](const std::string &what) {
    fail(ExitCode::BadInput,
         path_ + ": tensor " + quote(state.name) + ": " + what + ": the file is damaged");
  };
  const json fields =
      parseJson({reinterpret_cast<const char *>(state.bytes.data()), state.bytes.size()},
                path_ + ": tensor " + quote(state.name), "the file is damaged");
  if (!fields.is_object() || !fields.contains("shape") || !fields["shape"].is_array() ||
      fields["shape"].size() != 2 || !std::ranges::all_of(fields["shape"], [](const json &size) {
        return size.is_number_unsigned() && size <= INT32_MAX;
      }))
    damaged("has no 'shape' of two sizes");
  const Shape shape = fields["shape"].get<Shape>();
  const int64_t block = integer(fields, "blocksize").value_or(0);
  if (!isPositive(shape) || block < 1)
    damaged("has a size of 0");
  matrix->rows = shape[0], matrix->columns = shape[1];
  const int64_t weights = shape[0] * shape[1];
  if (matrix->columns % 2 != 0)
    unsupported("matrix " + quote(name) + " has an odd number of columns, " +
                std::to_string(matrix->columns) + ", which 4 bits do not fill");
  if (static_cast<int64_t>(codes.bytes.size()) != weights / 2)
    damaged("says " + shapeText(shape) + " weights, but there are " +
            std::to_string(codes.bytes.size()) + " bytes of codes");
  expect(map, {DType::F32});
  expectShape(map, {16});
  std::memcpy(matrix->numbers.data(), map.bytes.data(), map.bytes.size());
  const int64_t blocks = (weights + block - 1) / block;
  expectShape(scales, {blocks});
  matrix->columnsPerScale = block;
  matrix->scalesOnEnd = true;
  matrix->scales = scales;
  matrix->codes = {codes, 4, 1, false, static_cast<uint64_t>(matrix->columns / 2)};
  matrix->codes.isHighFirst = true;
  used_.insert({std::string(map.name), std::string(state.name)});
  if (!fields.contains("nested_blocksize")) {
    expect(scales, {DType::F32});
    return matrix;
  }
  expect(scales, {DType::U8});
  CodedMatrix::NestedScales nested{need(name + ".nested_quant_map", name),
                                   need(name + ".nested_absmax", name),
                                   integer(fields, "nested_blocksize").value_or(0)};
  if (nested.block < 1 || !fields.contains("nested_offset") || !fields["nested_offset"].is_number())
    damaged("has no 'nested_blocksize' and 'nested_offset'");
  nested.offset = fields["nested_offset"].get<float>();
  expect(nested.numbers, {DType::F32});
  expectShape(nested.numbers, {256});
  expect(nested.scales, {DType::F32});
  expectShape(nested.scales, {(blocks + nested.block - 1) / nested.block});
  matrix->nested = std::move(nested);
  return matrix;
}

void Joiner::bitsandbytes() {
  for (const char *type : {"nf4", "fp4"})
    forEachEnding(
        ".quant_state.bitsandbytes__" + std::string(type),
        [&](const std::string &name, const CheckpointTensor &) { add(nf4Matrix(name, type)); });
  // Of 8 bits: a byte each, and the largest of each row.
  forEachEnding(".SCB", [&](const std::string &stem, const CheckpointTensor &scales) {
    const CheckpointTensor &codes = need(stem + ".weight", stem + ".SCB");
    expectMatrix(codes);
    expectShape(scales, {codes.shape[0]});
    auto matrix = plainMatrix(stem, codes, scales, {});
    expect(matrix->codes.tensor, {DType::I8});
    matrix->scaleDivisor = 127;
    add(std::move(matrix));
  });
}

//===- ModelOpt and Quark -------------------------------------------------===//

/// Matrices in the place of their weights, of what type the tensor says: fp8 or int8 with scales of
/// the whole, of rows or of groups, or fp4.
void Joiner::addByType() {
  forEachEnding(".weight", [&](const std::string &stem, const CheckpointTensor &weight) {
    const CheckpointTensor *scales = find(stem + ".weight_scale");
    if (!scales)
      return;
    for (const char *ending : {".weight_zero_point", ".pre_quant_scale"})
      if (find(stem + ending))
        unsupported("matrix " + quote(stem + ".weight") + " with a tensor " + quote(ending) +
                    " is not supported");
    if (weight.type == DType::U8)
      return add(fp4Matrix(stem, weight));
    if (weight.type != DType::I8 && weight.type != DType::F8_E4M3)
      unsupported("matrix " + quote(stem + ".weight") + " of " + std::string(name(weight.type)) +
                  " codes is not supported");
    add(plainMatrix(stem, weight, *scales, {}));
  });
}

void Joiner::modelopt() {
  const std::string method = text(config_, "quant_algo");
  for (const char *known : {"FP8", "FP8_PER_CHANNEL_PER_TOKEN", "NVFP4", "MIXED_PRECISION"})
    if (method == known)
      return addByType();
  unsupported("ModelOpt's " + quote(method) + " is not supported");
}

void Joiner::quark() {
  if (const auto out = config_.find("export"); out != config_.end() && out->is_object())
    if (const std::string format = text(*out, "weight_format");
        !format.empty() && format != "real_quantized")
      unsupported("Quark's weights in the format " + quote(format) + " are not supported");
  addByType();
}

//===- All of them --------------------------------------------------------===//

/// Endings of tensors that say how activations, and keys and values, were quantised, or how codes lie
/// in memory: nothing of it is part of the model that the weights stand for.
constexpr std::string_view kOfActivations[] = {
    ".input_scale",  ".input_zero_point",  ".input_global_scale", ".input_scale_ub",
    ".output_scale", ".output_zero_point", ".activation_scale",   ".k_scale",
    ".v_scale",      ".q_scale",           ".weight_format",
};

void Joiner::join() {
  struct Method {
    std::string_view name;
    void (Joiner::*read)();
  };
  static constexpr Method kMethods[] = {
      {"gptq", &Joiner::gptq},
      {"awq", &Joiner::awq},
      {"compressed-tensors", &Joiner::compressedTensors},
      {"fp8", &Joiner::fp8},
      {"fbgemm_fp8", &Joiner::fp8},
      {"mxfp4", &Joiner::mxfp4},
      {"bitsandbytes", &Joiner::bitsandbytes},
      {"modelopt", &Joiner::modelopt},
      {"quark", &Joiner::quark},
  };
  std::string name = text(config_, "quant_method");
  if (name.empty() && (config_.contains("load_in_4bit") || config_.contains("load_in_8bit")))
    name = "bitsandbytes"; // as its first versions wrote it
  const auto *method = std::ranges::find(kMethods, name, &Method::name);
  if (method == std::end(kMethods))
    unsupported("a checkpoint quantised by " + quote(name.empty() ? "an unnamed method" : name) +
                " ('quantization_config') is not supported");
  (this->*method->read)();
  std::erase_if(tensors_, [&](const CheckpointTensor &tensor) {
    return used_.contains(tensor.name) ||
           std::ranges::any_of(kOfActivations, [&](std::string_view ending) {
             return tensor.name.ends_with(ending);
           });
  });
  std::ranges::move(made_, std::back_inserter(tensors_));
}

/// The description of the quantisation in config.json, wherever it stands; null if there is none.
const json *quantization(const json &config) {
  if (!config.is_object())
    return nullptr;
  for (const char *key : {"quantization_config", "compression_config"})
    if (auto it = config.find(key); it != config.end() && it->is_object() && !it->empty())
      return &*it;
  auto inner = config.find("text_config");
  return inner == config.end() ? nullptr : quantization(*inner);
}

/// ModelOpt's first versions describe the quantisation in a file of its own.
void joinOlderModelOpt(const std::string &path, std::vector<CheckpointTensor> &tensors) {
  const std::string file = path + "/hf_quant_config.json";
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored))
    return;
  const json document = parseJson(readTextFile(file, kMaxConfigBytes), file);
  const auto found = document.is_object() ? document.find("quantization") : document.end();
  if (!document.is_object() || found == document.end() || !found->is_object())
    fail(ExitCode::BadInput, file + ": has no object 'quantization': the file is damaged");
  json config = *found;
  config["quant_method"] = "modelopt";
  Joiner(config, path, tensors).join();
}

} // namespace

void joinQuantized(const std::string &configJson, const std::string &path,
                   std::vector<CheckpointTensor> &tensors) {
  if (configJson.find("quantization_config") == std::string::npos &&
      configJson.find("compression_config") == std::string::npos)
    return joinOlderModelOpt(path, tensors);
  const json config = parseJson(configJson, path + "/config.json");
  if (const json *quantized = quantization(config))
    Joiner(*quantized, path, tensors).join();
}

} // namespace retort
