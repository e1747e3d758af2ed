// A product's prologue: rows, normed if the program says so, as f16 where tensor cores take them
// from. SPDX-License-Identifier: Apache-2.0
//
// Every CTA stages all rows for itself. That repeats work, but the rows of a decoding step are a
// few KB that lie in L2, and it saves a phase and its wait. Rows too long for shared memory (16
// rows of 4096 on a card with 99 KB) stay where they are and are converted on each use: the same
// values, more traffic from L2.
#pragma once
#include "kernels/cuda/exchange.cuh"
namespace retort::cuda {

/// Four neighbouring values, as f32. Vector: 16-byte aligned and whole; else value by value, zeros
/// from `size` on.
template <bool Vector> RETORT_DEVICE f32x4 loadFour(const float *row, int i, int size) {
  if constexpr (Vector) {
    const u32x4 v = ldGlobal128(row + i);
    return makeF32x4(asFloat(v.x), asFloat(v.y), asFloat(v.z), asFloat(v.w));
  } else {
    float v[4];
#pragma unroll
    for (int j = 0; j < 4; ++j)
      v[j] = i + j < size ? asFloat(ldGlobal32(row + i + j)) : 0.0f;
    return makeF32x4(v[0], v[1], v[2], v[3]);
  }
}
/// The same of weights (a norm's gain).
template <bool Vector> RETORT_DEVICE f32x4 loadFourNc(const float *row, int i, int size) {
  if constexpr (Vector) {
    const u32x4 v = ldGlobalNc128(row + i);
    return makeF32x4(asFloat(v.x), asFloat(v.y), asFloat(v.z), asFloat(v.w));
  } else {
    float v[4];
#pragma unroll
    for (int j = 0; j < 4; ++j)
      v[j] = i + j < size ? asFloat(ldGlobalNc32(row + i + j)) : 0.0f;
    return makeF32x4(v[0], v[1], v[2], v[3]);
  }
}
/// Two activations as f16. What is beyond its range (outliers of some models reach that) is cut
/// there and not infinite.
RETORT_DEVICE uint32_t packRows(float low, float high) {
  constexpr float kMost = 65504;
  low = low > kMost ? kMost : low < -kMost ? -kMost : low;
  high = high > kMost ? kMost : high < -kMost ? -kMost : high;
  return packHalf2(low, high);
}
RETORT_DEVICE float addSquares(f32x4 v, float sum) {
  return fmaF32(v.w, v.w, fmaF32(v.z, v.z, fmaF32(v.y, v.y, fmaF32(v.x, v.x, sum))));
}

/// Rows that are sums over two devices: the source is this one's part, and the inbox is what the
/// other one sends. Where sum is given, the rows' sums are stored there.
struct Partials {
  Inbox inbox;
  float *sum = nullptr;
};
/// Whether P says that its source is a partial sum; that its result is sent.
template <class P> constexpr bool kSums = requires { requires P::Sums; };
template <class P> constexpr bool kSends = requires { requires P::Sends; };

/// What the products' prologue does with a row. P as in matmul.cuh.
template <class P> struct Stage {
  static constexpr int kPieceCols = P::Weights::kLayout.pieceCols();
  static constexpr int kCols = int(P::Weights::kLayout.pieces(P::In)) * kPieceCols; // with padding
  static constexpr int kStride = (kCols + 8) * 2; // bytes; a row starts 16 further round the banks
  static constexpr bool kVector =
      P::In % 4 == 0 && P::SourceStride % 4 == 0 && P::SourceAt % 4 == 0;
  static constexpr int kVectors = ceilDiv(P::In, 4 * kThreads); // of four values, a thread
  static constexpr int kSumBytes = P::MaxRows * kWarps * 4;

  const float *source;
  const float *gain;
  const int32_t *wanted;
  Partials partials;
  static_assert(!kSums<P> || (P::Norm && P::SourceAt == 0), "sumSquares stores the sums");
  static constexpr int kWordStride = receivedStride(P::SourceStride); // pairs

  RETORT_DEVICE int64_t rowAt(int r) const {
    const int64_t index = P::Wanted ? wanted[r] : r;
    return index * P::SourceStride + P::SourceAt;
  }
  RETORT_DEVICE const float *row(int r) const { return source + rowAt(r); }
  /// Where a row's words are: pairs.
  RETORT_DEVICE int64_t wordsAt(int r) const {
    return int64_t(P::Wanted ? wanted[r] : r) * kWordStride;
  }
  /// Values i to i + 3 of a row whose words, if it has some, are there. The sum has the same bits
  /// on both devices, whichever part is its own.
  RETORT_DEVICE f32x4 four(int r, int i) const {
    const f32x4 v = loadFour<kVector>(row(r), i, P::In);
    if constexpr (!kSums<P>)
      return v;
    const u32x4 low = partials.inbox.pair(wordsAt(r) + i),
                high = partials.inbox.pair(wordsAt(r) + i + 2);
    return sumOf(v, low, high, i);
  }
  RETORT_DEVICE static f32x4 sumOf(f32x4 v, u32x4 low, u32x4 high, int i) {
    const auto at = [&](int j, float own, uint32_t sent) { // zeros from the row's end on
      return kVector || i + j < P::In ? own + asFloat(sent) : 0.0f;
    };
    return makeF32x4(at(0, v.x, low.x), at(1, v.y, low.z), at(2, v.z, high.x), at(3, v.w, high.z));
  }
  /// A row's values of this thread: v[j] is four((j * kThreads + thread) * 4). All that it asks for
  /// is on its way at once, kAtOnce vectors at a time while it waits for words.
  RETORT_DEVICE void rowOf(f32x4 (&v)[kVectors], int r) const {
    const auto at = [](int j) { return (j * kThreads + int(threadIndex())) * 4; };
    if constexpr (!kSums<P>) {
#pragma unroll
      for (int j = 0; j < kVectors; ++j)
        if (at(j) < P::In)
          v[j] = four(r, at(j));
    } else {
      constexpr int kAtOnce = minOf(kVectors, 4);
#pragma unroll
      for (int first = 0; first < kVectors; first += kAtOnce) {
        u32x4 low[kAtOnce], high[kAtOnce];
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k)
          if (const int i = at(first + k); i < P::In)
            v[first + k] = loadFour<kVector>(row(r), i, P::In);
        for (bool all = false; !all;) {
#pragma unroll
          for (int k = 0; k < kAtOnce; ++k)
            if (const int i = at(first + k); i < P::In) {
              low[k] = partials.inbox.pair(wordsAt(r) + i);
              high[k] = partials.inbox.pair(wordsAt(r) + i + 2);
            }
          all = true;
#pragma unroll
          for (int k = 0; k < kAtOnce; ++k)
            if (const int i = at(first + k); i < P::In)
              all = all && partials.inbox.has(low[k], i + 1 < P::In) &&
                    (i + 2 >= P::In || partials.inbox.has(high[k], i + 3 < P::In));
          if (!all)
            spinPause();
        }
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k)
          if (const int i = at(first + k); i < P::In)
            v[first + k] = sumOf(v[first + k], low[k], high[k], i);
      }
    }
  }
  /// Stores them for later phases, if this CTA's share has them.
  RETORT_DEVICE void keep(int r, int i, f32x4 v) const {
    if constexpr (kSums<P>) {
      const TileRange range(ceilDiv(P::In, 4));
      if (!partials.sum || i / 4 < range.begin || i / 4 >= range.end)
        return;
      float *to = partials.sum + rowAt(r) + i;
      const float values[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (i + j < P::In)
          stGlobal32(to + j, asBits(values[j]));
    }
  }
  RETORT_DEVICE f32x4 gainAt(int i) const {
    f32x4 g = loadFourNc < P::In % 4 == 0 > (gain, i, P::In);
    constexpr float kOffset = float(P::NormOffset);
    return makeF32x4(g.x + kOffset, g.y + kOffset, g.z + kOffset, g.w + kOffset);
  }
  RETORT_DEVICE static f32x4 normed(f32x4 v, float scale, f32x4 g) {
    return makeF32x4(v.x * scale * g.x, v.y * scale * g.y, v.z * scale * g.z, v.w * scale * g.w);
  }
  /// 1 / sqrt(mean(x^2) + eps) of a row whose warps' sums of squares are at sums[r * kWarps].
  RETORT_DEVICE static float normScale(const float *sums, int r) {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w)
      sum += sums[r * kWarps + w];
    return rsqrtApprox(sum * (1.0f / P::In) + P::eps);
  }
  RETORT_DEVICE static void store(uint8_t *rows, int r, int i, f32x4 v) {
    *reinterpret_cast<u32x2 *>(rows + r * kStride + i * 2) =
        makeU32x2(packRows(v.x, v.y), packRows(v.z, v.w));
  }
  RETORT_DEVICE static void zeroPadding(uint8_t *rows, int r) {
    constexpr int kFirst = ceilDiv(P::In, 4) * 4; // multiples of four were stored whole
    if (const int i = kFirst + int(threadIndex()) * 4; i < kCols)
      store(rows, r, i, makeF32x4(0, 0, 0, 0));
  }

  /// Sums of squares of each row: thread i's elements, over the lanes, then (normScale) over the
  /// warps.
  RETORT_DEVICE void sumSquares(float *sums, int numRows) const {
    for (int r = 0; r < numRows; ++r) {
      float sum = 0;
      f32x4 v[kVectors];
      rowOf(v, r);
#pragma unroll
      for (int j = 0; j < kVectors; ++j)
        if (const int i = (j * kThreads + int(threadIndex())) * 4; i < P::In) {
          keep(r, i, v[j]);
          sum = addSquares(v[j], sum);
        }
      sum = warpSum(sum);
      if (laneIndex() == 0)
        sums[r * kWarps + warpIndex()] = sum;
    }
    ctaSync();
  }
  /// One row, kept in registers between its sum and its store.
  RETORT_DEVICE void stageOne(float *sums, uint8_t *rows) const {
    f32x4 v[kVectors];
    float sum = 0, scale = 1;
    rowOf(v, 0);
#pragma unroll
    for (int j = 0; j < kVectors; ++j)
      if (const int i = (j * kThreads + int(threadIndex())) * 4; i < P::In) {
        keep(0, i, v[j]);
        if constexpr (P::Norm)
          sum = addSquares(v[j], sum);
      }
    if constexpr (P::Norm) {
      sum = warpSum(sum);
      if (laneIndex() == 0)
        sums[warpIndex()] = sum;
      ctaSync();
      scale = normScale(sums, 0);
    }
#pragma unroll
    for (int j = 0; j < kVectors; ++j)
      if (const int i = (j * kThreads + int(threadIndex())) * 4; i < P::In)
        store(rows, 0, i, P::Norm ? normed(v[j], scale, gainAt(i)) : v[j]);
    zeroPadding(rows, 0);
  }
  /// All rows to rows[r * kStride], f16. sums: kSumBytes of shared memory. Readable after the
  /// caller's ctaSync.
  RETORT_DEVICE void stageAll(float *sums, uint8_t *rows, int numRows) const {
    if (numRows == 1)
      return stageOne(sums, rows);
    if constexpr (P::Norm)
      sumSquares(sums, numRows);
    for (int r = 0; r < numRows; ++r) {
      float scale = 1;
      if constexpr (P::Norm)
        scale = normScale(sums, r);
#pragma unroll
      for (int j = 0; j < kVectors; ++j)
        if (const int i = (j * kThreads + int(threadIndex())) * 4; i < P::In) {
          const f32x4 v = four(r, i);
          store(rows, r, i, P::Norm ? normed(v, scale, gainAt(i)) : v);
        }
      zeroPadding(rows, r);
    }
  }
};

