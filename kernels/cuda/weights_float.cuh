// Weight formats that are floats: f16, and fp8 e4m3 with a scale a group.
// SPDX-License-Identifier: Apache-2.0
//
// Both become f16 without rounding, f16 without an instruction, and fp8 by shifts: its exponent has
// a bias of 7 where f16's is 15, so the same fields at f16's places are q / 256. Group scales are
// made for that (layout.h). fp8 activations would let sm_89 and later multiply fp8 by fp8, but
// leave activations 4 bits of precision; decoding is bound by bytes in any case.
#pragma once
#include "kernels/cuda/weights.cuh"
namespace retort::cuda {

/// As `multiply` of weights.cuh, for a format W whose fragment() is f16 and, if quantised, times
/// the group's scale.
template <class W, int N, class Source>
RETORT_DEVICE void multiplyFragments(float (&acc)[N][4], const uint8_t *piece, const Source &source,
                                     int col) {
  constexpr WeightLayout kLayout = W::kLayout;
  constexpr int kGroups = kLayout.quantised() ? kLayout.groupsPerPiece() : 1;
  constexpr int kSteps = kLayout.pieceCols() / 16 / kGroups;
  constexpr int kRequestSteps = 512 / kLayout.stepBytes(); // steps of a request of 512 bytes
#pragma unroll
  for (int group = 0; group < kGroups; ++group) {
    float part[N][4];
    zero(part);
    u32x4 codes;
#pragma unroll
    for (int s = 0; s < kSteps; s += 2) {
      const int step = group * kSteps + s;
      uint32_t b[N][4], a[4];
      source.load32(b, col + step * 16);
#pragma unroll
      for (int second = 0; second < 2; ++second) {
        if ((step + second) % kRequestSteps == 0)
          codes = loadCodes<kLayout>(piece, (step + second) / kRequestSteps);
        W::fragment(a, codes, step + second);
        mmaStep(kLayout.quantised() ? part : acc, a, b, second);
      }
    }
    if constexpr (kLayout.quantised())
      addScaled(acc, part, loadScale<kLayout>(piece, group));
  }
}

struct F16 {
  static constexpr WeightLayout kLayout = {WeightKind::F16};

  RETORT_DEVICE static void fragment(uint32_t (&a)[4], const u32x4 &codes, int) {
    a[0] = codes.x, a[1] = codes.y, a[2] = codes.z, a[3] = codes.w;
  }
  template <int N, class Source>
  RETORT_DEVICE static void multiply(float (&acc)[N][4], const uint8_t *piece, const Source &source,
                                     int col) {
    multiplyFragments<F16>(acc, piece, source, col);
  }
};

/// e4m3, groups of Group columns: d * (q / 256).
template <int Group> struct Fp8 {
  static constexpr WeightLayout kLayout = {WeightKind::F8, Group};

  RETORT_DEVICE static void fragment(uint32_t (&a)[4], const u32x4 &codes, int step) {
    const uint32_t low = word(codes, step % 2 * 2), high = word(codes, step % 2 * 2 + 1);
    a[0] = e4m3ToSmallHalf2<0>(low);
    a[1] = e4m3ToSmallHalf2<1>(low);
    a[2] = e4m3ToSmallHalf2<0>(high);
    a[3] = e4m3ToSmallHalf2<1>(high);
  }
  template <int N, class Source>
  RETORT_DEVICE static void multiply(float (&acc)[N][4], const uint8_t *piece, const Source &source,
                                     int col) {
    multiplyFragments<Fp8>(acc, piece, source, col);
  }
};

} // namespace retort::cuda
