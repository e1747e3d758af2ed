// Weight formats: a piece of packed weights times activations, by tensor cores.
// SPDX-License-Identifier: Apache-2.0
//
// Weights are the A operand of mma (16 rows of the matrix), activations the B operand, so one
// fragment of weights serves all rows of the step: rows cost no weight bytes. Nothing is rounded on
// the way but activations, and these hardly:
//
//   integers   by m16n8k32 s8. Activations are 16-bit fixed point, with a scale for each row and
//              group of columns (those of the weights): x = scale * (256 * hi + lo). hi and lo are
//              two signed bytes, and two neighbouring columns of B, so a lane has both sums of a
//              row of the step, adds them exactly, and scales the sum by the two scales. A sum over
//              a group is at most 128 * 128 * 128 a byte, 2^29 together: no overflow. Prefill on
//              sm_90a makes them f16 instead (prefill_wgmma.cuh).
//   floats     (weights_float.cuh) by m16n8k16 f16. Decoding has an activation as two neighbouring
//              columns as well, hi + lo in f16, 22 bits together; prefill, whose tensor cores are
//              the bound, as one f16, 11 bits. bf16 weights become f16: exact from 2^-14 on, with
//              an error below 2^-25 under it.
//
// So 8 columns of B are 4 rows of the step. With up to 4 rows that costs nothing: mma has 8 columns
// in any case.
#pragma once
#include "kernels/cuda/fixed.cuh"
#include "kernels/cuda/shapes.h"
#include "kernels/cuda/wrap.cuh"
namespace retort::cuda {

/// The lane's part of request `index` of the piece's codes: 16 bytes, or i3's three words.
template <WeightLayout Layout> RETORT_DEVICE u32x4 loadCodes(const uint8_t *piece, int index) {
  if constexpr (Layout.kind == NumberFormat::Kind::I3) {
    const auto *words = reinterpret_cast<const uint32_t *>(piece + Layout.pieceScaleBytes());
    return {words[laneIndex()], words[32 + laneIndex()], words[64 + laneIndex()], 0};
  }
  return ldShared128(piece + Layout.pieceScaleBytes() + index * 512 + laneIndex() * 16);
}
/// d of the lane's two rows (g, g + 8); minima: m of them.
template <WeightLayout Layout>
RETORT_DEVICE f32x2 loadScale(const uint8_t *piece, int group, bool minima = false) {
  const int row = int(laneIndex() / 4) * (Layout.minima ? 8 : 4) + (minima ? 4 : 0);
  return unpackHalf2(
      *reinterpret_cast<const uint32_t *>(piece + group * Layout.groupScaleBytes() + row));
}
RETORT_DEVICE uint32_t word(const u32x4 &v, int i) {
  return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}

template <int N> RETORT_DEVICE void zero(float (&acc)[N][4]) {
#pragma unroll
  for (int n = 0; n < N; ++n)
    acc[n][0] = acc[n][1] = acc[n][2] = acc[n][3] = 0;
}

//===- Integers ----------------------------------------------------------------------------===//

/// Activations of a piece's columns for 4 rows of the step, as a lane has them.
template <WeightLayout Layout> struct FixedPiece {
  static constexpr int kSteps = Layout.pieceCols() / 32, kGroups = Layout.groupsPerPiece();
  uint32_t b[kSteps][2]; ///< B fragments: columns 2r and 2r + 1 are hi, lo of row r
  float scale[kGroups];  ///< of the lane's row, t
  float sum[Layout.minima ? kGroups : 1]; ///< of the row's values in the group; if minima
};

/// Four neighbouring columns of a row on their way to integer products. All lanes, whose columns
/// are 4 apart: a group is that of Group / 4 of them.
template <class W> struct FixedColumns {
  static constexpr WeightLayout kLayout = W::kLayout;
  static constexpr int kLanes = kLayout.group / 4;
  const FixedScale scale;
  const FixedFour bytes;
  const int32_t sum; // of the group, if minima

  RETORT_DEVICE explicit FixedColumns(f32x4 v)
      : scale(warpMostBits<kLanes>(mostBits(v))), bytes(v, scale.inverse),
        sum(kLayout.minima ? warpAddInts<kLanes>(bytes.sum) : 0) {}
  /// Stores what loadScales reads, if this is the group's first lane. scales: the row's of the
  /// piece; col: in the piece.
  RETORT_DEVICE void storeScale(float *scales, int col) const {
    if (col % kLayout.group != 0)
      return;
    float *at = scales + col / kLayout.group * (kLayout.minima ? 2 : 1);
    at[0] = scale.unit * (1.0f / W::kUnit);
    if constexpr (kLayout.minima)
      at[1] = scale.unit * float(sum);
  }
};

/// B fragments of steps s and s + 1. row: that of the lane's column, ldmatrix's 16 bytes.
template <WeightLayout Layout>
RETORT_DEVICE void loadSteps(FixedPiece<Layout> &x, int s, const uint8_t *row) {
  uint32_t b[4];
  ldmatrixX4(b, row);
  x.b[s][0] = b[0], x.b[s][1] = b[1], x.b[s + 1][0] = b[2], x.b[s + 1][1] = b[3];
}
/// Scales (and sums) of a row's groups in a piece: [groups][1 or 2] f32 in shared memory, in one
/// request.
template <WeightLayout Layout>
RETORT_DEVICE void loadScales(FixedPiece<Layout> &x, const float *from) {
  constexpr int kGroups = FixedPiece<Layout>::kGroups;
  static_assert(kGroups <= 2);
  if constexpr (Layout.minima) {
#pragma unroll
    for (int group = 0; group < kGroups; ++group) {
      const f32x2 both = *reinterpret_cast<const f32x2 *>(from + group * 2);
      x.scale[group] = both.x;
      x.sum[group] = both.y;
    }
  } else if constexpr (kGroups == 2) {
    const f32x2 both = *reinterpret_cast<const f32x2 *>(from);
    x.scale[0] = both.x;
    x.scale[1] = both.y;
  } else {
    x.scale[0] = *from;
  }
}

/// Sums of a block for 4 N rows of the step: v[n][i] is weight row g + 8 i times row 4 n + t.
template <int N> struct FixedSums {

  float v[N][2];
  RETORT_DEVICE void zero() {
#pragma unroll
    for (int n = 0; n < N; ++n)
      v[n][0] = v[n][1] = 0;
  }
  RETORT_DEVICE float get(int n, int i) const { return v[n][i]; }
};

/// What Int3, Int4 and Int8 share. Codes: fragment(a, piece, step) makes the A operand of step `step` of
/// 32 columns; kUnit is what 1 of the weight is in it, and kOffset what the code has beyond that.
template <class Codes> struct IntegerWeights {
  static constexpr bool kFixed = true;
  template <int N> using Sums = FixedSums<N>;

  /// sums += piece . the rows' columns from `col` on.
  ///   piece    shared, 16-byte aligned, as in layout.h
  ///   source   load(n, col, FixedPiece &) gives rows 4 n.. (stage.cuh, prefill_rows.cuh)
  template <int N, class Source>
  RETORT_DEVICE static void multiply(FixedSums<N> &sums, const uint8_t *piece, const Source &source,
                                     int col) {
    constexpr WeightLayout kLayout = Codes::kLayout;
    using Piece = FixedPiece<kLayout>;
    constexpr int kGroupSteps = kLayout.group / 32;
    uint32_t a[Piece::kSteps][4];
    f32x2 d[Piece::kGroups], m[kLayout.minima ? Piece::kGroups : 1];
    Codes::fragments(a, piece);
#pragma unroll
    for (int group = 0; group < Piece::kGroups; ++group) {
      d[group] = loadScale<kLayout>(piece, group);
      if constexpr (kLayout.minima) { // d c + m = d (c - 8) + (m + 8 d)
        const f32x2 least = loadScale<kLayout>(piece, group, true);
        m[group] = makeF32x2(fmaF32(8.0f, d[group].x, least.x), fmaF32(8.0f, d[group].y, least.y));
      }
    }
#pragma unroll
    for (int n = 0; n < N; ++n) {
      Piece x;
      source.load(n, col, x);
#pragma unroll
      for (int group = 0; group < Piece::kGroups; ++group) {
        int32_t part[4] = {0, 0, 0, 0};
#pragma unroll
        for (int s = group * kGroupSteps; s < (group + 1) * kGroupSteps; ++s)
          mmaS8(part, a[s], x.b[s]);
        float(&sum)[2] = sums.v[n];
        sum[0] = fmaF32(d[group].x * x.scale[group], float(part[0] * 256 + part[1]), sum[0]);
        sum[1] = fmaF32(d[group].y * x.scale[group], float(part[2] * 256 + part[3]), sum[1]);
        if constexpr (kLayout.minima) {
          sum[0] = fmaF32(m[group].x, x.sum[group], sum[0]);
          sum[1] = fmaF32(m[group].y, x.sum[group], sum[1]);
        }
      }
    }
  }
};

/// 4 bits, groups of Group columns: d * (c - 8), or d * c + m.
template <int Group, bool Symmetric> struct Int4 : IntegerWeights<Int4<Group, Symmetric>> {
  static constexpr WeightLayout kLayout = {{NumberFormat::Kind::I4, Group, !Symmetric}};
  static constexpr float kUnit = 16; ///< of a code, as the mma has it

  template <int Steps>
  RETORT_DEVICE static void fragments(uint32_t (&a)[Steps][4], const uint8_t *piece) {
#pragma unroll
    for (int s = 0; s < Steps; s += 2) {
      const u32x4 codes = loadCodes<kLayout>(piece, s / 2);
#pragma unroll
      for (int j = 0; j < 2; ++j)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const uint32_t both = word(codes, 2 * j + half);
          a[s + j][2 * half] = signedNibbles(both << 4);
          a[s + j][2 * half + 1] = signedNibbles(both);
        }
    }
  }

