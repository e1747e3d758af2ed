// Products of a decoding step: 1 to 16 rows times a packed matrix, weights read once.
// SPDX-License-Identifier: Apache-2.0
//
// What is fused: the RMS norm in front (stage.cuh), bias, soft cap and residual, or the gated
// activation, behind. A tile is 16 rows of the matrix: the CTA's 8 warps split its columns, each
// streams its share through its ring (cta.cuh) into tensor cores (weights.cuh), and the 8 partial
// sums meet in shared memory, added in the order of the warps.
//
// P of matmul and matmulGlu (all static constexpr):
//   int In, Out          columns and rows of the matrix; matmulGlu: Out channels, a matrix of 2 Out
//                        rows, "mma16_gated"
//   Weights              a format of weights.cuh
//   int SourceStride, SourceAt, DestStride    floats between rows; first column of the source
//   bool Norm, NormOffset; float eps          RMS norm of the source with gain[i], or 1 + gain[i]
//   float softCap                             0: none
//   bool HasBias, HasResidual                 residual rows are DestStride apart; it may be dest
//   bool Wanted, int MaxRows                  rows are step.wanted's; at most MaxRows <= 16
//   Activation Act       matmulGlu only; softCap, HasBias, HasResidual and Wanted: matmul only
//   bool Sums            (default false) the rows are source + what the other device sent
//   bool Sends           (default false) matmul: what goes to dest goes to `sent` too
#pragma once
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/stage.cuh"
#include "kernels/cuda/weights_float.cuh"
namespace retort::cuda {

/// Shared memory of a product and its loop over tiles. Matrices: 1, or 2 for gate and up.
template <class P, int Matrices> struct Product {
  using Stream = WeightStream<typename P::Weights, P::In>;
  static constexpr int kTiles = ceilDiv(P::Out, 16);
  static_assert(P::MaxRows >= 1 && P::MaxRows <= 16, "decode: prefill has its own kernels");

  // Partial sums [Matrices][warp][step row][16 weight rows], each step row 24 floats: fragments are
  // stored without conflicts, since rows t start 8 banks apart.
  static constexpr int kRowFloats = 24;
  RETORT_HOST_DEVICE static constexpr int kWarpFloats(int n) { return n * 4 * kRowFloats; }
  RETORT_HOST_DEVICE static constexpr int kPartFloats(int n) {
    return Matrices * kWarps * kWarpFloats(n);
  }
  // Two buffers where they are small: one barrier a tile instead of two.
  RETORT_HOST_DEVICE static constexpr int kBuffers(int n) { return Matrices * n <= 4 ? 2 : 1; }
  RETORT_HOST_DEVICE static constexpr int kPartBytes(int n) {
    return kBuffers(n) * kPartFloats(n) * 4;
  }
  static constexpr int kPartsAt = ceilDiv(Stage<P>::kSumBytes, 128) * 128;
  RETORT_HOST_DEVICE static constexpr int kRowsAt(int n) { return kPartsAt + kPartBytes(n); }
  /// Whether `rows` rows fit beside the partial sums.
  RETORT_HOST_DEVICE static constexpr bool fits(int n, int rows) {
    return Stage<P>::bytes(n, rows) <= kWorkBytes - kRowsAt(n);
  }
  static_assert(kRowsAt(4) <= kWorkBytes);

  RETORT_DEVICE static int numRows(const Cta &cta) {
    return P::Wanted ? cta.step.num_wanted : cta.step.num_rows;
  }
  RETORT_DEVICE static Stream stream(const uint8_t *weights) {
    const TileRange tiles(kTiles);
    return Stream(weights, tiles.begin * Matrices, (tiles.end - tiles.begin) * Matrices);
  }

  using W = typename P::Weights;
  template <int N> using Sums = typename W::template Sums<N>;

  /// This warp's part of a block's product.
  template <int N, class Source>
  RETORT_DEVICE static void multiplyBlock(Cta &cta, Stream &stream, const Source &source,
                                          Sums<N> &sums) {
    sums.zero();
    int col = stream.firstPiece * Stream::kLayout.pieceCols();
    for (int c = 0; c < stream.chunks; ++c) {
      const uint8_t *piece = stream.wait(cta);
      const int count = stream.chunkPieces(c);
#pragma unroll(Stream::kWhole &&N == 1 ? Stream::kChunk : 1)
      for (int p = 0; p < count; ++p) {
        if constexpr (W::kFixed)
          W::multiply(sums, piece, source, col);
        else
          W::multiply(sums.v, piece, source, col);
        piece += Stream::kPieceBytes;
        col += Stream::kLayout.pieceCols();
      }
      stream.release(cta);
    }
  }
  template <int N> RETORT_DEVICE static void storePart(float *part, const Sums<N> &sums) {
    const int g = int(laneIndex() / 4), t = int(laneIndex() % 4);
#pragma unroll
    for (int n = 0; n < N; ++n) {
      float *row = part + warpIndex() * kWarpFloats(N) + (n * 4 + t) * kRowFloats + g;
      row[0] = sums.get(n, 0);
      row[8] = sums.get(n, 1);
    }
  }
  /// Adds the warps' sums of step row r, weight row m.
  template <int N> RETORT_DEVICE static float total(const float *part, int r, int m) {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w)
      sum += part[w * kWarpFloats(N) + r * kRowFloats + m];
    return sum;
  }

