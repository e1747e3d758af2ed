// A product's prologue: rows, normed if the program says so, as tensor cores take them.
// SPDX-License-Identifier: Apache-2.0
//
// Every CTA stages all rows for itself. That repeats work, but the rows of a decoding step are a
// few KB that lie in L2, and it saves a phase and its wait. A row becomes two, neighbouring columns
// of B (weights.cuh): of signed bytes, with a scale for each group of columns (fixed.cuh), or of
// f16. Rows too long for shared memory (8 rows of 4096 on a GPU with 99 KB) stay where they are
// and are converted on each use: the same values, more traffic from L2.
#pragma once
#include "kernels/cuda/exchange.cuh"
#include "kernels/cuda/fixed.cuh"
#include "kernels/cuda/weights_float.cuh"
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
/// What packRows left of them, as f16.
RETORT_DEVICE uint32_t packRest(float low, float high, uint32_t packed) {
  const f32x2 v = unpackHalf2(packed);
  return packRows(low - v.x, high - v.y);
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
/// What the products' prologue does with a row.
template <ProductShape P> struct Stage {
  using W = WeightsOf<P.weights>;
  static constexpr int kPieceCols = P.weights.pieceCols(), kCols = P.columns();
  static constexpr int kStride = P.rowStride();
  static constexpr int kVectors = ceilDiv(kCols, 4 * kThreads); // of four values, a thread

  const float *source;
  const float *gain;
  const int32_t *wanted;
  Partials partials;
  static_assert(!P.sums || (P.norm && P.sourceAt == 0), "sumSquares stores the sums");
  static constexpr int kWordStride = receivedStride(P.sourceStride);

  RETORT_DEVICE int64_t rowAt(int r) const {
    const int64_t index = P.wanted ? wanted[r] : r;
    return index * P.sourceStride + P.sourceAt;
  }
  RETORT_DEVICE const float *row(int r) const { return source + rowAt(r); }
  /// The words of columns i to i + 3 of a row.
  RETORT_DEVICE u32x4 sent(int r, int i) const {
    return partials.inbox.four(int64_t(P.wanted ? wanted[r] : r) * kWordStride + i / 2);
  }
  /// Values i to i + 3 of a row whose words, if it has some, are there; zeros from In on. The sum
  /// has the same bits on both devices, whichever part is its own.
  RETORT_DEVICE f32x4 four(int r, int i) const {
    if (i >= P.in)
      return makeF32x4(0, 0, 0, 0);
    const f32x4 v = loadFour<P.vectors()>(row(r), i, P.in);
    if constexpr (!P.sums)
      return v;
    return sumOf(v, sent(r, i), i);
  }
  RETORT_DEVICE static f32x4 sumOf(f32x4 v, u32x4 four, int i) {
    const auto at = [&](int j, float own, float sent) { // zeros from the row's end on
      return P.vectors() || i + j < P.in ? own + sent : 0.0f;
    };
    return makeF32x4(at(0, v.x, Inbox::first(four.x)), at(1, v.y, Inbox::second(four.x, four.y)),
                     at(2, v.z, Inbox::first(four.z)), at(3, v.w, Inbox::second(four.z, four.w)));
  }
  /// A row's values of this thread: v[j] is four(r, column(j)). All that it asks for is on its way
  /// at once, kAtOnce vectors at a time while it waits for words.
  RETORT_DEVICE void rowOf(f32x4 (&v)[kVectors], int r) const {
    if constexpr (!P.sums) {
#pragma unroll
      for (int j = 0; j < kVectors; ++j)
        v[j] = four(r, column(j));
    } else {
      constexpr int kAtOnce = minOf(kVectors, 4);
#pragma unroll
      for (int first = 0; first < kVectors; first += kAtOnce) {
        u32x4 four[kAtOnce];
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k)
          if (first + k < kVectors)
            v[first + k] = column(first + k) < P.in
                               ? loadFour<P.vectors()>(row(r), column(first + k), P.in)
                               : makeF32x4(0, 0, 0, 0);
        for (bool all = false; !all;) {
#pragma unroll
          for (int k = 0; k < kAtOnce; ++k)
            if (const int i = column(first + k); i < P.in)
              four[k] = sent(r, i);
          all = true;
#pragma unroll
          for (int k = 0; k < kAtOnce; ++k)
            if (const int i = column(first + k); i < P.in)
              all = all && partials.inbox.has(four[k], i + 2 < P.in);
          if (!all)
            spinPause();
        }
#pragma unroll
        for (int k = 0; k < kAtOnce; ++k)
          if (const int i = column(first + k); i < P.in)
            v[first + k] = sumOf(v[first + k], four[k], i);
      }
    }
  }
  /// Stores them for later phases, if this CTA's share has them.
  RETORT_DEVICE void keep(int r, int i, f32x4 v) const {
    if constexpr (P.sums) {
      const TileRange range(ceilDiv(P.in, 4));
      if (!partials.sum || i / 4 < range.begin || i / 4 >= range.end)
        return;
      float *to = partials.sum + rowAt(r) + i;
      const float values[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (i + j < P.in)
          stGlobal32(to + j, asBits(values[j]));
    }
  }
  RETORT_DEVICE f32x4 normed(f32x4 v, float scale, int i) const {
    if constexpr (!P.norm)
      return v;
    if (i >= P.in)
      return v;
    const f32x4 g = loadFourNc < P.in % 4 == 0 > (gain, i, P.in);
    constexpr float kOffset = float(P.normOffset);
    return makeF32x4(v.x * scale * (g.x + kOffset), v.y * scale * (g.y + kOffset),
                     v.z * scale * (g.z + kOffset), v.w * scale * (g.w + kOffset));
  }
  /// 1 / sqrt(mean(x^2) + eps) of a row whose warps' sums of squares are at sums[r * kWarps].
  RETORT_DEVICE static float normScale(const float *sums, int r) {
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w)
      sum += sums[r * kWarps + w];
    constexpr float kEps = P.eps;
    return rsqrtApprox(sum * (1.0f / P.in) + kEps);
  }

  /// Values i to i + 3 of row r as the product takes them. All lanes, i of neighbours 4 apart.
  /// area: P.stagedBytes(N, rows) of shared memory.
  template <int N> RETORT_DEVICE static void put(uint8_t *area, int r, int i, f32x4 v) {
    uint8_t *to = area + P.scaleBytes(N) + 2 * r * kStride;
    if constexpr (!P.integers()) {
      if (i >= kCols)
        return;
      const uint32_t xy = packRows(v.x, v.y), zw = packRows(v.z, v.w);
      *reinterpret_cast<u32x2 *>(to + i * 2) = makeU32x2(xy, zw);
      *reinterpret_cast<u32x2 *>(to + kStride + i * 2) =
          makeU32x2(packRest(v.x, v.y, xy), packRest(v.z, v.w, zw));
    } else {
      if (i - int(laneIndex()) * 4 >= kCols)
        return; // the whole warp
      const FixedColumns<W> columns(v);
      if (i >= kCols)
        return;
      *reinterpret_cast<uint32_t *>(to + i) = columns.bytes.hi;
      *reinterpret_cast<uint32_t *>(to + kStride + i) = columns.bytes.lo;
      columns.storeScale(reinterpret_cast<float *>(area) + i / kPieceCols * P.pieceFloats(N) +
                             r * P.rowScales(),
                         i % kPieceCols);
    }
  }
  RETORT_DEVICE static int column(int vector) {
    return (vector * kThreads + int(threadIndex())) * 4;
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
        if (const int i = column(j); i < P.in) {
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
  template <int N> RETORT_DEVICE void stageOne(float *sums, uint8_t *area) const {
    f32x4 v[kVectors];
    float sum = 0, scale = 1;
    rowOf(v, 0);
#pragma unroll
    for (int j = 0; j < kVectors; ++j) {
      const int i = column(j);
      if (i < P.in)
        keep(0, i, v[j]);
      if constexpr (P.norm)
        sum = addSquares(v[j], sum);
    }
    if constexpr (P.norm) {
      sum = warpSum(sum);
      if (laneIndex() == 0)
        sums[warpIndex()] = sum;
      ctaSync();
      scale = normScale(sums, 0);
    }
#pragma unroll
    for (int j = 0; j < kVectors; ++j)
      put<N>(area, 0, column(j), normed(v[j], scale, column(j)));
  }
  /// All rows, at most 4 N, to `area`. sums: P.squareBytes() of shared memory. Readable after the
  /// caller's ctaSync.
  template <int N> RETORT_DEVICE void stageAll(float *sums, uint8_t *area, int numRows) const {
    if (N == 1 && numRows == 1)
      return stageOne<N>(sums, area);
    if constexpr (P.norm)
      sumSquares(sums, numRows);
    for (int r = 0; r < numRows; ++r) {
      float scale = 1;
      if constexpr (P.norm)
        scale = normScale(sums, r);
#pragma unroll
      for (int j = 0; j < kVectors; ++j)
        put<N>(area, r, column(j), normed(four(r, column(j)), scale, column(j)));
    }
  }
};

/// B fragments of staged rows. Rows that the step lacks are the first of their 4: their results are
/// never stored. A request touches 8 rows of 16 bytes that start 16 bytes further round the banks
/// each: no conflicts.
template <ProductShape P, int N> struct SharedRows {
  using S = Stage<P>;
  const uint8_t *lane[N]; // ldmatrix: lane l passes column l % 8 of matrix l / 8, 16 bytes each
  const float *scales[N]; // of the lane's row, t

  RETORT_DEVICE SharedRows(const uint8_t *area, int numRows) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const int first = n * 4 < numRows ? n * 4 : 0;
      const int column = int(laneIndex() % 8), r = first + column / 2;
      lane[n] = area + P.scaleBytes(N) + ((r < numRows ? r : first) * 2 + column % 2) * S::kStride +
                laneIndex() / 8 * 16;
      const int mine = first + int(laneIndex() % 4);
      scales[n] =
          reinterpret_cast<const float *>(area) + (mine < numRows ? mine : first) * P.rowScales();
    }
  }
  RETORT_DEVICE void load32(uint32_t (&b)[N][4], int col) const {
#pragma unroll
    for (int n = 0; n < N; ++n)
      ldmatrixX4(b[n], lane[n] + col * 2);
  }
  RETORT_DEVICE void load(int n, int col, FixedPiece<P.weights> &x) const {
#pragma unroll
    for (int s = 0; s < x.kSteps; s += 2)
      loadSteps(x, s, lane[n] + col + s * 32);
    loadScales(x, scales[n] + uint32_t(col) / S::kPieceCols * P.pieceFloats(N));
  }
};

