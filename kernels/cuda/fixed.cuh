// Activations as 16-bit fixed point for integer tensor cores. SPDX-License-Identifier: Apache-2.0
//
// The values of a row in one group of columns share a scale, the largest magnitude / kFixedMost,
// and become integers x of at most kFixedMost, to nearest: x = 256 * hi + lo, both signed bytes.
// The error is at most 2^-16 of the group's largest value; f16 has 2^-12 of the value itself. A
// group with an infinity or a NaN gets it as its scale, so results are not finite either.
#pragma once
#include "kernels/cuda/wrap.cuh"
namespace retort::cuda {

constexpr int kFixedMost = 127 * 256; // hi and lo both fit, whichever way lo is rounded

/// Largest magnitude, as bits: they have the order of magnitudes, and NaN comes last.
RETORT_DEVICE uint32_t mostBits(f32x4 v, uint32_t most = 0) {
  const float values[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const uint32_t bits = asBits(values[j]) & 0x7fffffffu;
    most = bits > most ? bits : most;
  }
  return most;
}
/// Over Width neighbouring lanes, in each of them. All lanes.
template <int Width> RETORT_DEVICE uint32_t warpMostBits(uint32_t most) {
#pragma unroll
  for (int mask = 1; mask < Width; mask *= 2) {
    const uint32_t other = shflXor(most, mask);
    most = other > most ? other : most;
  }
  return most;
}
template <int Width> RETORT_DEVICE int32_t warpAddInts(int32_t value) {
#pragma unroll
  for (int mask = 1; mask < Width; mask *= 2)
    value += shflXor(value, mask);
  return value;
}

/// Value of 1, and how many of it the value 1 is, of a group with this largest magnitude.
struct FixedScale {
  float unit, inverse;
  RETORT_DEVICE explicit FixedScale(uint32_t bits) {
    const float most = asFloat(bits);
    unit = most * (1.0f / kFixedMost);
    inverse = most > 1e-30f ? float(kFixedMost) * rcpApprox(most) : 0.0f; // of NaN and 0: 0
  }
};

/// Four values as bytes, the first in the lowest.
struct FixedFour {
  uint32_t hi, lo;
  int32_t sum; ///< of the four integers

  RETORT_DEVICE FixedFour(f32x4 v, float inverse) {
    // Beside 1.5 * 2^23 a float's last place is 1. 128 more: the second byte is hi, rounded, and
    // the first lo + 128.
    constexpr float kMagic = 12582912.0f + 128.0f;
    const uint32_t x = asBits(fmaF32(v.x, inverse, kMagic)),
                   y = asBits(fmaF32(v.y, inverse, kMagic));
    const uint32_t z = asBits(fmaF32(v.z, inverse, kMagic)),
                   w = asBits(fmaF32(v.w, inverse, kMagic));
    const uint32_t xy = prmt(x, y, 0x5140), zw = prmt(z, w, 0x5140);
    lo = prmt(xy, zw, 0x5410) ^ 0x80808080u;
    hi = prmt(xy, zw, 0x7632);
    sum = int32_t(x + y + z + w - 4 * asBits(kMagic));
  }
};

} // namespace retort::cuda