  /// The A operand of step `step` of 16 columns of the piece, as f16, from the request of codes
  /// that has it, c - 8. Not in the columns' order: values 2t, 2t + 1 of a row are columns 4t, 4t +
  /// 2, and 2t + 8, 2t + 9 columns 4t + 1, 4t + 3.
  RETORT_DEVICE static void halves(uint32_t (&a)[4], const u32x4 &codes, int step) {
    const uint32_t even = word(codes, step % 4), odd = even >> 8;
    a[0] = nibblesToHalf2(even);
    a[1] = upperToHalf2(even);
    a[2] = nibblesToHalf2(odd);
    a[3] = upperToHalf2(odd);
  }

private:
  /// Nibbles 1 and 5 less 8, without a shift: 0x6400 | n << 4 is 1024 + 16 n as a half.
  RETORT_DEVICE static uint32_t upperToHalf2(uint32_t w) {
    return fmaHalf2(lop3<0xea>(w, 0x00f000f0u, 0x64006400u), 0x2c002c00u, 0xd480d480u); // / 16 - 72
  }
  /// 16 * (c - 8) of the upper nibbles c, as four s8: (w ^ 0x88888888) & 0xf0f0f0f0.
  RETORT_DEVICE static uint32_t signedNibbles(uint32_t w) {
    return lop3<0x28>(w, 0x88888888u, 0xf0f0f0f0u);
  }
};

