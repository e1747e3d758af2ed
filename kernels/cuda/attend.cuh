// Attention of a decoding step: q/k norm, rotation, cache append and split attention in one phase.
// SPDX-License-Identifier: Apache-2.0
//
// A tile is a row, a key/value head and a split of the row's pages. Its CTA norms and rotates the
// group's query heads, walks the split's pages with 8 warps (each reads whole pages, K and V once
// for all query heads of the group), and merges the warps' softmax sums in order (online softmax,
// arXiv:1805.02867; splits as in Flash-Decoding). With more than one split, the last to arrive, by
// a counter in step.sync, adds all splits' sums in the order of the splits: the same bits whoever
// is last.
//
// Older positions come from the cache, those of this step (rows of the same slot, at most MaxRows)
// from the activations, rounded as the cache would: nobody reads what this phase appends, and a
// row's result is the same alone, in a batch or as part of a chunk. Number and borders of splits
// depend on the row's position alone.
//
// Lanes: Dims / 8 lanes hold a key's 8 features each, so that a request of the warp is a run of
// whole keys; scores are summed over these lanes, everything else stays in the lane. Scores,
// weights and sums are f32.
//
// P (static constexpr):
//   int Heads, KvHeads, Dims (a multiple of 8, at most 256), RotaryDims (0: none), Window (0: none)
//   int PageRows (16), Splits, MaxRows; int64_t PageBytes
//   int QAt, KAt, VAt, QStride, KStride, VStride    first column and columns of q, k and v
//   float scale, softCap (0: none), eps; bool QNorm, KNorm, NormOffset
//   Cache    half, bf16, e4m3 (Dims a multiple of 16) or float
#pragma once
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/cache.cuh"
namespace retort::cuda {

/// Where in `sync` the splits' arrivals are counted: after what an exchange uses, if the program
/// has some (P::CountersAt).
template <class P>
constexpr int kCountersAt = [] {
  if constexpr (requires { P::CountersAt; })
    return P::CountersAt;
  else
    return kSyncReserved;
}();

template <class P> struct Attend {
  using Cache = typename P::Cache;
  static constexpr int kGroup = P::Heads / P::KvHeads;
  // Heads of a tile: registers hold 8 features of as many heads as here.
  RETORT_HOST_DEVICE static constexpr int largestDivisor(int n, int limit) {
    int best = 1;
    for (int d = 1; d <= limit; ++d)
      best = n % d == 0 ? d : best;
    return best;
  }
  static constexpr int kHeads = largestDivisor(kGroup, P::Dims <= 128 ? 8 : 4);
  static constexpr int kTilesPerRow = P::Heads / kHeads;
  static constexpr int kParts = kGroup / kHeads; // tiles that share a key/value head
  RETORT_HOST_DEVICE static constexpr int powerAbove(int n) {
    int p = 1;
    while (p < n)
      p *= 2;
    return p;
  }
  static constexpr int kLanes = powerAbove(P::Dims / 8); // of a key; some may hold zeros
  static constexpr int kKeys = 32 / kLanes;              // of a request
  static constexpr int kRequests = minOf(16 / kKeys, 4); // at a time, for K and for V each
  static constexpr int kDims = kLanes * 8;
  static_assert(P::Heads % P::KvHeads == 0 && P::Dims % 8 == 0 && P::Dims <= 256);
  static_assert(P::MaxRows <= 32, "a lane a row");
  static_assert(kKeys <= 16 && 16 % (kKeys * kRequests) == 0);
  static constexpr float kNone = -1e30f;
  static constexpr float kLog2e = 1.4426950408889634f;

  // Shared memory. While walking: queries [kHeads][2][kHalf] f32 (features 8l.. and 8l + 4.. apart,
  // so that lanes read neighbouring 16 bytes, the second half of the banks further, so that
  // neighbouring features are written without conflicts), then K and V of this step's rows
  // [MaxRows][kDims] each, then scratch. After: the warps' sums.
  static constexpr int kHalf = kLanes == 4 ? 16 : kLanes * 4 + 16;
  static constexpr int kQueryFloats = 2 * kHalf;
  static constexpr int kQueryBytes = kHeads * kQueryFloats * 4;
  /// Where feature d lies in a query, and in a warp's sums.
  RETORT_HOST_DEVICE static constexpr int featureAt(int d) {
    return d % 8 / 4 * kHalf + d / 8 * 4 + d % 4;
  }
  static constexpr int kNewBytes = P::MaxRows * kDims * int(sizeof(Cache));
  static constexpr int kScratchAt = kQueryBytes + 2 * kNewBytes;
  static constexpr int kWalkBytes = kScratchAt + kWarps * P::Dims * 4;
  static constexpr int kSumFloats = P::Dims + 2; // of a partial sum in memory: o[Dims], m, l
  static constexpr int kMergeFloats = 2 * kHalf + 4;
  static constexpr int kMergeBytes = kWarps * kHeads * kMergeFloats * 4;
  static constexpr int kFlagAt = ceilDiv(maxOf(kWalkBytes, kMergeBytes), 16) * 16;
  static_assert(kFlagAt + 16 <= kWorkBytes);

  struct Tile {
    int row, head, kvHead, split; // head: the first of kHeads
    int position, begin;          // keys begin..position
    int firstNew, numNew;         // numNew keys from firstNew on are rows of this step
    int firstPage, endPage;       // of the split
    int splits;
    const int32_t *pages; // the slot's
    int minePosition;     // lane r: the position of row r of the step if it is of the slot, else -1
  };
  RETORT_DEVICE static int warpMost(int value) {
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) {
      const int other = shflXor(value, mask);
      value = other > value ? other : value;
    }
    return value;
  }
  /// All lanes. Whether the row has this split.
  RETORT_DEVICE static bool describe(const Cta &cta, int index, Tile &t) {
    const int rows = cta.step.num_rows, perRow = kTilesPerRow;
    t.split = index / (rows * perRow);
    t.row = index / perRow % rows;
    t.head = index % perRow * kHeads;
    t.kvHead = t.head / kGroup;
    const int lane = int(laneIndex());
    const int position = lane < rows ? cta.step.positions[lane] : -1;
    const int slotOf = lane < rows ? cta.step.slots[lane] : -1, slot = shfl(slotOf, t.row);
    t.position = shfl(position, t.row);
    t.minePosition = slotOf == slot ? position : -1;
    // The slot's rows have consecutive positions, so the first is the least.
    t.firstNew = -warpMost(t.minePosition >= 0 ? -t.minePosition : -(1 << 30));
    t.numNew = t.position - t.firstNew + 1;
    t.begin = P::Window > 0 && t.position >= P::Window ? t.position - P::Window + 1 : 0;
    const int first = t.begin / 16, pages = t.position / 16 + 1 - first;
    // A split is worth its combining from a page a warp on.
    t.splits = (pages + kWarps - 1) / kWarps;
    t.splits = t.splits < P::Splits ? t.splits : P::Splits;
    if (t.split >= t.splits)
      return false;
    t.firstPage = first + t.split * pages / t.splits;
    t.endPage = first + (t.split + 1) * pages / t.splits;
    t.pages = cta.step.page_table + int64_t(slot) * cta.step.pages_per_slot;
    return true;
  }
  /// All lanes: the step's row that is position `position` of the tile's slot.
  RETORT_DEVICE static int rowOf(const Tile &t, int position) {
    return warpMost(t.minePosition == position ? int(laneIndex()) : 0);
  }

