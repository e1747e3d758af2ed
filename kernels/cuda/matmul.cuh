// Products of a decoding step: 1 to 16 rows times a packed matrix, weights read once.
// SPDX-License-Identifier: Apache-2.0
//
// What is fused: the RMS norm in front (stage.cuh), bias, soft cap and residual, or the gated
// activation, behind. A tile is 16 rows of the matrix: the CTA's 8 warps split its columns, each
// streams its share through its ring (cta.cuh) into tensor cores (weights.cuh), and the 8 partial
// sums meet in shared memory, added in the order of the warps.
#pragma once
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/stage.cuh"
namespace retort::cuda {

/// A product's loop over tiles.
template <ProductShape P> struct Product {
  using Stream = WeightStream<P>;
  static constexpr int kMatrices = P.matrices(), kTiles = P.decodeTiles().tiles;
  static_assert(P.maxRows >= 1 && P.maxRows <= P.kMaxDecodeRows, "prefill has its own kernels");
  static_assert(P.rowsAt(4) <= kShared.workBytes());

  RETORT_DEVICE static int numRows(const Cta &cta) {
    return P.wanted ? cta.step.num_wanted : cta.step.num_rows;
  }
  RETORT_DEVICE static Stream stream(const uint8_t *weights) {
    const TileRange tiles(kTiles);
    return Stream(weights, tiles.begin * kMatrices, (tiles.end - tiles.begin) * kMatrices);
  }

  using W = WeightsOf<P.weights>;
  template <int N> using Sums = typename W::template Sums<N>;

  /// This warp's part of a block's product.
  template <int N, class Source>
  RETORT_DEVICE static void multiplyBlock(Cta &cta, Stream &stream, const Source &source,
                                          Sums<N> &sums) {
    sums.zero();
    int col = stream.firstPiece * Stream::kPieceCols;
    for (int c = 0; c < stream.chunks; ++c) {
      const uint8_t *piece = stream.wait(cta);
      const int count = stream.chunkPieces(c);
#pragma unroll(Stream::kWhole &&N == 1 ? Stream::kChunk : 1)
      for (int p = 0; p < count; ++p) {
        if constexpr (P.integers())
          W::multiply(sums, piece, source, col);
        else
          W::multiply(sums.v, piece, source, col);
        piece += Stream::kPieceBytes;
        col += Stream::kPieceCols;
      }
      stream.release(cta);
    }
  }
  template <int N> RETORT_DEVICE static void storePart(float *part, const Sums<N> &sums) {
    const int g = int(laneIndex() / 4), t = int(laneIndex() % 4);
#pragma unroll
    for (int n = 0; n < N; ++n) {
      float *row = part + warpIndex() * P.warpPartFloats(N) + (n * 4 + t) * P.kPartRowFloats + g;
      row[0] = sums.get(n, 0);
      row[8] = sums.get(n, 1);
    }
  }
  /// Adds the warps' sums of step row r, weight row m.
  template <int N> RETORT_DEVICE static float total(const float *part, int r, int m) {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w)
      sum += part[w * P.warpPartFloats(N) + r * P.kPartRowFloats + m];
    return sum;
  }

  /// For all tiles: finish(whether it is one, step row, weight row, sums[kMatrices]) by one thread
  /// an element; by all lanes, of which neighbours have neighbouring weight rows.
  template <int N, class Source, class Finish>
  RETORT_DEVICE static void tiles(Cta &cta, Stream &stream, const Source &source, int rows,
                                  float *parts, const Finish &finish) {
    const TileRange range(kTiles);
    // A warp reads rows r and r + 2, which lie 16 banks apart.
    const int index = int(threadIndex() / 16), m = int(threadIndex() % 16);
    const int r = index % 2 * 2 + index / 2 % 2 + index / 4 * 4;
    int buffer = 0;
    for (int tile = range.begin; tile < range.end; ++tile) {
      if (threadIndex() == 0)
        countTile();
      float *part = parts + buffer * P.partFloats(N);
      if (P.partBuffers(N) == 1 && tile != range.begin)
        ctaSync(); // the last tile's sums have been read
#pragma unroll
      for (int i = 0; i < kMatrices; ++i) {
        Sums<N> sums;
        multiplyBlock(cta, stream, source, sums);
        storePart<N>(part + i * kWarps * P.warpPartFloats(N), sums);
      }
      ctaSync();
      const bool mine = r < rows && r < N * 4 && tile * 16 + m < P.out;
      float sums[kMatrices] = {};
      if (mine)
#pragma unroll
        for (int i = 0; i < kMatrices; ++i)
          sums[i] = total<N>(part + i * kWarps * P.warpPartFloats(N), r, m);
      finish(mine, r, tile * 16 + m, sums);
      buffer = P.partBuffers(N) == 2 ? buffer ^ 1 : 0;
    }
  }

