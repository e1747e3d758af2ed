// Rows of the step in shared memory, a piece of columns at a time, for prefill's products.
// SPDX-License-Identifier: Apache-2.0
//
// A thread has four neighbouring columns of some rows; it stores them as tensor cores take them
// (weights.cuh), swizzled by 16-byte units so that neither stores nor ldmatrix have bank conflicts.
// Each RowTile has
//   kBytes                           of a piece of kRowTile rows
//   store(to, col, r, v)             all lanes: four values of row r; col in the piece, r < kRowTile
//   Sums<N>, multiply, forSums       sums of a warp's 2 blocks of weights times its 32 rows
#pragma once
#include "kernels/cuda/fixed.cuh"
#include "kernels/cuda/stage.cuh"
#include "kernels/cuda/weights.cuh"
namespace retort::cuda::prefill {

constexpr int kRowTile = PrefillTile::kRows;
constexpr int kWarpBlocks = 2; // of a warp's part of a tile

/// kMmaTile: 4 warps along the weights, and 2 along the rows, 32 each.
struct SyncTile {
  static constexpr bool kAsync = false;
  static constexpr int kTileBlocks = kMmaTile.blocks, kWarpRows = 32;
  RETORT_DEVICE static int warpBlock() { return int(warpIndex()) / 2 * kWarpBlocks; }
  RETORT_DEVICE static int warpRow() { return int(warpIndex()) % 2 * kWarpRows; }
};

/// A warp's sums in f32: its blocks times N times 8 rows.
template <int N> struct FloatSums {
  float v[kWarpBlocks][N][4];
  RETORT_DEVICE void zero() {
#pragma unroll
    for (int i = 0; i < kWarpBlocks; ++i)
      cuda::zero(v[i]);
  }
  /// f(row of the warp's, weight row of 16, value in each block).
  template <class F> RETORT_DEVICE void forEach(const F &f) const {
    const int g = int(laneIndex() / 4), t = int(laneIndex() % 4);
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        f(n * 8 + t * 2 + e % 2, g + e / 2 * 8, v[0][n][e], v[1][n][e]);
  }
};

/// Floats: rows of f16, 64 columns a part. Unit j of row r lies at j ^ (r % 8).
template <class W, bool Fixed = W::kFixed> struct RowTile : SyncTile {
  static constexpr int kCols = W::kLayout.pieceCols();
  static constexpr int kBytes = kRowTile * kCols * 2;

  RETORT_DEVICE static void store(uint8_t *to, int col, int r, f32x4 v) {
    const int unit = (col % 64 / 8) ^ (r % 8);
    *reinterpret_cast<u32x2 *>(to + col / 64 * (kRowTile * 128) + r * 128 + unit * 16 +
                               col % 8 * 2) =
        makeU32x2(packHalf2Finite(v.x, v.y), packHalf2Finite(v.z, v.w));
  }

  /// B fragments of the warp's rows, in registers, for both of its blocks.
  struct Fragments {
    uint32_t b[kCols / 32][4][4];
    RETORT_DEVICE Fragments(const uint8_t *from, int firstRow) {
      const int r = firstRow + int(laneIndex() % 8), matrix = int(laneIndex() / 8);
#pragma unroll
      for (int c = 0; c < kCols / 32; ++c) {
        const int unit = (c % 2 * 4 + matrix) ^ (r % 8); // rows of a fragment are 8 apart
#pragma unroll
        for (int n = 0; n < 4; ++n)
          ldmatrixX4(b[c][n], from + c / 2 * (kRowTile * 128) + (r + n * 8) * 128 + unit * 16);
      }
    }
    RETORT_DEVICE void load32(uint32_t (&to)[4][4], int col) const {
#pragma unroll
      for (int n = 0; n < 4; ++n)
#pragma unroll
        for (int i = 0; i < 4; ++i)
          to[n][i] = b[col / 32][n][i];
    }
  };
  using Sums = FloatSums<kWarpRows / 8>;
  RETORT_DEVICE static void multiply(Sums &sums, const uint8_t *const (&pieces)[kWarpBlocks],
                                     const uint8_t *from, int firstRow) {
    const Fragments b(from, firstRow);
#pragma unroll
    for (int i = 0; i < kWarpBlocks; ++i)
      W::multiply(sums.v[i], pieces[i], b, 0);
  }
  template <class F> RETORT_DEVICE static void forSums(const Sums &sums, const F &f) {
    sums.forEach(f);
  }
};

/// Integers: for each 64 columns the rows' high bytes, then their low bytes, 64 bytes a row. Unit j
/// of row r lies at j ^ (r / 2 % 2), of the low bytes at that ^ 2; row r of the second 64 columns
/// in the place of row r ^ 1. Then scales (and sums), as in Stage: [row][groups][1 or 2] f32.
template <class W> struct RowTile<W, true> : SyncTile {
  static constexpr WeightLayout kLayout = W::kLayout;
  static constexpr int kCols = kLayout.pieceCols(), kHalfBytes = kRowTile * 64;
  static constexpr int kScalesAt = kRowTile * kCols * 2;
  static constexpr int kScaleFloats = pieceScales(kLayout);
  static constexpr int kBytes = kScalesAt + kRowTile * kScaleFloats * 4;

  RETORT_DEVICE static void store(uint8_t *to, int col, int r, f32x4 v) {
    const FixedColumns<W> columns(v);
    const int unit = (col % 64 / 16) ^ (r / 2 % 2);
    // Rows r and r ^ 1 change places in the second 64 columns, which the same warp stores.
    uint8_t *row = to + col / 64 * (2 * kHalfBytes) + (r ^ (col / 64)) * 64 + col % 16;
    *reinterpret_cast<uint32_t *>(row + unit * 16) = columns.bytes.hi;
    *reinterpret_cast<uint32_t *>(row + kHalfBytes + (unit ^ 2) * 16) = columns.bytes.lo;
    columns.storeScale(reinterpret_cast<float *>(to + kScalesAt) + r * kScaleFloats, col);
  }

  /// B fragments of 4 rows at a time: lanes 0 to 7 of 8 pass the high and low bytes of a row in
  /// turns.
  struct Rows {
    const uint8_t *lane; // unit 0 of the lane's row of bytes
    const float *scales;
    int swizzle, second; // second: from the row's place to its place in the second 64 columns
    RETORT_DEVICE Rows(const uint8_t *from, int firstRow) {
      // Rows of a fragment are 4 apart, which r / 2 % 2 does not see.
      const int column = int(laneIndex() % 8), r = firstRow + column / 2;
      lane = from + column % 2 * kHalfBytes + r * 64;
      second = 2 * kHalfBytes + 64 - r % 2 * 128;
      swizzle = (r / 2 % 2) ^ (column % 2 * 2);
      scales = reinterpret_cast<const float *>(from + kScalesAt) +
               (firstRow + int(laneIndex() % 4)) * kScaleFloats;
    }
    RETORT_DEVICE void load(int n, int, FixedPiece<kLayout> &x) const {
      if (n % 2 == 0) // a compiler may not ask for more before: registers have no room for it
        warpSync();
#pragma unroll
      for (int s = 0; s < x.kSteps; s += 2)
        loadSteps(x, s, lane + s / 2 * second + n * 256 + (int(laneIndex() / 8) ^ swizzle) * 16);
      loadScales(x, scales + n * 4 * kScaleFloats);
    }
  };
  struct Sums {
    FixedSums<kWarpRows / 4> v[kWarpBlocks];
    RETORT_DEVICE void zero() {
#pragma unroll
      for (int i = 0; i < kWarpBlocks; ++i)
        v[i].zero();
    }
  };
  RETORT_DEVICE static void multiply(Sums &sums, const uint8_t *const (&pieces)[kWarpBlocks],
                                     const uint8_t *from, int firstRow) {
    const Rows rows(from, firstRow);
#pragma unroll
    for (int i = 0; i < kWarpBlocks; ++i)
      W::multiply(sums.v[i], pieces[i], rows, 0);
  }
  template <class F> RETORT_DEVICE static void forSums(const Sums &sums, const F &f) {
    const int g = int(laneIndex() / 4), t = int(laneIndex() % 4);
#pragma unroll
    for (int n = 0; n < kWarpRows / 4; ++n)
#pragma unroll
      for (int i = 0; i < 2; ++i)
        f(n * 4 + t, g + i * 8, sums.v[0].v[n][i], sums.v[1].v[n][i]);
  }
};

} // namespace retort::cuda::prefill