/// B fragments of staged rows. Rows that the step lacks read the first of their 8: their results
/// are never stored. A request touches 8 rows of 16 bytes that start 16 bytes further round the
/// banks each: no conflicts.
template <class P, int N> struct SharedRows {
  static constexpr bool kHasSums = false;
  const uint8_t *lane[N]; // ldmatrix: lane l passes row l % 8 of matrix l / 8, 8 columns each

  RETORT_DEVICE SharedRows(const uint8_t *rows, int numRows) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const int r = n * 8 + int(laneIndex() % 8);
      lane[n] = rows + (r < numRows ? r : n * 8) * Stage<P>::kStride + laneIndex() / 8 * 16;
    }
  }
  RETORT_DEVICE void load32(uint32_t (&b)[N][4], int col) const {
#pragma unroll
    for (int n = 0; n < N; ++n)
      ldmatrixX4(b[n], lane[n] + col * 2);
  }
};

/// B fragments of rows in global memory.
template <class P, int N> struct GlobalRows {
  static constexpr bool kHasSums = false;
  const Stage<P> &stage;
  const float *lane[N]; // row g of the fragment
  int row[N];
  float scale[N];

  RETORT_DEVICE GlobalRows(const Stage<P> &stage, const float *sums, int numRows) : stage(stage) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const int r = n * 8 + int(laneIndex() / 4);
      row[n] = r < numRows ? r : 0;
      lane[n] = stage.row(row[n]);
      scale[n] = P::Norm ? Stage<P>::normScale(sums, r < numRows ? r : 0) : 1.0f;
    }
  }
  RETORT_DEVICE void load32(uint32_t (&b)[N][4], int col) const {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int k = col + j * 8 + int(laneIndex() % 4) * 2;
      float g[2] = {1, 1};
      if constexpr (P::Norm)
#pragma unroll
        for (int e = 0; e < 2; ++e)
          g[e] = k + e < P::In ? asFloat(ldGlobalNc32(stage.gain + k + e)) + float(P::NormOffset)
                               : 0.0f;
#pragma unroll
      for (int n = 0; n < N; ++n) {
        float v[2];
        if (Stage<P>::kVector) {
          const u32x2 pair = k < P::In ? ldGlobal64(lane[n] + k) : makeU32x2(0, 0);
          v[0] = asFloat(pair.x), v[1] = asFloat(pair.y);
        } else {
#pragma unroll
          for (int e = 0; e < 2; ++e)
            v[e] = k + e < P::In ? asFloat(ldGlobal32(lane[n] + k + e)) : 0.0f;
        }
        if constexpr (kSums<P>)
          if (k < P::In) { // the words are there: sumSquares has read the rows
            const u32x4 sent = stage.partials.inbox.pair(stage.wordsAt(row[n]) + k);
            v[0] += asFloat(sent.x);
            if (k + 1 < P::In)
              v[1] += asFloat(sent.z);
          }
        b[n][j] = P::Norm ? packRows(v[0] * scale[n] * g[0], v[1] * scale[n] * g[1])
                          : packRows(v[0], v[1]);
      }
    }
  }
};

} // namespace retort::cuda
