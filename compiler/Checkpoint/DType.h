//===- DType.h - How checkpoints store numbers ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace retort {

/// The formats that a checkpoint may store a tensor in and Retort can read. The quantised ones are
/// ggml's: a row is cut into blocks of blockElements() numbers, each block blockBytes() bytes.
enum class DType : uint8_t {
  F32,
  F16,
  BF16,
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  Q8_0,
  Q2_K,
  Q3_K,
  Q4_K,
  Q5_K,
  Q6_K
};

constexpr uint64_t blockElements(DType type) {
  return type <= DType::BF16 ? 1 : type <= DType::Q8_0 ? 32 : 256;
}

constexpr uint64_t blockBytes(DType type) {
  constexpr uint8_t bytes[] = {4, 2, 2, 18, 20, 22, 24, 34, 84, 110, 144, 176, 210};
  return bytes[static_cast<uint8_t>(type)];
}

/// "F32", "Q4_K": GGUF's and safetensors' names, which agree.
constexpr std::string_view name(DType type) {
  constexpr std::string_view names[] = {"F32",  "F16",  "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1",
                                        "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"};
  return names[static_cast<uint8_t>(type)];
}

/// Writes the numbers of whole blocks as float32, bit for bit as the `gguf` package of PyPI does.
///   in   count / blockElements(type) blocks, of any alignment
///   out  [count], count a multiple of blockElements(type)
void dequantize(DType type, const uint8_t *in, uint64_t count, float *out);

} // namespace retort
