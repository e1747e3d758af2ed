//===- SmallFloat.h - f16, bf16 and fp8 e4m3, to and from f32 ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace retort {

/// IEEE binary16, round to nearest even; out of range gives infinity. bfloat16 likewise. fp8 e4m3
/// (arXiv:2209.05433) saturates at 448; a NaN stays one.
uint16_t toHalf(float value);
float fromHalf(uint16_t bits);
/// As toHalf, but throws retort::Error (BadInput) where that gives infinity or NaN.
uint16_t toFiniteHalf(float value);
/// The index of the first value that is NaN or infinite; values.size() if none is.
size_t firstNotFinite(std::span<const float> values);
uint16_t toBFloat16(float value);
float fromBFloat16(uint16_t bits);
uint8_t toE4m3(float value);
float fromE4m3(uint8_t bits);

} // namespace retort
