// Products of a prefill step: many rows times a packed matrix, through tensor cores.
// SPDX-License-Identifier: Apache-2.0
//
// What is fused: the RMS norm in front, bias, soft cap and residual, or the gated activation,
// behind, as in decode and over the same packed weights. A tile is 128 weight rows x 64 rows of the
// step; 8 warps, 4 along the weights and 2 along the rows, have 32 x 32 of it each. Along the
// columns it goes by pieces of the packed layout:
//
//   weights   global -> shared by cp.async, several pieces ahead; codes become f16 in registers
//   rows      global f32 -> registers a piece ahead -> normed, f16 -> shared, two buffers. 16-byte
//             unit j of row r lies at j ^ (r % 8), so neither stores nor ldmatrix have conflicts
//
// A warp's B fragments stay in registers for both of its blocks of 16 weight rows. A gated
// product's two blocks are gate and up of the same channels ("mma16_gated" alternates them), so it
// differs only in its last step.
//
// P as in kernels/cuda/matmul.cuh; MaxRows may be any number.
#pragma once
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/cta.cuh"
#include "kernels/cuda/stage.cuh"
#include "kernels/cuda/weights.cuh"
namespace retort::cuda::prefill {

constexpr int kRowTile = 64;
constexpr int kArenaBytes = kSharedBytes - kBarrierBytes;

/// B fragments of 32 rows of the step and one piece, in registers.
template <int Cols> struct RegisterRows {
  static constexpr bool kHasSums = true;
  uint32_t b[Cols / 32][4][4];
  const float *sums; // of the warp's first row

  /// tile: [Cols / 64][64 rows][64 columns] f16, swizzled; sums [groups][64 rows]; the warp's rows
  /// are firstRow on.
  RETORT_DEVICE RegisterRows(const uint8_t *tile, const float *sums, int firstRow)
      : sums(sums + firstRow) {
    const int r = firstRow + int(laneIndex() % 8), matrix = int(laneIndex() / 8);
#pragma unroll
    for (int c = 0; c < Cols / 32; ++c) {
      const int unit = (c % 2 * 4 + matrix) ^ (r % 8); // rows of a fragment are 8 apart: same r % 8
#pragma unroll
      for (int n = 0; n < 4; ++n)
        ldmatrixX4(b[c][n], tile + c / 2 * (kRowTile * 128) + (r + n * 8) * 128 + unit * 16);
    }
  }
  RETORT_DEVICE void load32(uint32_t (&to)[4][4], int col) const {
#pragma unroll
    for (int n = 0; n < 4; ++n)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        to[n][i] = b[col / 32][n][i];
  }
  RETORT_DEVICE f32x2 sum(int group, int n) const {
    return *reinterpret_cast<const f32x2 *>(sums + group * kRowTile + n * 8 + laneIndex() % 4 * 2);
  }
};

/// Matrices: 1, or 2 for gate and up.
template <class P, int Matrices> struct Product {
  using W = typename P::Weights;
  static constexpr WeightLayout kLayout = W::kLayout;
  static constexpr int kCols = kLayout.pieceCols();
  static constexpr int kPieces = int(kLayout.pieces(P::In));
  static constexpr int kPieceBytes = kLayout.pieceBytes();
  static constexpr int64_t kBlockBytes = kLayout.blockBytes(P::In);
  static constexpr int kBlocks = Matrices * ceilDiv(P::Out, 16); // of 16 weight rows
  static constexpr int kTileBlocks = 8;                          // of a tile
  static constexpr int kOutTiles = ceilDiv(kBlocks, kTileBlocks);

  // Shared memory: rows (2 buffers), for asymmetric weights the rows' sums over each group (2
  // buffers), the rows' norm scales, weights (kStages pieces of each of the tile's blocks).
  static constexpr int kRowBytes = kRowTile * kCols * 2;
  static constexpr int kSumsAt = 2 * kRowBytes;
  static constexpr int kSumFloats = kLayout.minima ? kLayout.groupsPerPiece() * kRowTile : 0;
  static constexpr int kScalesAt = kSumsAt + 2 * kSumFloats * 4;
  static constexpr int kWeightsAt = kScalesAt + kRowTile * 4;
  static constexpr int kStageBytes = kTileBlocks * kPieceBytes;
  static constexpr int kStages = minOf(4, (kArenaBytes - kWeightsAt) / kStageBytes);
  static_assert(kStages >= 2);

  static constexpr bool kVector =
      P::In % 4 == 0 && P::SourceStride % 4 == 0 && P::SourceAt % 4 == 0;
  static constexpr int kLoads = kRowTile * kCols / 4 / kThreads; // of four values

  const float *source, *gain;
  const uint8_t *weights;
  const int32_t *wanted;
  int rows;

  RETORT_DEVICE const float *row(int r) const {
    const int64_t index = P::Wanted ? wanted[r] : r;
    return source + index * P::SourceStride + P::SourceAt;
  }
  RETORT_DEVICE static uint8_t *arena() { return sharedArena() + kBarrierBytes; }

  /// 1 / sqrt(mean(x^2) + eps) of the tile's rows, a warp a row.
  RETORT_DEVICE void normScales(int firstRow) const {
    float *scales = reinterpret_cast<float *>(arena() + kScalesAt);
    for (int r = int(warpIndex()); r < kRowTile; r += kWarps) {
      float sum = 0;
      if (firstRow + r < rows)
#pragma unroll 4
        for (int i = int(laneIndex()) * 4; i < P::In; i += 128)
          sum = addSquares(loadFour<kVector>(row(firstRow + r), i, P::In), sum);
      sum = warpSum(sum);
      if (laneIndex() == 0)
        scales[r] = rsqrtApprox(sum * (1.0f / P::In) + P::eps);
    }
  }

  /// Asks for the weights of piece `piece` of the tile's blocks. Blocks beyond the matrix are
  /// zeros.
  RETORT_DEVICE void askWeights(int firstBlock, int piece) const {
    if (piece < kPieces) {
      uint8_t *stage = arena() + kWeightsAt + piece % kStages * kStageBytes;
      constexpr int kUnits = kPieceBytes / 16;
#pragma unroll
      for (int i = 0; i < ceilDiv(kTileBlocks * kUnits, kThreads); ++i) {
        const int unit = i * kThreads + int(threadIndex());
        if (unit < kTileBlocks * kUnits) {
          const int block = firstBlock + unit / kUnits;
          cpAsync16Zero(stage + unit * 16,
                        weights + (block < kBlocks ? block : 0) * kBlockBytes +
                            int64_t(piece) * kPieceBytes + unit % kUnits * 16,
                        block < kBlocks);
        }
      }
    }
    cpAsyncCommit();
  }

  /// This thread's elements of a piece of the rows: 4 columns of every 16th (8th) row.
  struct Loaded {
    f32x4 v[kLoads], g;
  };
  static constexpr int kRowStep = kThreads / (kCols / 4);
  RETORT_DEVICE void loadRows(Loaded &x, int firstRow, int piece) const {
    const int col = piece * kCols + int(threadIndex()) % (kCols / 4) * 4;
    const bool inside = piece < kPieces && col < P::In;
    if constexpr (P::Norm)
      if (inside) {
        x.g = loadFourNc < P::In % 4 == 0 > (gain, col, P::In);
        constexpr float kOffset = float(P::NormOffset);
        x.g = makeF32x4(x.g.x + kOffset, x.g.y + kOffset, x.g.z + kOffset, x.g.w + kOffset);
      }
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int r = firstRow + int(threadIndex()) / (kCols / 4) + i * kRowStep;
      x.v[i] = inside && r < rows ? loadFour<kVector>(row(r), col, P::In) : makeF32x4(0, 0, 0, 0);
    }
  }
  RETORT_DEVICE static float *groupSums(int piece) {
    return reinterpret_cast<float *>(arena() + kSumsAt) + piece % 2 * kSumFloats;
  }
  RETORT_DEVICE void storeRows(const Loaded &x, int piece) const {
    const float *scales = reinterpret_cast<const float *>(arena() + kScalesAt);
    uint8_t *tile = arena() + piece % 2 * kRowBytes;
    const int col = int(threadIndex()) % (kCols / 4) * 4;
    const bool inside = piece * kCols + col < P::In;
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int r = int(threadIndex()) / (kCols / 4) + i * kRowStep;
      f32x4 v = x.v[i];
      if constexpr (P::Norm)
        if (inside) {
          const float s = scales[r];
          v = makeF32x4(v.x * s * x.g.x, v.y * s * x.g.y, v.z * s * x.g.z, v.w * s * x.g.w);
        }
      const int unit = (col % 64 / 8) ^ (r % 8);
      const u32x2 packed = makeU32x2(packRows(v.x, v.y), packRows(v.z, v.w));
      *reinterpret_cast<u32x2 *>(tile + col / 64 * (kRowTile * 128) + r * 128 + unit * 16 +
                                 col % 8 * 2) = packed;
      if constexpr (kLayout.minima) {
        const f32x2 low = unpackHalf2(packed.x), high = unpackHalf2(packed.y);
        const float sum = warpSum<kLayout.group / 4>((low.x + low.y) + (high.x + high.y));
        if (col % kLayout.group == 0)
          groupSums(piece)[col / kLayout.group * kRowTile + r] = sum;
      }
    }
  }

  /// acc[block][n]: the warp's two blocks, its rows n * 8..
  RETORT_DEVICE void tile(int firstBlock, int firstRow, float (&acc)[2][4][4]) const {
    const int warpBlock = int(warpIndex()) / 2 * 2, warpRow = int(warpIndex()) % 2 * 32;
    zero(acc[0]);
    zero(acc[1]);
    for (int s = 0; s < kStages - 1; ++s)
      askWeights(firstBlock, s);
    Loaded x;
    loadRows(x, firstRow, 0);
    storeRows(x, 0);
    loadRows(x, firstRow, 1);
#pragma unroll 1
    for (int piece = 0; piece < kPieces; ++piece) {
      cpAsyncWait<kStages - 2>();
      ctaSync(); // this piece is here for all; all are done with the one before
      askWeights(firstBlock, piece + kStages - 1);
      if (piece + 1 < kPieces) {
        storeRows(x, piece + 1);
        loadRows(x, firstRow, piece + 2);
      }
      const RegisterRows<kCols> b(arena() + piece % 2 * kRowBytes, groupSums(piece), warpRow);
      const uint8_t *stage = arena() + kWeightsAt + piece % kStages * kStageBytes;
#pragma unroll
      for (int i = 0; i < 2; ++i)
        W::multiply(acc[i], stage + (warpBlock + i) * kPieceBytes, b, 0);
    }
    ctaSync(); // shared memory is free
  }

  /// finish(step row, weight row or channel, values of the Matrices) for each element of all tiles
  /// of this CTA.
  template <class Finish> RETORT_DEVICE void tiles(const Finish &finish) const {
    const TileRange range(kOutTiles * ceilDiv(rows, kRowTile));
    int normed = -1; // the rows whose scales are in shared memory
    for (int index = range.begin; index < range.end; ++index) {
      const int firstRow = index / kOutTiles * kRowTile;
      const int firstBlock = index % kOutTiles * kTileBlocks;
      if (P::Norm && firstRow != normed) {
        normScales(firstRow);
        normed = firstRow;
        ctaSync();
      }
      float acc[2][4][4];
      tile(firstBlock, firstRow, acc);
      const int block = firstBlock + int(warpIndex()) / 2 * 2;
      const int g = int(laneIndex() / 4), t = int(laneIndex() % 4);
#pragma unroll
      for (int n = 0; n < 4; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int r = firstRow + int(warpIndex()) % 2 * 32 + n * 8 + t * 2 + e % 2;
          const int m = g + e / 2 * 8;
          if (r >= rows)
            continue;
          if constexpr (Matrices == 2) {
            if (block / 2 * 16 + m < P::Out)
              finish(r, block / 2 * 16 + m, acc[0][n][e], acc[1][n][e]);
          } else {
#pragma unroll
            for (int i = 0; i < 2; ++i)
              if ((block + i) * 16 + m < P::Out)
                finish(r, (block + i) * 16 + m, acc[i][n][e], 0.0f);
          }
        }
    }
  }

  /// What this CTA's tiles have stored in dest, to the other device: in whole vectors, which fill a
  /// link's packets, unlike the fragments that a tile ends as. Two pointers in tiles() would also
  /// cost registers that are not there.
  RETORT_DEVICE void send(const float *dest, float *sent) const {
    constexpr int kTileVectors = kTileBlocks * 16 / 4;
    const TileRange range(kOutTiles * ceilDiv(rows, kRowTile));
    for (int index = range.begin; index < range.end; ++index)
      for (int i = int(threadIndex()); i < kRowTile * kTileVectors; i += kPrefillThreads) {
        const int r = index / kOutTiles * kRowTile + i / kTileVectors;
        const int n = index % kOutTiles * kTileBlocks * 16 + i % kTileVectors * 4;
        const int64_t at = int64_t(r) * P::DestStride + n;
        if (r >= rows || n >= P::Out)
          continue;
        if (P::DestStride % 4 == 0 && P::Out % 4 == 0) {
          stGlobal128(sent + at, ldGlobal128(dest + at));
        } else {
          for (int j = 0; j < 4 && n + j < P::Out; ++j)
            stGlobal32(sent + at + j, ldGlobal32(dest + at + j));
        }
      }
  }

  RETORT_DEVICE static int numRows(const Cta &cta) {
    return P::Wanted ? cta.step.num_wanted : cta.step.num_rows;
  }
  /// To L2: prefill is not bound by its weights, their first bytes just should not be waited for.
  RETORT_DEVICE static void fetch(Cta &cta, const uint8_t *weights) {
    const TileRange range(kOutTiles * ceilDiv(numRows(cta), kRowTile));
    const int block = range.begin % kOutTiles * kTileBlocks + int(threadIndex());
    if (range.begin < range.end && threadIndex() < kTileBlocks && block < kBlocks)
      prefetchL2Bulk(weights + block * kBlockBytes, uint32_t(kBlockBytes));
  }
};

