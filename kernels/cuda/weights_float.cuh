// Weight formats that are floats: f16, bf16, fp8 e4m3 with a scale a group, f32.
// SPDX-License-Identifier: Apache-2.0
//
// The first three become f16: f16 without an instruction, bf16 without rounding from 2^-14 on, and
// fp8 by shifts: its exponent has a bias of 7 where f16's is 15, so the same fields at f16's places
// are q / 256. Group scales are made for that (layout.h). fp8 activations would let sm_89 and later
// multiply fp8 by fp8, but leave activations 4 bits of precision; decoding is bound by bytes in any
// case.
#pragma once
#include "kernels/cuda/weights.cuh"
namespace retort::cuda {

/// Sums of a block for 4 N rows of the step, in mma's order: columns 2t and 2t + 1 are the products
/// with hi and lo of row t.
template <int N> struct PairSums {
  float v[N][4];
  RETORT_DEVICE void zero() { cuda::zero(v); }
  RETORT_DEVICE float get(int n, int i) const { return v[n][2 * i] + v[n][2 * i + 1]; }
};

template <int N>
RETORT_DEVICE void mmaStep(float (&acc)[N][4], const uint32_t (&a)[4], const uint32_t (&b)[N][4],
                           int second) {
#pragma unroll
  for (int n = 0; n < N; ++n)
    mmaF16(acc[n], a, {b[n][2 * second], b[n][2 * second + 1]});
}

/// What formats that become f16 share. Format: halves(a, codes, step), the A operand of step
/// `step` of 16 columns of the piece from the request of codes that has it; times the group's
/// scale, if quantised.
template <class Format> struct FloatWeights {
  static constexpr bool kFixed = false;
  template <int N> using Sums = PairSums<N>;

  /// All lanes: acc[n] += piece . columns n * 8.. of B, in mma's order, f32. source: load32(b, col)
  /// gives the B fragments of 32 columns of weights from `col` on, b[n][0], b[n][1] of the first
  /// step of 16 and b[n][2], b[n][3] of the second.
  template <int N, class Source>
  RETORT_DEVICE static void multiply(float (&acc)[N][4], const uint8_t *piece, const Source &source,
                                     int col) {
    constexpr WeightLayout kLayout = Format::kLayout;
    constexpr int kGroups = kLayout.quantised() ? kLayout.groupsPerPiece() : 1;
    constexpr int kSteps = kLayout.pieceCols() / 16 / kGroups;
    constexpr int kRequestSteps = kLayout.requestSteps();
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
          Format::halves(a, codes, step + second);
          mmaStep(kLayout.quantised() ? part : acc, a, b, second);
        }
      }
      if constexpr (kLayout.quantised())
        addScaled(acc, part, loadScale<kLayout>(piece, group));
    }
  }

private:
  /// acc += scale of the lane's two rows * part.
  template <int N>
  RETORT_DEVICE static void addScaled(float (&acc)[N][4], const float (&part)[N][4], f32x2 scale) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
      acc[n][0] = fmaF32(scale.x, part[n][0], acc[n][0]);
      acc[n][1] = fmaF32(scale.x, part[n][1], acc[n][1]);
      acc[n][2] = fmaF32(scale.y, part[n][2], acc[n][2]);
      acc[n][3] = fmaF32(scale.y, part[n][3], acc[n][3]);
    }
  }
};

struct F16 : FloatWeights<F16> {
  static constexpr WeightLayout kLayout = {{NumberFormat::Kind::F16}};

  RETORT_DEVICE static void halves(uint32_t (&a)[4], const u32x4 &codes, int) {
    a[0] = codes.x, a[1] = codes.y, a[2] = codes.z, a[3] = codes.w;
  }
};

struct BF16 : FloatWeights<BF16> {
  static constexpr WeightLayout kLayout = {{NumberFormat::Kind::BF16}};

  RETORT_DEVICE static void halves(uint32_t (&a)[4], const u32x4 &codes, int) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const f32x2 v = unpackBf162(word(codes, i));
      a[i] = packHalf2(v.x, v.y);
    }
  }
};

/// e4m3, groups of Group columns: d * (q / 256).
template <int Group> struct Fp8 : FloatWeights<Fp8<Group>> {
  static constexpr WeightLayout kLayout = {{NumberFormat::Kind::F8, Group}};

  RETORT_DEVICE static void halves(uint32_t (&a)[4], const u32x4 &codes, int step) {
    const uint32_t low = word(codes, step % 2 * 2), high = word(codes, step % 2 * 2 + 1);
    a[0] = e4m3ToSmallHalf2<0>(low);
    a[1] = e4m3ToSmallHalf2<1>(low);
    a[2] = e4m3ToSmallHalf2<0>(high);
    a[3] = e4m3ToSmallHalf2<1>(high);
  }
};

/// For tests and for parameters that no other format can hold: multiplied by plain FMA, activations
/// still f16.
struct F32 {
  static constexpr WeightLayout kLayout = {{NumberFormat::Kind::F32}};
  static constexpr bool kFixed = false;
  template <int N> using Sums = PairSums<N>;

  template <int N, class Source>
  RETORT_DEVICE static void multiply(float (&acc)[N][4], const uint8_t *piece, const Source &source,
                                     int col) {
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
          for (int column = 0; column < 8; ++column) { // of B: lane 4 column + t has its rows
            const f32x2 x = unpackHalf2(shfl(b[n][2 * second], column * 4 + t));
            const f32x2 y = unpackHalf2(shfl(b[n][2 * second + 1], column * 4 + t));
            const float first = warpSum<4>(asFloat(low.x) * x.x + asFloat(low.y) * x.y +
                                           asFloat(high.x) * y.x + asFloat(high.y) * y.y);
            const float eighth = warpSum<4>(asFloat(low.z) * x.x + asFloat(low.w) * x.y +
                                            asFloat(high.z) * y.x + asFloat(high.w) * y.y);
            if (column / 2 == t) {
              acc[n][column % 2] += first;
              acc[n][2 + column % 2] += eighth;
            }
          }
      }
    }
  }
};

/// How weights of a layout are multiplied.
template <WeightLayout L> constexpr auto weightsOf() {
  if constexpr (L.kind == WeightKind::I4)
    return Int4<L.group, !L.minima>();
  else if constexpr (L.kind == WeightKind::I3)
    return Int3<L.group>();
  else if constexpr (L.kind == WeightKind::I8)
    return Int8<L.group>();
  else if constexpr (L.kind == WeightKind::F8)
    return Fp8<L.group>();
  else if constexpr (L.kind == WeightKind::F16)
    return F16();
  else if constexpr (L.kind == WeightKind::BF16)
    return BF16();
  else
    return F32();
}
template <WeightLayout L> using WeightsOf = decltype(weightsOf<L>());

} // namespace retort::cuda
