// Products of a prefill step: many rows times a packed matrix, through tensor cores.
// SPDX-License-Identifier: Apache-2.0
//
// What is fused: the RMS norm in front, bias, soft cap and residual, or the gated activation,
// behind, as in decode and over the same packed weights. A tile is 128 weight rows x 64 rows of the
// step; 8 warps, 4 along the weights and 2 along the rows, have 32 x 32 of it each. On sm_90a it is
// 256 x 64, of which a warp has 32 x 64 (prefill_wgmma.cuh). Along the columns it goes by pieces of
// the packed layout:
//
//   weights   global -> shared by cp.async, several pieces ahead
//   rows      global f32 -> registers a piece ahead -> normed, as tensor cores take them
//             (prefill_rows.cuh) -> shared, two buffers; with wgmma while tensor cores work
//
// A gated product's two blocks of 16 weight rows are gate and up of the same channels
// ("mma16_gated" alternates them), so it differs only in its last step.
#pragma once
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/cta.cuh"
#include "kernels/cuda/prefill_rows.cuh"
#include "kernels/cuda/prefill_wgmma.cuh"
#include "kernels/cuda/stage.cuh"
#include "kernels/cuda/weights.cuh"
namespace retort::cuda::prefill {

/// How a tile is multiplied.
template <class W, int TileBlocks> struct TileOf;
template <class W> struct TileOf<W, kMmaTile.blocks> : RowTile<W> {};
template <class W> struct TileOf<W, kWgmmaTile.blocks> : WgmmaTile<W> {};

template <ProductShape P> struct Product {
  static constexpr int kMatrices = P.matrices(), kCols = P.weights.pieceCols();
  static constexpr int kPieces = P.pieces(), kPieceBytes = P.weights.pieceBytes();
  static constexpr int64_t kBlockBytes = P.weights.blockBytes(P.in);
  static constexpr int kBlocks = kMatrices * P.blocks(); // of 16 weight rows
  static constexpr int kTileBlocks = P.prefillTile(kHasWgmma).blocks;
  static constexpr int kOutTiles = P.outTiles(kHasWgmma);
  using Rows = TileOf<WeightsOf<P.weights>, kTileBlocks>;

  // Shared memory: rows (2 buffers), their norm scales, weights (kStages pieces of each of the
  // tile's blocks).
  static constexpr int kScalesAt = 2 * Rows::kBytes;
  static constexpr int kWeightsAt = kScalesAt + kRowTile * 4;
  static constexpr int kStageBytes = kTileBlocks * kPieceBytes;
  static constexpr int kStages = minOf(4, (kShared.arenaBytes() - kWeightsAt) / kStageBytes);
  static_assert(kStages >= 2);

  static constexpr int kLoads = kRowTile * kCols / 4 / kThreads; // of four values

  const float *source, *gain;
  const uint8_t *weights;
  const int32_t *wanted;
  int rows;

  RETORT_DEVICE const float *row(int r) const {
    const int64_t index = P.wanted ? wanted[r] : r;
    return source + index * P.sourceStride + P.sourceAt;
  }
  RETORT_DEVICE static uint8_t *arena() { return sharedArena() + kBarrierBytes; }

  /// 1 / sqrt(mean(x^2) + eps) of the tile's rows, a warp a row.
  RETORT_DEVICE void normScales(int firstRow) const {
    float *scales = reinterpret_cast<float *>(arena() + kScalesAt);
    for (int r = int(warpIndex()); r < kRowTile; r += kWarps) {
      float sum = 0;
      if (firstRow + r < rows)
#pragma unroll 4
        for (int i = int(laneIndex()) * 4; i < P.in; i += 128)
          sum = addSquares(loadFour<P.vectors()>(row(firstRow + r), i, P.in), sum);
      sum = warpSum(sum);
      constexpr float kEps = P.eps;
      if (laneIndex() == 0)
        scales[r] = rsqrtApprox(sum * (1.0f / P.in) + kEps);
    }
  }

  /// Asks for the weights of piece `piece` of the tile's blocks. Blocks beyond the matrix are
  /// zeros.
  RETORT_DEVICE void askWeights(int firstBlock, int piece) const {
    if (piece < kPieces) {
      uint8_t *stage = arena() + kWeightsAt + piece % kStages * kStageBytes;
      constexpr int kUnits = kPieceBytes / 16;
      const uint8_t *from =
          weights + int64_t(firstBlock) * kBlockBytes + int64_t(piece) * kPieceBytes;
#pragma unroll
      for (int i = 0; i < ceilDiv(kTileBlocks * kUnits, kThreads); ++i) {
        const int unit = i * kThreads + int(threadIndex());
        // The compiler does not see that these parts add up.
        const int block = kThreads % kUnits == 0
                              ? int(threadIndex()) / kUnits + i * (kThreads / kUnits)
                              : unit / kUnits;
        if (kTileBlocks * kUnits % kThreads == 0 || unit < kTileBlocks * kUnits)
          cpAsync16Zero(stage + unit * 16, from + block * kBlockBytes + unit % kUnits * 16,
                        kBlocks % kTileBlocks == 0 || firstBlock + block < kBlocks);
      }
    }
    cpAsyncCommit();
  }

  /// This thread's elements of a piece of the rows: 4 columns of every 16th (8th) row. They are
  /// loaded a piece ahead, but not of pieces of 128 columns, for which registers have no room.
  static constexpr bool kAhead = kCols == 64;
  struct Loaded {
    f32x4 v[kLoads], g;
  };
  RETORT_DEVICE f32x4 loadValues(int firstRow, int col, int i) const {
    const int r = firstRow + int(threadIndex()) / (kCols / 4) + i * kRowStep;
    return col < P.in && r < rows ? loadFour<P.vectors()>(row(r), col, P.in)
                                  : makeF32x4(0, 0, 0, 0);
  }
  static constexpr int kRowStep = kThreads / (kCols / 4);
  RETORT_DEVICE void loadRows(Loaded &x, int firstRow, int piece) const {
    const int col = piece * kCols + int(threadIndex()) % (kCols / 4) * 4;
    if constexpr (P.norm)
      if (col < P.in) {
        x.g = loadFourNc < P.in % 4 == 0 > (gain, col, P.in);
        constexpr float kOffset = float(P.normOffset);
        x.g = makeF32x4(x.g.x + kOffset, x.g.y + kOffset, x.g.z + kOffset, x.g.w + kOffset);
      }
    if constexpr (kAhead)
#pragma unroll
      for (int i = 0; i < kLoads; ++i)
        x.v[i] = loadValues(firstRow, col, i);
  }
  RETORT_DEVICE void storeRows(Loaded &x, int firstRow, int piece) const {
    const float *scales = reinterpret_cast<const float *>(arena() + kScalesAt);
    uint8_t *tile = arena() + piece % 2 * Rows::kBytes;
    const int at = int(threadIndex()) % (kCols / 4) * 4, col = piece * kCols + at;
    auto put = [&](int i, f32x4 v) {
      const int r = int(threadIndex()) / (kCols / 4) + i * kRowStep;
      if constexpr (P.norm)
        if (col < P.in) {
          const float s = scales[r];
          v = makeF32x4(v.x * s * x.g.x, v.y * s * x.g.y, v.z * s * x.g.z, v.w * s * x.g.w);
        }
      Rows::store(tile, at, r, v);
    };
    if constexpr (kAhead) {
#pragma unroll
      for (int i = 0; i < kLoads; ++i)
        put(i, x.v[i]);
    } else {
      loadRows(x, firstRow, piece);
#pragma unroll 4
      for (int i = 0; i < kLoads; ++i)
        put(i, loadValues(firstRow, col, i));
    }
    if constexpr (Rows::kAsync)
      fenceAsyncShared();
  }

  /// The warp's part of the tile: its two blocks, its 32 rows.
  RETORT_DEVICE void tile(int firstBlock, int firstRow, typename Rows::Sums &sums) const {
    sums.zero();
    for (int s = 0; s < kStages - 1; ++s)
      askWeights(firstBlock, s);
    Loaded x;
    if constexpr (kAhead)
      loadRows(x, firstRow, 0);
    storeRows(x, firstRow, 0);
    if constexpr (kAhead)
      loadRows(x, firstRow, 1);
#pragma unroll 1
    for (int piece = 0; piece < kPieces; ++piece) {
      cpAsyncWait<kStages - 2>();
      ctaSync(); // this piece is here for all; all are done with the one before
      askWeights(firstBlock, piece + kStages - 1);
      auto stageNext = [&] {
        if (piece + 1 < kPieces) {
          storeRows(x, firstRow, piece + 1);
          if constexpr (kAhead)
            loadRows(x, firstRow, piece + 2);
        }
      };
      const uint8_t *block =
          arena() + kWeightsAt + piece % kStages * kStageBytes + Rows::warpBlock() * kPieceBytes;
      const uint8_t *tile = arena() + piece % 2 * Rows::kBytes;
      if constexpr (Rows::kAsync) {
        Rows::multiply(sums, {block, block + kPieceBytes}, tile, stageNext);
      } else {
        stageNext();
        Rows::multiply(sums, {block, block + kPieceBytes}, tile, Rows::warpRow());
      }
    }
    ctaSync(); // shared memory is free
  }

  /// finish(step row, weight row or channel, values of the matrices) for each element of all tiles
  /// of this CTA.
  template <class Finish> RETORT_DEVICE void tiles(const Finish &finish) const {
    const TileRange range(numTiles(rows));
    int normed = -1; // the rows whose scales are in shared memory
    for (int index = range.begin; index < range.end; ++index) {
      if (threadIndex() == 0)
        countTile();
      const int firstRow = index / kOutTiles * kRowTile;
      const int firstBlock = index % kOutTiles * kTileBlocks;
      if (P.norm && firstRow != normed) {
        normScales(firstRow);
        normed = firstRow;
        ctaSync();
      }
      typename Rows::Sums sums;
      tile(firstBlock, firstRow, sums);
      const int block = firstBlock + Rows::warpBlock();
      const int warpRow = firstRow + Rows::warpRow();
      Rows::forSums(sums, [&](int row, int m, float first, float second) {
        const int r = warpRow + row;
        if (r >= rows)
          return;
        if constexpr (P.gated) {
          if (block / 2 * 16 + m < P.out)
            finish(r, block / 2 * 16 + m, first, second);
        } else {
          if (block * 16 + m < P.out)
            finish(r, block * 16 + m, first, 0.0f);
          if ((block + 1) * 16 + m < P.out)
            finish(r, (block + 1) * 16 + m, second, 0.0f);
        }
      });
    }
  }

  /// What this CTA's tiles have stored in dest, to the other device: in whole vectors, which fill a
  /// link's packets, unlike the fragments that a tile ends as. Two pointers in tiles() would also
  /// cost registers that are not there.
  RETORT_DEVICE void send(const float *dest, float *sent) const {
    constexpr int kTileVectors = kTileBlocks * 16 / 4;
    const TileRange range(numTiles(rows));
    for (int index = range.begin; index < range.end; ++index)
      for (int i = int(threadIndex()); i < kRowTile * kTileVectors; i += kPrefillThreads) {
        const int r = index / kOutTiles * kRowTile + i / kTileVectors;
        const int n = index % kOutTiles * kTileBlocks * 16 + i % kTileVectors * 4;
        const int64_t at = int64_t(r) * P.destStride + n;
        if (r >= rows || n >= P.out)
          continue;
        if (P.destStride % 4 == 0 && P.out % 4 == 0) {
          stGlobal128(sent + at, ldGlobal128(dest + at));
        } else {
          for (int j = 0; j < 4 && n + j < P.out; ++j)
            stGlobal32(sent + at + j, ldGlobal32(dest + at + j));
        }
      }
  }

  RETORT_DEVICE static int numTiles(int rows) { return P.prefillTiles(kHasWgmma).of(rows); }
  RETORT_DEVICE static int numRows(const Cta &cta) {
    return P.wanted ? cta.step.num_wanted : cta.step.num_rows;
  }
  /// To L2: prefill is not bound by its weights, their first bytes just should not be waited for.
  RETORT_DEVICE static void fetch(Cta &cta, const uint8_t *weights) {
    const TileRange range(numTiles(numRows(cta)));
    const int block = range.begin % kOutTiles * kTileBlocks + int(threadIndex());
    if (range.begin < range.end && threadIndex() < kTileBlocks && block < kBlocks)
      prefetchL2Bulk(weights + block * kBlockBytes, uint32_t(kBlockBytes));
  }
};

template <ProductShape P> RETORT_PHASE void matmulFetch(Cta &cta, const uint8_t *weights) {
  Product<P>::fetch(cta, weights);
}

/// As retort::cuda::matmul, for any number of rows. Traffic of a tile: 8 or 16 blocks of weights,
/// 64 x `in` floats of rows (twice with a norm, when the rows change), through L2.
template <ProductShape P>
RETORT_PHASE void matmul(Cta &cta, const float *source, const float *gain, const uint8_t *weights,
                         float *dest, const float *bias, const float *residual,
                         const int32_t *wanted, float *sent = nullptr) {
  const Product<P> product = {source, gain, weights, wanted, Product<P>::numRows(cta)};
  product.tiles([&](int r, int n, float y, float) {
    const int64_t at = int64_t(r) * P.destStride + n;
    y = biasedAndCapped<P>(y, bias, n);
    if constexpr (P.hasResidual)
      y += asFloat(ldGlobal32(residual + at));
    dest[at] = y;
  });
  if constexpr (P.sends) {
    ctaSync();
    product.send(dest, sent);
  }
}

/// As retort::cuda::matmulGlu, for any number of rows.
template <ProductShape P>
RETORT_PHASE void matmulGlu(Cta &cta, const float *source, const float *gain,
                            const uint8_t *weights, float *dest) {
  static_assert(P.gated && !P.hasBias && !P.hasResidual && !P.wanted && P.softCap == 0);
  const Product<P> product = {source, gain, weights, nullptr, Product<P>::numRows(cta)};
  product.tiles([&](int r, int n, float gate, float up) {
    dest[int64_t(r) * P.destStride + n] = activate<P.act>(gate) * up;
  });
}

} // namespace retort::cuda::prefill