  const float *q, *k, *v, *qNorm, *kNorm, *angles;
  CachePages<P> cache;
  float *partials, *dest;

  /// Queries and, where the split holds positions of this step, their K and V to shared memory; a
  /// warp a head.
  RETORT_DEVICE void stage(const Cta &cta, const Tile &t) const {
    float *queries = reinterpret_cast<float *>(cta.work());
    Cache *keys = reinterpret_cast<Cache *>(cta.work() + kQueryBytes);
    Cache *values = keys + P::MaxRows * kDims;
    float *scratch = reinterpret_cast<float *>(cta.work() + kScratchAt) + warpIndex() * P::Dims;
    const int numNew = t.endPage * 16 > t.firstNew ? t.numNew : 0;
    for (int i = int(warpIndex()); i < kHeads + 2 * numNew; i += kWarps) {
      if (i < kHeads) {
        constexpr float kScale = P::softCap != 0 ? P::scale : P::scale * kLog2e;
        const float *x = q + int64_t(t.row) * P::QStride + P::QAt + (t.head + i) * P::Dims;
        normRotate<P, P::QNorm>(
            x, qNorm, angles + int64_t(t.row) * P::RotaryDims, scratch,
            [&](int d, float y) { queries[i * kQueryFloats + featureAt(d)] = y * kScale; });
        for (int d = P::Dims + int(laneIndex()); d < kDims; d += 32)
          queries[i * kQueryFloats + featureAt(d)] = 0;
        continue;
      }
      const int n = (i - kHeads) % numNew, r = rowOf(t, t.firstNew + n);
      if (i - kHeads < numNew) {
        normRotate<P, P::KNorm>(k + int64_t(r) * P::KStride + P::KAt + t.kvHead * P::Dims, kNorm,
                                angles + int64_t(r) * P::RotaryDims, scratch,
                                [&](int d, float y) { keys[n * kDims + d] = Cache(y); });
      } else {
        const float *x = v + int64_t(r) * P::VStride + P::VAt + t.kvHead * P::Dims;
        for (int d = int(laneIndex()); d < P::Dims; d += 32)
          values[n * kDims + d] = Cache(asFloat(ldGlobal32(x + d)));
      }
    }
    ctaSync();
    if (t.endPage * 16 > t.position && t.head % kGroup == 0)
      append(t, keys + (t.numNew - 1) * kDims, values + (t.numNew - 1) * kDims);
  }
  /// The row's own K and V to its page, 8 features a thread.
  RETORT_DEVICE void append(const Tile &t, const Cache *key, const Cache *value) const {
    constexpr int kUnits = P::Dims * int(sizeof(Cache)) / 16; // 16 bytes each
    static_assert(P::Dims * int(sizeof(Cache)) % 16 == 0);
    if (const int i = int(threadIndex()); i < 2 * kUnits) {
      Cache *to = cache.keys(t.pages[t.position / 16], t.kvHead) + t.position % 16 * P::Dims +
                  (i < kUnits ? 0 : CachePages<P>::kValueOffset);
      const Cache *from = i < kUnits ? key : value;
      stGlobal128(reinterpret_cast<uint8_t *>(to) + i % kUnits * 16,
                  *reinterpret_cast<const u32x4 *>(reinterpret_cast<const uint8_t *>(from) +
                                                   i % kUnits * 16));
    }
  }

