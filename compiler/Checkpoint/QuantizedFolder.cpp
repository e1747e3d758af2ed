//===- QuantizedFolder.cpp - Quantised Hugging Face checkpoints -----------===//
// SPDX-License-Identifier: Apache-2.0
//
// Methods of codes in bytes (compressed-tensors, transformers' fp8 and mxfp4, bitsandbytes, ModelOpt, Quark), and which
// method a checkpoint has.
//
//===----------------------------------------------------------------------===//
#include "compiler/Checkpoint/QuantizedFolder.h"
#include "compiler/Checkpoint/Cursor.h"
#include "compiler/Checkpoint/QuantizedJoiner.h"
#include "runtime/base/SmallFloat.h"
#include <cstring>
#include <filesystem>

namespace retort {
namespace quantized {
namespace {

constexpr float kE2m1[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};

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

} // namespace

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

//===- ModelOpt ------------------------------------------------------------===//

/// A matrix in the place of its weights, of what type the tensor says: fp8 or int8 with scales of the
/// whole, of rows or of groups, or fp4. As ModelOpt has them, and Quark.
std::shared_ptr<CodedMatrix> Joiner::matrixByType(const std::string &stem,
                                                  const CheckpointTensor &weight,
                                                  const CheckpointTensor &scales) {
  for (const char *ending : {".weight_zero_point", ".pre_quant_scale"})
    if (find(stem + ending))
      unsupported("matrix " + quote(stem + ".weight") + " with a tensor " + quote(ending) +
                  " is not supported");
  if (weight.type == DType::U8)
    return fp4Matrix(stem, weight);
  if (weight.type != DType::I8 && weight.type != DType::F8_E4M3)
    unsupported("matrix " + quote(stem + ".weight") + " of " + std::string(name(weight.type)) +
                " codes is not supported");
  return plainMatrix(stem, weight, scales, {});
}

void Joiner::modelopt() {
  const std::string method = text(config_, "quant_algo");
  const char *known[] = {"FP8", "FP8_PER_CHANNEL_PER_TOKEN", "NVFP4", "MIXED_PRECISION"};
  if (std::ranges::find(known, method) == std::end(known))
    unsupported("ModelOpt's " + quote(method) + " is not supported");
  forEachEnding(".weight", [&](const std::string &stem, const CheckpointTensor &weight) {
    if (const CheckpointTensor *scales = find(stem + ".weight_scale"))
      add(matrixByType(stem, weight, *scales));
  });
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

} // namespace quantized

namespace {

using nlohmann::json;
using quantized::Joiner;

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
