//===- SmallFloat.cpp - f16, bf16 and fp8 e4m3, to and from f32 -----------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/SmallFloat.h"
#include "runtime/base/Error.h"
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

namespace retort {

uint16_t toHalf(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value), sign = bits >> 16 & 0x8000u;
  bits &= 0x7fffffffu;
  if (bits >= 0x7f800000u) // infinity, NaN (kept a NaN)
    return uint16_t(sign | 0x7c00u | (bits > 0x7f800000u ? 0x200u : 0u));
  if (bits >= 0x477ff000u) // rounds to 2^16 or more
    return uint16_t(sign | 0x7c00u);
  if (bits < 0x38800000u) { // subnormal: adding 0.5 puts the half's last bit at the float's
    float shifted = std::bit_cast<float>(bits) + 0.5f;
    return uint16_t(sign | (std::bit_cast<uint32_t>(shifted) - std::bit_cast<uint32_t>(0.5f)));
  }
  uint32_t odd = bits >> 13 & 1;
  return uint16_t(sign | ((bits - 0x38000000u + 0xfffu + odd) >> 13));
}

uint16_t toFiniteHalf(float value) {
  const uint16_t half = toHalf(value);
  if ((half & 0x7c00) == 0x7c00)
    fail(ExitCode::BadInput, "weights: a value is beyond 65504 or is NaN, which f16 cannot hold: "
                             "keep this parameter in bf16 or f32");
  return half;
}

size_t firstNotFinite(std::span<const float> values) {
  const auto isBad = [](float value) {
    return !(std::abs(value) <= std::numeric_limits<float>::max());
  };
  bool any = false; // a loop without a branch, which compilers make vectors of
  for (float value : values)
    any |= isBad(value);
  return any ? size_t(std::find_if(values.begin(), values.end(), isBad) - values.begin())
             : values.size();
}

float fromHalf(uint16_t half) {
  uint32_t sign = uint32_t(half & 0x8000u) << 16, exponent = half >> 10 & 31u,
           mantissa = half & 1023u;
  float magnitude;
  if (exponent == 0)
    magnitude = float(mantissa) * 0x1p-24f;
  else
    magnitude =
        std::bit_cast<float>((exponent == 31 ? 255u : exponent + 112u) << 23 | mantissa << 13);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
}

uint16_t toBFloat16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return uint16_t(bits >> 16 | 0x40u);
  return uint16_t((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

uint8_t toE4m3(float value) {
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  const float magnitude = std::fabs(value);
  if (std::isnan(value))
    return sign | 0x7f;
  if (magnitude >= 448)
    return sign | 0x7e;
  // Below 2^-6 numbers are 2^-9 apart: adding 2^14 leaves a float whose last place is that. Above,
  // the mantissa is cut to three bits, and a carry goes to the exponent.
  if (magnitude < 0x1p-6f)
    return sign | uint8_t(std::bit_cast<uint32_t>(magnitude + 0x1p14f) & 15);
  const uint32_t bits = std::bit_cast<uint32_t>(magnitude), odd = bits >> 20 & 1;
  return sign | uint8_t((bits - (120u << 23) + 0x7ffffu + odd) >> 20);
}

// A half's exponent has a bias of 8 more.
float fromE4m3(uint8_t bits) {
  if ((bits & 0x7f) == 0x7f)
    return bits & 0x80 ? -NAN : NAN;
  return 256 * fromHalf(uint16_t((bits & 0x80) << 8 | (bits & 0x7f) << 7));
}

float fromBFloat16(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }

} // namespace retort