  /// A lane's share of the sums: 8 features of each head over the keys of its lane group.
  struct Sums {
    float o[kHeads][8], m[kHeads], l[kHeads];
  };

  /// kKeys * kRequests keys of page `page` (number `number` in the pool) from key `first` of it on.
  RETORT_DEVICE void walk(const Cta &cta, const Tile &t, int page, int number, int first,
                          Sums &s) const {
    const float *queries = reinterpret_cast<const float *>(cta.work());
    const Cache *newKeys = reinterpret_cast<const Cache *>(cta.work() + kQueryBytes);
    const int lane = int(laneIndex()) % kLanes;
    const bool whole = lane * 8 < P::Dims;
    Eight<Cache> key[kRequests], value[kRequests];
    bool seen[kRequests];
#pragma unroll
    for (int u = 0; u < kRequests; ++u) {
      const int row = first + u * kKeys + int(laneIndex()) / kLanes, at = page * 16 + row;
      seen[u] = at >= t.begin && at <= t.position;
      key[u] = value[u] = Eight<Cache>::zero();
      if (seen[u] && whole) {
        if (at >= t.firstNew) {
          const Cache *p = newKeys + (at - t.firstNew) * kDims + lane * 8;
          key[u] = Eight<Cache>::shared(p);
          value[u] = Eight<Cache>::shared(p + P::MaxRows * kDims);
        } else {
          const Cache *p = cache.keys(number, t.kvHead) + row * P::Dims + lane * 8;
          key[u] = Eight<Cache>::global(p);
          value[u] = Eight<Cache>::global(p + CachePages<P>::kValueOffset);
        }
      }
    }
    float score[kHeads][kRequests];
#pragma unroll
    for (int u = 0; u < kRequests; ++u) {
      float x[8];
      key[u].unpack(x);
#pragma unroll
      for (int h = 0; h < kHeads; ++h) {
        const f32x4 a = *reinterpret_cast<const f32x4 *>(queries + h * kQueryFloats + lane * 4);
        const f32x4 b =
            *reinterpret_cast<const f32x4 *>(queries + h * kQueryFloats + kHalf + lane * 4);
        float dot = a.x * x[0];
        dot = fmaF32(a.y, x[1], dot), dot = fmaF32(a.z, x[2], dot), dot = fmaF32(a.w, x[3], dot);
        dot = fmaF32(b.x, x[4], dot), dot = fmaF32(b.y, x[5], dot), dot = fmaF32(b.z, x[6], dot);
        dot = warpSum<kLanes>(fmaF32(b.w, x[7], dot));
        if constexpr (P::softCap != 0)
          dot = softCapped(dot, P::softCap) * kLog2e;
        score[h][u] = seen[u] ? dot : kNone;
      }
    }
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      float most = s.m[h];
#pragma unroll
      for (int u = 0; u < kRequests; ++u)
        most = score[h][u] > most ? score[h][u] : most;
      const float decay = exp2Approx(s.m[h] - most);
      s.m[h] = most;
      s.l[h] *= decay;
#pragma unroll
      for (int i = 0; i < 8; ++i)
        s.o[h][i] *= decay;
#pragma unroll
      for (int u = 0; u < kRequests; ++u) {
        score[h][u] = seen[u] ? exp2Approx(score[h][u] - most) : 0.0f;
        s.l[h] += score[h][u];
      }
    }
#pragma unroll
    for (int u = 0; u < kRequests; ++u) {
      float x[8];
      value[u].unpack(x);
#pragma unroll
      for (int h = 0; h < kHeads; ++h)
#pragma unroll
        for (int i = 0; i < 8; ++i)
          s.o[h][i] = fmaF32(score[h][u], x[i], s.o[h][i]);
    }
  }

  /// Sums of all lane groups, in every one of them.
  RETORT_DEVICE static void mergeLanes(Sums &s) {
#pragma unroll
    for (int h = 0; h < kHeads; ++h)
#pragma unroll
      for (int mask = kLanes; mask < 32; mask *= 2) {
        const float other = shflXor(s.m[h], mask), most = other > s.m[h] ? other : s.m[h];
        const float decay = exp2Approx(s.m[h] - most);
        s.m[h] = most;
        s.l[h] *= decay;
        s.l[h] += shflXor(s.l[h], mask);
#pragma unroll
        for (int i = 0; i < 8; ++i) {
          s.o[h][i] *= decay;
          s.o[h][i] += shflXor(s.o[h][i], mask);
        }
      }
  }

  /// Sum over `count` partial sums of a head, `stride` floats apart, in order: o at `at` of each, m
  /// and l at mAt, mAt + 1. load(pointer) reads a float.
  template <class Load>
  RETORT_DEVICE static void combine(const float *sums, int64_t stride, int count, int at, int mAt,
                                    const Load &load, float &o, float &m, float &l) {
    m = kNone;
    for (int i = 0; i < count; ++i) {
      const float other = load(sums + i * stride + mAt);
      m = other > m ? other : m;
    }
    o = l = 0;
    for (int i = 0; i < count; ++i) {
      const float *part = sums + i * stride;
      const float decay = exp2Approx(load(part + mAt) - m);
      l = fmaF32(decay, load(part + mAt + 1), l);
      o = fmaF32(decay, load(part + at), o);
    }
  }

  RETORT_DEVICE float *partial(const Tile &t, int head, int split) const {
    return partials + ((int64_t(t.row) * P::Heads + head) * P::Splits + split) * kSumFloats;
  }
  /// The warps' sums to dest, or to the split's partial sums.
  RETORT_DEVICE void store(const Cta &cta, const Tile &t, const Sums &s) const {
    float *merge = reinterpret_cast<float *>(cta.work());
    const int lane = int(laneIndex());
    ctaSync(); // all have walked: queries and keys are free
    if (lane < kLanes && lane * 8 < P::Dims)
#pragma unroll
      for (int h = 0; h < kHeads; ++h) {
        float *to = merge + (warpIndex() * kHeads + h) * kMergeFloats;
        *reinterpret_cast<f32x4 *>(to + lane * 4) =
            makeF32x4(s.o[h][0], s.o[h][1], s.o[h][2], s.o[h][3]);
        *reinterpret_cast<f32x4 *>(to + kHalf + lane * 4) =
            makeF32x4(s.o[h][4], s.o[h][5], s.o[h][6], s.o[h][7]);
        if (lane == 0)
          to[2 * kHalf] = s.m[h], to[2 * kHalf + 1] = s.l[h];
      }
    ctaSync();
    for (int i = int(threadIndex()); i < kHeads * P::Dims; i += kThreads) {
      const int h = i / P::Dims, d = i % P::Dims;
      float o, m, l;
      combine(
          merge + h * kMergeFloats, kHeads * kMergeFloats, kWarps, featureAt(d), 2 * kHalf,
          [](const float *p) { return *p; }, o, m, l);
      if (t.splits == 1) {
        dest[(int64_t(t.row) * P::Heads + t.head + h) * P::Dims + d] = o / l;
        continue;
      }
      float *to = partial(t, t.head + h, t.split);
      to[d] = o;
      if (d == 0)
        to[P::Dims] = m, to[P::Dims + 1] = l;
    }
  }
  /// The last tile of the row and key/value head to come here adds all splits.
  RETORT_DEVICE void finish(const Cta &cta, const Tile &t) const {
    uint32_t *last = reinterpret_cast<uint32_t *>(cta.work() + kFlagAt);
    ctaSync(); // the partial sums are written
    if (threadIndex() == 0) {
      uint32_t *count = cta.step.sync + kCountersAt<P> + t.row * P::KvHeads + t.kvHead;
      *last = atomicAddAcqRelGpu(count, 1) == uint32_t(t.splits * kParts - 1);
      if (*last)
        storeRelaxedGpu(count, 0); // for the next layer, which comes after a wait
    }
    ctaSync();
    if (*last == 0)
      return;
    for (int i = int(threadIndex()); i < kGroup * P::Dims; i += kThreads) {
      const int h = t.kvHead * kGroup + i / P::Dims, d = i % P::Dims;
      float o, m, l;
      combine(
          partial(t, h, 0), kSumFloats, t.splits, d, P::Dims,
          [](const float *p) { return asFloat(ldGlobal32(p)); }, o, m, l);
      dest[(int64_t(t.row) * P::Heads + h) * P::Dims + d] = o / l;
    }
  }

  RETORT_DEVICE void tile(const Cta &cta, const Tile &t) const {
    stage(cta, t);
    Sums s;
#pragma unroll
    for (int h = 0; h < kHeads; ++h) {
      s.m[h] = kNone, s.l[h] = 0;
#pragma unroll
      for (int i = 0; i < 8; ++i)
        s.o[h][i] = 0;
    }
    int numbers = 0; // lane i: the pool's number of this warp's page i of 32
    for (int page = t.firstPage + int(warpIndex()), i = 0; page < t.endPage; page += kWarps, ++i) {
      if (i % 32 == 0) {
        const int mine = page + int(laneIndex()) * kWarps;
        numbers = mine < t.endPage ? t.pages[mine] : 0;
      }
      const int number = shfl(numbers, i % 32);
#pragma unroll 1
      for (int first = 0; first < 16; first += kKeys * kRequests)
        walk(cta, t, page, number, first, s);
    }
    mergeLanes(s);
    store(cta, t, s);
    if (P::Splits > 1 && t.splits > 1)
      finish(cta, t);
    ctaSync(); // the work area is free
  }
};