template <class P> RETORT_PHASE void matmulFetch(Cta &cta, const uint8_t *weights) {
  Product<P, 1>::fetch(cta, weights);
}
template <class P> RETORT_PHASE void matmulGluFetch(Cta &cta, const uint8_t *weights) {
  Product<P, 2>::fetch(cta, weights);
}

/// As retort::cuda::matmul, for any number of rows. Traffic of a tile: 8 blocks of weights, 64 x In
/// floats of rows (twice with a norm, when the rows change), through L2.
template <class P>
RETORT_PHASE void matmul(Cta &cta, const float *source, const float *gain, const uint8_t *weights,
                         float *dest, const float *bias, const float *residual,
                         const int32_t *wanted, float *sent = nullptr) {
  const Product<P, 1> product = {source, gain, weights, wanted, Product<P, 1>::numRows(cta)};
  product.tiles([&](int r, int n, float y, float) {
    const int64_t at = int64_t(r) * P::DestStride + n;
    if constexpr (P::HasBias)
      y += asFloat(ldGlobalNc32(bias + n));
    if constexpr (P::softCap != 0)
      y = softCapped(y, P::softCap);
    if constexpr (P::HasResidual)
      y += asFloat(ldGlobal32(residual + at));
    dest[at] = y;
  });
  if constexpr (kSends<P>) {
    ctaSync();
    product.send(dest, sent);
  }
}

/// As retort::cuda::matmulGlu, for any number of rows.
template <class P>
RETORT_PHASE void matmulGlu(Cta &cta, const float *source, const float *gain,
                            const uint8_t *weights, float *dest) {
  const Product<P, 2> product = {source, gain, weights, nullptr, Product<P, 2>::numRows(cta)};
  product.tiles([&](int r, int n, float gate, float up) {
    dest[int64_t(r) * P::DestStride + n] = activate<P::Act>(gate) * up;
  });
}

} // namespace retort::cuda::prefill