  template <int N, class Finish>
  RETORT_DEVICE static void run(Cta &cta, const Stage<P> &stage, Stream &stream, int rows,
                                const Finish &finish) {
    float *sums = reinterpret_cast<float *>(cta.work());
    float *parts = reinterpret_cast<float *>(cta.work() + P.partsAt());
    uint8_t *staged = cta.work() + P.rowsAt(N);
    constexpr bool kAllFit = P.fits(N, minOf(P.maxRows, N * 4), kShared);
    if (kAllFit || P.fits(N, rows, kShared)) {
      stage.template stageAll<N>(sums, staged, rows);
      ctaSync();
      tiles<N>(cta, stream, SharedRows<P, N>(staged, rows), rows, parts, finish);
    } else if constexpr (!kAllFit) {
      if constexpr (P.norm)
        stage.sumSquares(sums, rows);
      tiles<N>(cta, stream, GlobalRows<P, N>(stage, sums, rows), rows, parts, finish);
    }
    ctaSync(); // the work area is free
  }
  template <class Finish>
  RETORT_DEVICE static void runRows(Cta &cta, const Stage<P> &stage, const uint8_t *weights,
                                    const Finish &finish) {
    const int rows = numRows(cta);
    if (rows == 0)
      return;
    if constexpr (P.sums)
      relay(cta, stage.partials.inbox, P.sourceStride);
    Stream s = stream(weights);
    s.resume(cta);
    if (P.maxRows <= 4 || rows <= 4)
      run<1>(cta, stage, s, rows, finish);
    else if (P.maxRows <= 8 || rows <= 8)
      run<2>(cta, stage, s, rows, finish);
    else if constexpr (P.maxRows > 8)
      run<4>(cta, stage, s, rows, finish);
    s.stop(cta);
  }
  RETORT_DEVICE static void fetch(Cta &cta, const uint8_t *weights) {
    if (numRows(cta) != 0)
      stream(weights).fetch(cta);
  }
};

/// Starts loading this CTA's first weights, for matmul, matmulGlu and matmulArgmax; see cta.cuh for
/// when.
template <ProductShape P> RETORT_PHASE void matmulFetch(Cta &cta, const uint8_t *weights) {
  Product<P>::fetch(cta, weights);
}

/// dest[r][n] = residual[r][n] + cap(norm(source[r]) . w[n] + bias[n])
///   source [rows][sourceStride] f32   gain [in] f32     weights mma16 [out][in]
///   dest, residual [rows][destStride] f32               bias [out] f32
/// Traffic: the tile's block once from memory; rows x `in` floats from L2 once a CTA; rows x 16
/// floats out (and in, with a residual) a tile. Shared: parts, 3 KB a buffer and 4 rows, and the
/// rows (stage.cuh).
template <ProductShape P>
RETORT_PHASE void matmul(Cta &cta, const float *source, const float *gain, const uint8_t *weights,
                         float *dest, const float *bias, const float *residual,
                         const int32_t *wanted, Outbox sent = {}, Partials partials = {}) {
  const Stage<P> stage = {source, gain, wanted, partials};
  Product<P>::runRows(cta, stage, weights, [&](bool mine, int r, int n, const float(&sums)[1]) {
    float y = sums[0];
    const int64_t at = int64_t(r) * P.destStride + n;
    if (mine) {
      y = biasedAndCapped<P>(y, bias, n);
      if constexpr (P.hasResidual)
        y += asFloat(ldGlobal32(residual + at));
      if constexpr (P.sends)
        y = sendable(y);
      dest[at] = y;
    }
    if constexpr (P.sends) { // tile by tile
      const float next = shflXor(y, 1);
      if (mine && n % 2 == 0)
        sent.put(int64_t(r) * receivedStride(P.destStride) + n / 2, y, next);
    }
  });
}

/// dest[r][n] = act(norm(source[r]) . gate[n]) * (norm(source[r]) . up[n])
/// As matmul, with weights mma16_gated [2 out][in].
template <ProductShape P>
RETORT_PHASE void matmulGlu(Cta &cta, const float *source, const float *gain,
                            const uint8_t *weights, float *dest, Partials partials = {}) {
  static_assert(P.gated && !P.hasBias && !P.hasResidual && !P.wanted && P.softCap == 0);
  const Stage<P> stage = {source, gain, nullptr, partials};
  Product<P>::runRows(cta, stage, weights, [&](bool mine, int r, int n, const float(&sums)[2]) {
    if (mine)
      dest[int64_t(r) * P.destStride + n] = activate<P.act>(sums[0]) * sums[1];
  });
}

} // namespace retort::cuda