/// dest[r] = attention of row r over its slot's positions up to its own; appends the row's K and V
/// to the cache.
///   q, k, v [rows][QStride, KStride, VStride] f32, heads from QAt, KAt, VAt on; may be one buffer
///   qNorm, kNorm [Dims] f32    angles [rows][RotaryDims] f32: cosines, then sines
///   cacheOffset: of the layer in a page, bytes, a multiple of 16
///   partials [MaxRows][Heads][Splits][Dims + 2] f32 (unused if Splits is 1)
///   dest [rows][Heads * Dims] f32
/// Tiles: rows x key/value heads x splits. Traffic: K and V of the positions once a group of query
/// heads; with splits, (Dims + 2) floats a head and split out and in, through L2. No wait inside;
/// one atomic a tile.
template <class P>
RETORT_PHASE void attend(Cta &cta, const float *q, const float *k, const float *v,
                         const float *qNorm, const float *kNorm, const float *angles,
                         int64_t cacheOffset, float *partials, float *dest) {
  using A = Attend<P>;
  const A attend = {q, k, v, qNorm, kNorm, angles, {cta.step.cache + cacheOffset}, partials, dest};
  const int tiles = P::Splits * cta.step.num_rows * A::kTilesPerRow;
  for (int i = int(ctaIndex()); i < tiles; i += int(ctaCount())) {
    typename A::Tile t;
    if (A::describe(cta, i, t))
      attend.tile(cta, t);
  }
}

