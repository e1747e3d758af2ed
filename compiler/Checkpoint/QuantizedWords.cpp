//===- QuantizedWords.cpp - Matrices of codes in words of 32 bits ---------===//
// SPDX-License-Identifier: Apache-2.0
//
// GPTQ and GPTQModel, AutoAWQ, compressed-tensors' packed codes, Quark's integers.
//
//===----------------------------------------------------------------------===//
#include "compiler/Checkpoint/QuantizedJoiner.h"
#include <cctype>
#include <cstring>

namespace retort::quantized {

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

//===- Quark ---------------------------------------------------------------===//

namespace {

/// Whether a name fits a pattern of * and ?, as Python's fnmatch does.
bool fits(std::string_view pattern, std::string_view name) {
  size_t p = 0, n = 0, star = pattern.npos, from = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      from = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p, ++n;
    } else if (star != pattern.npos) {
      p = star + 1;
      n = ++from;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == pattern.npos;
}

} // namespace

/// What config.json says of the codes of a matrix: its layer's "weight", else that of all. Null if it
/// says nothing.
const json *Joiner::quarkSpec(const std::string &stem) const {
  const json *layer = nullptr;
  if (auto layers = config_.find("layer_quant_config");
      layers != config_.end() && layers->is_object())
    for (const auto &[pattern, entry] : layers->items())
      if (fits(pattern, stem)) {
        if (layer && *layer != entry)
          unsupported(
              "matrix " + quote(stem + ".weight") +
              ", which fits more than one name in Quark's 'layer_quant_config', is not supported");
        layer = &entry;
      }
  if (!layer) {
    if (auto types = config_.find("layer_type_quant_config");
        types != config_.end() && types->is_object() && !types->empty())
      unsupported("Quark's 'layer_type_quant_config' is not supported");
    if (auto all = config_.find("global_quant_config"); all != config_.end())
      layer = &*all;
  }
  if (!layer || !layer->is_object())
    return nullptr;
  const auto weight = layer->find("weight");
  if (weight == layer->end() || weight->is_null())
    return nullptr;
  if (!weight->is_object())
    unsupported("matrix " + quote(stem + ".weight") +
                " that Quark quantised in several steps is not supported");
  return &*weight;
}

/// Integers of 4 bits (eight to a word, in AutoAWQ's order if reordered) or 8. By groups: weight
/// [columns, rows / n], weight_scale [groups, rows] (before version 1.0 [rows, groups]),
/// weight_zero_point [groups, rows / n]. By rows or of the whole: weight [rows, columns / n],
/// weight_scale [rows] or [], weight_zero_point [rows / n] or [].
/// As quark/torch/utils/pack.py of https://github.com/amd/Quark lays them out.
std::shared_ptr<CodedMatrix> Joiner::quarkMatrix(const std::string &stem,
                                                 const CheckpointTensor &weight,
                                                 const CheckpointTensor &scales, const json &spec) {
  auto matrix = std::make_shared<CodedMatrix>();
  matrix->name = stem + ".weight";
  const std::string type = text(spec, "dtype"), scheme = text(spec, "qscheme");
  const bool isOfWords = type.ends_with("int4"), isSigned = type.starts_with("int");
  const bool isByGroup = scheme == "per_group", isOfAll = scheme == "per_tensor";
  if (!isByGroup && !isOfAll && scheme != "per_channel")
    unsupported("Quark's scheme " + quote(scheme) + " for " + quote(type) + " is not supported");
  const int64_t axis = integer(spec, "ch_axis").value_or(isByGroup ? 1 : 0);
  if (!isOfAll && (isByGroup ? axis != 1 && axis != -1 : axis != 0))
    unsupported("matrix " + quote(matrix->name) + " that Quark quantised along axis " +
                std::to_string(axis) + " is not supported");
  const DType stored = isOfWords ? DType::I32 : isSigned ? DType::I8 : DType::U8;
  const auto packed = [&](int64_t count) {
    return isOfWords ? static_cast<int64_t>(words(count, 8)) : count;
  };
  expectMatrix(weight);
  expect(weight, {stored});
  expectNumbers(scales);
  const bool isReordered = isOfWords && quarkReorders_;
  Codes codes{.tensor = weight, .bits = isOfWords ? 4 : 8, .wordBytes = isOfWords ? 4 : 1};
  codes.isAwq = isReordered;
  Codes zeros = codes;
  Shape zerosShape;
  if (isByGroup) {
    expectMatrix(scales);
    const int64_t columns = matrix->columns = weight.shape[0];
    const int64_t group = integer(spec, "group_size").value_or(0);
    if (group < 1 || columns % group != 0)
      fail(ExitCode::BadInput, path_ + ": matrix " + quote(matrix->name) + " has " +
                                   std::to_string(columns) + " columns, which groups of " +
                                   std::to_string(group) +
                                   " do not fill: the file does not match its quantization_config");
    const int64_t groups = columns / group;
    matrix->columnsPerScale = group;
    matrix->scalesByColumn = scales.shape[0] == groups;
    const int64_t rows = matrix->rows = scales.shape[matrix->scalesByColumn ? 1 : 0];
    expectShape(scales, matrix->scalesByColumn ? Shape{groups, rows} : Shape{rows, groups});
    expectShape(weight, {columns, packed(rows)});
    codes.alongRows = zeros.alongRows = isOfWords;
    codes.rowStride = zeros.rowStride = 1;
    codes.columnStride = zeros.columnStride = static_cast<uint64_t>(packed(rows));
    zerosShape = {groups, packed(rows)};
  } else {
    const int64_t rows = matrix->rows = weight.shape[0];
    matrix->columnsPerScale = matrix->columns = weight.shape[1] * codes.perWord();
    codes.rowStride = static_cast<uint64_t>(weight.shape[1]);
    if (isOfAll)
      matrix->rowsPerScale = rows;
    if (!isOfAll || scales.elements() != 1)
      expectShape(scales, isOfAll ? Shape{} : Shape{rows});
    if (isOfAll) { // one number in a word of its own
      zeros.bits = 8;
      zeros.isAwq = false;
    } else {
      zeros.alongRows = true;
      zeros.rowStride = 1;
      zerosShape = {packed(rows)};
    }
  }
  matrix->format = isOfWords ? "INT4" : "INT8";
  matrix->codes = codes;
  matrix->numbers = isSigned ? signedIntegers(codes.bits) : integers(codes.bits, 0);
  matrix->scales = scales;
  if (const CheckpointTensor *found = find(stem + ".weight_zero_point")) {
    expect(*found, {stored});
    if (!isOfAll || found->elements() != 1)
      expectShape(*found, zerosShape);
    zeros.tensor = *found;
    matrix->zeros = zeros;
    matrix->zerosAreSigned = isSigned;
  }
  return matrix;
}

void Joiner::quark() {
  if (const auto out = config_.find("export"); out != config_.end() && out->is_object()) {
    if (const std::string format = text(*out, "weight_format");
        !format.empty() && format != "real_quantized")
      unsupported("Quark's weights in the format " + quote(format) + " are not supported");
    const std::string order = text(*out, "pack_method");
    if (!order.empty() && order != "reorder" && order != "order")
      unsupported("Quark's codes packed by " + quote(order) + " are not supported");
    quarkReorders_ = order != "order";
  }
  forEachEnding(".weight", [&](const std::string &stem, const CheckpointTensor &weight) {
    const CheckpointTensor *scales = find(stem + ".weight_scale");
    if (!scales)
      return;
    const json *spec = quarkSpec(stem);
    const std::string type = spec ? text(*spec, "dtype") : "";
    if (type == "int4" || type == "uint4" || type == "int8" || type == "uint8")
      return add(quarkMatrix(stem, weight, *scales, *spec));
    const std::string element = type == "mx" ? text(*spec, "mx_element_dtype") : type;
    if (!element.empty() && element != "fp8_e4m3" && element != "fp4")
      unsupported("Quark's codes of " + quote(element) + " are not supported");
    add(matrixByType(stem, weight, *scales));
  });
}

} // namespace retort::quantized