/// 3 bits, groups of Group columns: d * (c - 4).
template <int Group> struct Int3 : IntegerWeights<Int3<Group>> {
  static constexpr WeightLayout kLayout = {{NumberFormat::Kind::I3, Group}};
  static constexpr float kUnit = 32; ///< of a code, as the mma has it

  template <int Steps>
  RETORT_DEVICE static void fragments(uint32_t (&a)[Steps][4], const uint8_t *piece) {
    const u32x4 codes = loadCodes<kLayout>(piece, 0);
#pragma unroll
    for (int i = 0; i < 8; ++i) // (w ^ 0x80808080) & 0xe0e0e0e0
      a[i / 4][i % 4] = lop3<0x28>(topCodes(codes, i), 0x80808080u, 0xe0e0e0e0u);
  }

  /// As Int4's, c - 4.
  RETORT_DEVICE static void halves(uint32_t (&a)[4], const u32x4 &codes, int step) {
#pragma unroll
    for (int half = 0; half < 2; ++half) { // rows g, g + 8
      const uint32_t even = topCodes(codes, step % 4 * 2 + half);
      a[half] = topToHalf2(even);
      a[half + 2] = topToHalf2(even >> 8);
    }
  }

private:
  /// A word with code i of 8 in the top bits of each byte, and others below it.
  RETORT_DEVICE static uint32_t topCodes(const u32x4 &codes, int i) {
    if (i < 6)
      return word(codes, i / 2) << (i % 2 * 3);
    // Bits 7 and 6 of the first, the others of the second.
    return lop3<0xca>(0xc0c0c0c0u, word(codes, i - 6) << 6, codes.z << (11 - i));
  }
  /// The top bits of bytes 0 and 2 less 4: 0x6400 | c << 5 is 1024 + 32 c as a half.
  RETORT_DEVICE static uint32_t topToHalf2(uint32_t w) {
    return fmaHalf2(lop3<0xea>(w, 0x00e000e0u, 0x64006400u), 0x28002800u, 0xd080d080u); // / 32 - 36
  }
};

/// 8 bits, groups of Group columns: d * c.
template <int Group> struct Int8 : IntegerWeights<Int8<Group>> {
  static constexpr WeightLayout kLayout = {{NumberFormat::Kind::I8, Group}};
  static constexpr float kUnit = 1;

  template <int Steps>
  RETORT_DEVICE static void fragments(uint32_t (&a)[Steps][4], const uint8_t *piece) {
#pragma unroll
    for (int s = 0; s < Steps; ++s) {
      const u32x4 codes = loadCodes<kLayout>(piece, s);
      a[s][0] = codes.x, a[s][1] = codes.y, a[s][2] = codes.z, a[s][3] = codes.w;
    }
  }
  /// As Int4's, c.
  RETORT_DEVICE static void halves(uint32_t (&a)[4], const u32x4 &codes, int step) {
#pragma unroll
    for (int half = 0; half < 2; ++half) { // rows g, g + 8
      // A byte with its sign bit flipped is the value plus 128: with 0x64 above it, 1152 more.
      const uint32_t biased = word(codes, step % 2 * 2 + half) ^ 0x80808080u;
      a[half] = subHalf2(prmt(biased, 0x64646464u, 0x4240), 0x64806480u);
      a[half + 2] = subHalf2(prmt(biased, 0x64646464u, 0x4341), 0x64806480u);
    }
  }
};

} // namespace retort::cuda