/// B fragments of rows in global memory.
template <ProductShape P, int N> struct GlobalRows {
  using S = Stage<P>;
  const S &stage;
  int row[N]; // that of the lane's column
  float scale[N];

  RETORT_DEVICE GlobalRows(const S &stage, const float *sums, int numRows) : stage(stage) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const int r = n * 4 + int(laneIndex() / 8);
      row[n] = r < numRows ? r : 0;
      scale[n] = P.norm ? S::normScale(sums, row[n]) : 1.0f;
    }
  }
  RETORT_DEVICE f32x4 four(int n, int i) const {
    return stage.normed(stage.four(row[n], i), scale[n], i);
  }
  RETORT_DEVICE void load32(uint32_t (&b)[N][4], int col) const {
    const int t = int(laneIndex() % 4), rest = int(laneIndex() / 4 % 2);
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        // Columns 2t, 2t + 1 of 8: of the four that this lane's pair of lanes loads.
        const f32x4 v = four(n, col + j * 8 + t / 2 * 4);
        const float x = t % 2 ? v.z : v.x, y = t % 2 ? v.w : v.y;
        const uint32_t packed = packRows(x, y);
        b[n][j] = rest ? packRest(x, y, packed) : packed;
      }
  }
  RETORT_DEVICE void load(int n, int col, FixedPiece<P.weights> &x) const {
    constexpr int kGroupSteps = P.weights.group / 32;
    const int t = int(laneIndex() % 4), rest = int(laneIndex() / 4 % 2);
#pragma unroll
    for (int group = 0; group < x.kGroups; ++group) {
      f32x4 v[kGroupSteps][2];
      uint32_t most = 0;
      int32_t sum = 0;
#pragma unroll
      for (int s = 0; s < kGroupSteps; ++s)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          v[s][half] = four(n, col + (group * kGroupSteps + s) * 32 + half * 16 + t * 4);
          most = mostBits(v[s][half], most);
        }
      const FixedScale fixed(warpMostBits<4>(most));
#pragma unroll
      for (int s = 0; s < kGroupSteps; ++s)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const FixedFour bytes(v[s][half], fixed.inverse);
          x.b[group * kGroupSteps + s][half] = rest ? bytes.lo : bytes.hi;
          sum += bytes.sum;
        }
      // Row t is that of columns 2t and 2t + 1, so of lanes 8t and on.
      const float unit = shfl(fixed.unit, t * 8);
      x.scale[group] = unit * (1.0f / S::W::kUnit);
      if constexpr (P.weights.minima)
        x.sum[group] = unit * float(shfl(warpAddInts<4>(sum), t * 8));
    }
  }
};

} // namespace retort::cuda
