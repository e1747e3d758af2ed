//===- DType.h - How checkpoints store numbers ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <iterator>
#include <optional>
#include <string_view>

namespace retort {

/// The formats that a checkpoint may store a tensor in. The quantised ones are ggml's: a row is cut
/// into blocks of blockElements() numbers, each block blockBytes() bytes. Integers are no weights:
/// they are listed so that a file that has some beside its weights can be read.
enum class DType : uint8_t {
  F32,
  F16,
  BF16,
  F64,
  F8_E4M3,
  F8_E8M0,
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  Q8_0,
  Q2_K,
  Q3_K,
  Q4_K,
  Q5_K,
  Q6_K,
  IQ4_NL,
  IQ4_XS,
  TQ1_0,
  TQ2_0,
  MXFP4,
  NVFP4,
  Bool,
  U8,
  I8,
  U16,
  I16,
  U32,
  I32,
  U64,
  I64
};

/// What there is to know of a format.
struct DTypeTraits {
  std::string_view name; ///< GGUF's and safetensors' names, which agree
  uint16_t blockElements, blockBytes;
};

inline constexpr DTypeTraits kDTypes[] = {
    {"F32", 1, 4},      {"F16", 1, 2},        {"BF16", 1, 2},     {"F64", 1, 8},
    {"F8_E4M3", 1, 1},  {"F8_E8M0", 1, 1},    {"Q4_0", 32, 18},   {"Q4_1", 32, 20},
    {"Q5_0", 32, 22},   {"Q5_1", 32, 24},     {"Q8_0", 32, 34},   {"Q2_K", 256, 84},
    {"Q3_K", 256, 110}, {"Q4_K", 256, 144},   {"Q5_K", 256, 176}, {"Q6_K", 256, 210},
    {"IQ4_NL", 32, 18}, {"IQ4_XS", 256, 136}, {"TQ1_0", 256, 54}, {"TQ2_0", 256, 66},
    {"MXFP4", 32, 17},  {"NVFP4", 64, 36},    {"BOOL", 1, 1},     {"U8", 1, 1},
    {"I8", 1, 1},       {"U16", 1, 2},        {"I16", 1, 2},      {"U32", 1, 4},
    {"I32", 1, 4},      {"U64", 1, 8},        {"I64", 1, 8}};
static_assert(std::size(kDTypes) == static_cast<size_t>(DType::I64) + 1);

constexpr const DTypeTraits &traits(DType type) { return kDTypes[static_cast<uint8_t>(type)]; }
constexpr uint64_t blockElements(DType type) { return traits(type).blockElements; }
constexpr uint64_t blockBytes(DType type) { return traits(type).blockBytes; }
constexpr std::string_view name(DType type) { return traits(type).name; }
/// The format of this name; none if there is none.
constexpr std::optional<DType> dtypeNamed(std::string_view name) {
  for (size_t i = 0; i < std::size(kDTypes); ++i)
    if (kDTypes[i].name == name)
      return static_cast<DType>(i);
  return std::nullopt;
}
/// Whether numbers lie one by one, as in safetensors files.
constexpr bool isPlain(DType type) { return blockElements(type) == 1; }
/// Whether the format is one of weights: dequantize() knows it.
constexpr bool isOfWeights(DType type) { return type < DType::Bool; }

/// Writes the numbers of whole blocks as float32, bit for bit as the `gguf` package of PyPI does.
///   in   count / blockElements(type) blocks, of any alignment
///   out  [count], count a multiple of blockElements(type)
/// `type` is one of weights.
void dequantize(DType type, const uint8_t *in, uint64_t count, float *out);

} // namespace retort
