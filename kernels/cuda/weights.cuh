// Weight formats: a piece of packed weights times activations, by tensor cores. SPDX-License-Identifier: Apache-2.0
//
// Weights are the A operand of mma.m16n8k16 (16 rows of the matrix), activations the B operand (8 rows of the step), so one
// fragment of weights serves up to 8 rows, and a second mma the next 8: rows cost no weight bytes. Codes become f16 exactly,
// in registers; sums are f32; group scales multiply the f32 sum of their group. bf16 weights become f16 too: exact from
// 2^-14 on, with an error below 2^-25 under it. That leaves activations 11 bits where bf16 would leave them 8.
#pragma once
#include "kernels/cuda/layout.h"
#include "kernels/cuda/wrap.cuh"
namespace retort::cuda {

// Each format has multiply(acc, piece, source, col): all lanes; acc[n] += piece . rows n*8..n*8+7 of the source, in mma's
// order (16 weight rows x 8 step rows), f32.
//   piece    shared, 16-byte aligned, as in layout.h
//   source   load32(b, col): B fragments of 32 columns from `col` on, b[n][0], b[n][1] of the first step of 16 and
//            b[n][2], b[n][3] of the second (stage.cuh)
// Shared reads: codes 512 bytes a request without conflicts, a group's scales one request, activations by ldmatrix.

template <int N>
RETORT_DEVICE void mmaStep(float (&acc)[N][4], const uint32_t (&a)[4], const uint32_t (&b)[N][4],
                           int second) {
#pragma unroll
  for (int n = 0; n < N; ++n)
    mmaF16(acc[n], a, {b[n][2 * second], b[n][2 * second + 1]});
}

/// acc += scale of the lane's two rows * part.
template <int N>
RETORT_DEVICE void addScaled(float (&acc)[N][4], const float (&part)[N][4], f32x2 scale) {
#pragma unroll
  for (int n = 0; n < N; ++n) {
    acc[n][0] = fmaF32(scale.x, part[n][0], acc[n][0]);
    acc[n][1] = fmaF32(scale.x, part[n][1], acc[n][1]);
    acc[n][2] = fmaF32(scale.y, part[n][2], acc[n][2]);
    acc[n][3] = fmaF32(scale.y, part[n][3], acc[n][3]);
  }
}

/// 16-byte load of the lane's part of request `index` of the piece's codes.
template <WeightLayout Layout> RETORT_DEVICE u32x4 loadCodes(const uint8_t *piece, int index) {
  return *reinterpret_cast<const u32x4 *>(piece + Layout.scaleBytes() + index * 512 +
                                          laneIndex() * 16);
}
/// d of the lane's two rows (g, g + 8); minima: m of them.
template <WeightLayout Layout>
RETORT_DEVICE f32x2 loadScale(const uint8_t *piece, int group, bool minima = false) {
  const int row = int(laneIndex() / 4) * (Layout.minima ? 8 : 4) + (minima ? 4 : 0);
  return unpackHalf2(
      *reinterpret_cast<const uint32_t *>(piece + group * Layout.groupScaleBytes() + row));
}

template <int N> RETORT_DEVICE void zero(float (&acc)[N][4]) {
#pragma unroll
  for (int n = 0; n < N; ++n)
    acc[n][0] = acc[n][1] = acc[n][2] = acc[n][3] = 0;
}

/// A fragment of one step: from word s of an i4 request, words 2 (s % 2) and on of an i8 one, all four of a bf16 one.
template <int Zero> RETORT_DEVICE void nibblesToA(uint32_t (&a)[4], uint32_t word) {
  a[0] = nibblesToHalf2<0, Zero>(word);
  a[1] = nibblesToHalf2<1, Zero>(word);
  a[2] = nibblesToHalf2<2, Zero>(word);
  a[3] = nibblesToHalf2<3, Zero>(word);
}
RETORT_DEVICE void bytesToA(uint32_t (&a)[4], uint32_t low, uint32_t high) {
  a[0] = bytesToHalf2<0>(low);
  a[1] = bytesToHalf2<1>(low);
  a[2] = bytesToHalf2<0>(high);
  a[3] = bytesToHalf2<1>(high);
}
RETORT_DEVICE uint32_t bf162ToHalf2(uint32_t pair) {
  const f32x2 v = unpackBf162(pair);
  return packHalf2(v.x, v.y);
}
RETORT_DEVICE uint32_t word(const u32x4 &v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

/// 4 bits, groups of Group columns: d * (c - 8), or d * c + m.
template <int Group, bool Symmetric> struct Int4 {
  static constexpr WeightLayout kLayout = {WeightKind::I4, Group, !Symmetric};

  /// A fragment of step `step` of the piece (prefill: the caller applies the scales).
  RETORT_DEVICE static void fragment(uint32_t (&a)[4], const u32x4 &codes, int step) {
    nibblesToA<Symmetric ? 8 : 0>(a, word(codes, step % 4));
  }
  template <int N, class Source>
  RETORT_DEVICE static void multiply(float (&acc)[N][4], const uint8_t *piece,
                                     const Source &source, int col) {
    constexpr int kSteps = Group / 16; // of a group
    u32x4 codes;
#pragma unroll
    for (int group = 0; group < kLayout.groupsPerPiece(); ++group) {
      float part[N][4], sum[N][4];
      zero(part);
      zero(sum);
#pragma unroll
      for (int s = 0; s < kSteps; s += 2) {
        const int step = group * kSteps + s;
        if (step % 4 == 0)
          codes = loadCodes<kLayout>(piece, step / 4);
        uint32_t b[N][4], a[4];
        source.load32(b, col + step * 16);
#pragma unroll
        for (int second = 0; second < 2; ++second) {
          fragment(a, codes, step + second);
          mmaStep(part, a, b, second);
          if constexpr (!Symmetric) // a row of ones sums the activations, in every row of the tile
            mmaStep(sum, {kOnes, kOnes, kOnes, kOnes}, b, second);
        }
      }
      addScaled(acc, part, loadScale<kLayout>(piece, group));
      if constexpr (!Symmetric)
        addScaled(acc, sum, loadScale<kLayout>(piece, group, true));
    }
  }

private:
  static constexpr uint32_t kOnes = 0x3c003c00;
};

/// 8 bits, groups of Group columns: d * c.
template <int Group> struct Int8 {
  static constexpr WeightLayout kLayout = {WeightKind::I8, Group};

  RETORT_DEVICE static void fragment(uint32_t (&a)[4], const u32x4 &codes, int step) {
    bytesToA(a, word(codes, step % 2 * 2), word(codes, step % 2 * 2 + 1));
  }
  template <int N, class Source>
  RETORT_DEVICE static void multiply(float (&acc)[N][4], const uint8_t *piece,
                                     const Source &source, int col) {
    constexpr int kSteps = Group / 16;
#pragma unroll
    for (int group = 0; group < kLayout.groupsPerPiece(); ++group) {
      float part[N][4];
      zero(part);
#pragma unroll
      for (int s = 0; s < kSteps; s += 2) {
        const int step = group * kSteps + s;
        const u32x4 codes = loadCodes<kLayout>(piece, step / 2);
        uint32_t b[N][4], a[4];
        source.load32(b, col + step * 16);
#pragma unroll
        for (int second = 0; second < 2; ++second) {
          fragment(a, codes, second);
          mmaStep(part, a, b, second);
        }
      }
      addScaled(acc, part, loadScale<kLayout>(piece, group));
    }
  }
};

struct BF16 {
  static constexpr WeightLayout kLayout = {WeightKind::Bf16};

  RETORT_DEVICE static void fragment(uint32_t (&a)[4], const u32x4 &codes, int) {
    a[0] = bf162ToHalf2(codes.x);
    a[1] = bf162ToHalf2(codes.y);
    a[2] = bf162ToHalf2(codes.z);
    a[3] = bf162ToHalf2(codes.w);
  }
  template <int N, class Source>
  RETORT_DEVICE static void multiply(float (&acc)[N][4], const uint8_t *piece,
                                     const Source &source, int col) {
#pragma unroll
    for (int step = 0; step < 4; step += 2) {
      uint32_t b[N][4], a[4];
      source.load32(b, col + step * 16);
#pragma unroll
      for (int second = 0; second < 2; ++second) {
        fragment(a, loadCodes<kLayout>(piece, step + second), 0);
        mmaStep(acc, a, b, second);
      }
    }
  }
};

/// For tests and for parameters that no other format can hold: multiplied by plain FMA, activations still f16.
struct F32 {
  static constexpr WeightLayout kLayout = {WeightKind::F32};

  template <int N, class Source>
  RETORT_DEVICE static void multiply(float (&acc)[N][4], const uint8_t *piece,
                                     const Source &source, int col) {
    const int t = int(laneIndex() % 4);
    for (int step = 0; step < 4; step += 2) {
      uint32_t b[N][4];
      source.load32(b, col + step * 16);
#pragma unroll
      for (int second = 0; second < 2; ++second) {
        const u32x4 low = loadCodes<kLayout>(piece, (step + second) * 2);
        const u32x4 high = loadCodes<kLayout>(piece, (step + second) * 2 + 1);
#pragma unroll
        for (int n = 0; n < N; ++n)
#pragma unroll
          for (int row = 0; row < 8; ++row) { // of the step: lane 4 row + t has its columns
            const f32x2 x = unpackHalf2(shfl(b[n][2 * second], row * 4 + t));
            const f32x2 y = unpackHalf2(shfl(b[n][2 * second + 1], row * 4 + t));
            const float first = quadSum(asFloat(low.x) * x.x + asFloat(low.y) * x.y +
                                        asFloat(high.x) * y.x + asFloat(high.y) * y.y);
            const float eighth = quadSum(asFloat(low.z) * x.x + asFloat(low.w) * x.y +
                                         asFloat(high.z) * y.x + asFloat(high.w) * y.y);
            if (row / 2 == t) {
              acc[n][row % 2] += first;
              acc[n][2 + row % 2] += eighth;
            }
          }
      }
    }
  }

private:
  RETORT_DEVICE static float quadSum(float v) { return warpSum<4>(v); }
};

} // namespace retort::cuda