/// Asks L2 for the first page of keys and values that each warp of this CTA's first tile will read,
/// as far as they are of earlier steps: they do not depend on what attend waits for. All threads,
/// before that wait; cacheOffset as attend's. Traffic: at most 8 pages of a key/value head a CTA.
template <class P> RETORT_PHASE void attendPrefetch(Cta &cta, int64_t cacheOffset) {
  using A = Attend<P>;
  typename A::Tile t;
  const int index = int(ctaIndex());
  if (index >= P::Splits * cta.step.num_rows * A::kTilesPerRow || !A::describe(cta, index, t))
    return;
  const int page = t.firstPage + int(warpIndex());
  if (page >= t.endPage || page * 16 >= t.firstNew)
    return;
  const CachePages<P> cache = {cta.step.cache + cacheOffset};
  const typename P::Cache *keys = cache.keys(t.pages[page], t.kvHead);
  for (const void *part : {static_cast<const void *>(keys),
                           static_cast<const void *>(keys + CachePages<P>::kValueOffset)}) {
    constexpr int kBytes = CachePages<P>::kHead * int(sizeof(typename P::Cache));
    if constexpr (kHasBulkCopy) {
      if (laneIndex() == 0)
        prefetchL2Bulk(part, kBytes);
    } else {
      for (int at = int(laneIndex()) * 128; at < kBytes; at += 32 * 128)
        prefetchL2(static_cast<const uint8_t *>(part) + at);
    }
  }
}

} // namespace retort::cuda