  /// For all tiles: finish(whether it is one, step row, weight row, sums[Matrices]) by one thread
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
      float *part = parts + buffer * kPartFloats(N);
      if (kBuffers(N) == 1 && tile != range.begin)
        ctaSync(); // the last tile's sums have been read
#pragma unroll
      for (int i = 0; i < Matrices; ++i) {
        Sums<N> sums;
        multiplyBlock(cta, stream, source, sums);
        storePart<N>(part + i * kWarps * kWarpFloats(N), sums);
      }
      ctaSync();
      const bool mine = r < rows && r < N * 4 && tile * 16 + m < P::Out;
      float sums[Matrices] = {};
      if (mine)
#pragma unroll
        for (int i = 0; i < Matrices; ++i)
          sums[i] = total<N>(part + i * kWarps * kWarpFloats(N), r, m);
      finish(mine, r, tile * 16 + m, sums);
      buffer = kBuffers(N) == 2 ? buffer ^ 1 : 0;
    }
  }

  template <int N, class Finish>
  RETORT_DEVICE static void run(Cta &cta, const Stage<P> &stage, Stream &stream, int rows,
                                const Finish &finish) {
    float *sums = reinterpret_cast<float *>(cta.work());
    float *parts = reinterpret_cast<float *>(cta.work() + kPartsAt);
    uint8_t *staged = cta.work() + kRowsAt(N);
    if (fits(N, minOf(P::MaxRows, N * 4)) || fits(N, rows)) {
      stage.template stageAll<N>(sums, staged, rows);
      ctaSync();
      tiles<N>(cta, stream, SharedRows<P, N>(staged, rows), rows, parts, finish);
    } else if constexpr (!fits(N, minOf(P::MaxRows, N * 4))) {
      if constexpr (P::Norm)
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
    if constexpr (kSums<P>)
      relay(cta, stage.partials.inbox, P::SourceStride);
    Stream s = stream(weights);
    s.resume(cta);
    if (P::MaxRows <= 4 || rows <= 4)
      run<1>(cta, stage, s, rows, finish);
    else if (P::MaxRows <= 8 || rows <= 8)
      run<2>(cta, stage, s, rows, finish);
    else if constexpr (P::MaxRows > 8)
      run<4>(cta, stage, s, rows, finish);
    s.stop(cta);
  }
  RETORT_DEVICE static void fetch(Cta &cta, const uint8_t *weights) {
    if (numRows(cta) != 0)
      stream(weights).fetch(cta);
  }
};

/// Starts loading this CTA's first weights; see cta.cuh for when.
template <class P> RETORT_PHASE void matmulFetch(Cta &cta, const uint8_t *weights) {
  Product<P, 1>::fetch(cta, weights);
}
template <class P> RETORT_PHASE void matmulGluFetch(Cta &cta, const uint8_t *weights) {
  Product<P, 2>::fetch(cta, weights);
}

/// dest[r][n] = residual[r][n] + cap(norm(source[r]) . w[n] + bias[n])
///   source [rows][SourceStride] f32   gain [In] f32     weights mma16 [Out][In]
///   dest, residual [rows][DestStride] f32               bias [Out] f32
/// Traffic: the tile's block once from memory; rows x In floats from L2 once a CTA; rows x 16
/// floats out (and in, with a residual) a tile. Shared: parts, 3 KB a buffer and 4 rows, and the
/// rows (stage.cuh).
template <class P>
RETORT_PHASE void matmul(Cta &cta, const float *source, const float *gain, const uint8_t *weights,
                         float *dest, const float *bias, const float *residual,
                         const int32_t *wanted, Outbox sent = {}, Partials partials = {}) {
  const Stage<P> stage = {source, gain, wanted, partials};
  Product<P, 1>::runRows(cta, stage, weights, [&](bool mine, int r, int n, const float(&sums)[1]) {
    float y = sums[0];
    const int64_t at = int64_t(r) * P::DestStride + n;
    if (mine) {
      y = biasedAndCapped<P>(y, bias, n);
      if constexpr (P::HasResidual)
        y += asFloat(ldGlobal32(residual + at));
      if constexpr (kSends<P>)
        y = sendable(y);
      dest[at] = y;
    }
    if constexpr (kSends<P>) { // tile by tile
      const float next = shflXor(y, 1);
      if (mine && n % 2 == 0)
        sent.put(int64_t(r) * receivedStride(P::DestStride) + n / 2, y, next);
    }
  });
}

/// dest[r][n] = act(norm(source[r]) . gate[n]) * (norm(source[r]) . up[n])
/// As matmul, with weights mma16_gated [2 Out][In].
template <class P>
RETORT_PHASE void matmulGlu(Cta &cta, const float *source, const float *gain,
                            const uint8_t *weights, float *dest, Partials partials = {}) {
  const Stage<P> stage = {source, gain, nullptr, partials};
  Product<P, 2>::runRows(cta, stage, weights, [&](bool mine, int r, int n, const float(&sums)[2]) {
    if (mine)
      dest[int64_t(r) * P::DestStride + n] = activate<P::Act>(sums[0]) * sums[1];
  });
}

} // namespace retort::cuda
