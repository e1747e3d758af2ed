// Attention of a prefill step: append, then flash-style tiles over the paged cache.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/cache.cuh"
namespace retort::cuda::prefill {

/// Norms and rotates q in place, and k on its way to the cache; appends k and v.
///   q, k, v [rows][qStride, kStride, vStride] f32, heads from qAt, kAt, vAt on; may be one buffer
///   qNorm, kNorm [dims] f32    qAngles, kAngles [rows][rotaryDims] f32
/// A warp a head. Traffic: q twice, k and v once.
template <AppendShape P>
RETORT_PHASE void ropeAppend(Cta &cta, float *q, const float *k, const float *v, const float *qNorm,
                             const float *kNorm, const float *qAngles, const float *kAngles,
                             int64_t cacheOffset) {
  constexpr int kUnits = P.tiles().rowParts; // of a row
  constexpr int kDims = P.cache.dims, kKvHeads = P.cache.kvHeads;
  using Cache = CacheElement<P.cache>;
  const CachePages<P.cache> cache = {cta.step.cache + cacheOffset};
  float *scratch = reinterpret_cast<float *>(sharedArena() + kBarrierBytes) + warpIndex() * kDims;
  for (int i = int(ctaIndex() * kWarps + warpIndex()); i < cta.step.num_rows * kUnits;
       i += int(ctaCount()) * kWarps) {
    if (laneIndex() == 0)
      countTile();
    const int r = i / kUnits, head = i % kUnits;
    const int64_t turn = int64_t(r) * P.rotaryDims;
    if (head < P.heads) {
      float *x = q + int64_t(r) * P.qStride + P.qAt + head * kDims;
      normRotate<P, P.qNorm>(x, qNorm, qAngles + turn, scratch, [&](int d, float y) { x[d] = y; });
      continue;
    }
    const int kvHead = (head - P.heads) % kKvHeads, position = cta.step.positions[r];
    const int32_t *pages =
        cta.step.page_table + int64_t(cta.step.slots[r]) * cta.step.pages_per_slot;
    Cache *to = cache.keys(pages[position / 16], kvHead) + position % 16 * kDims;
    if (head < P.heads + kKvHeads) {
      normRotate<P, P.kNorm>(k + int64_t(r) * P.kStride + P.kAt + kvHead * kDims, kNorm,
                             kAngles + turn, scratch, [&](int d, float y) { to[d] = Cache(y); });
    } else {
      const float *x = v + int64_t(r) * P.vStride + P.vAt + kvHead * kDims;
      for (int d = int(laneIndex()); d < kDims; d += 32)
        to[P.cache.valueOffset() + d] = Cache(asFloat(ldGlobal32(x + d)));
    }
  }
  ctaSync(); // the scratch is free
}

/// The next tile of keys on its way to shared memory. f16 goes by cp.async, other formats are
/// converted. Held: a thread has its share in registers while the tile before is multiplied.
template <class Cache, int Units, bool Held> struct NextKeys {
  Eight<Cache> key[Units], value[Units];
};
template <class Cache, int Units> struct NextKeys<Cache, Units, false> {};

/// A tile: 128 queries of one key/value head. A query is a row and a query head of the group,
/// numbered row * group + head, so the group's heads share every load of K and V. 8 warps have 16
/// queries each; K and V come in tiles of keys through two buffers, scores and weights stay in
/// registers (FlashAttention-2, arXiv:2307.08691).
///
/// Rows of a step may be of several slots: the tile walks the keys of each run of rows of one slot
/// in turn, and hides them from the queries of other runs.
template <AttentionShape P> struct Attention {
  using Cache = CacheElement<P.cache>;
  static constexpr int kDims = P.cache.dims, kGroup = P.group();
  static constexpr int kSteps = ceilDiv(kDims, 16); // of a product's 16 features
  static constexpr int kUnits = P.keyUnits(), kRowBytes = kUnits * 16;
  static constexpr int kKeyTile = P.keyTile(), kTileBytes = P.keyTileBytes();
  static_assert(P.arenaBytes() <= kShared.arenaBytes());
  static_assert(kDims % 8 == 0 && kDims <= 256 && P.heads % P.cache.kvHeads == 0);
  static constexpr float kNone = -1e30f;
  static constexpr float kLog2e = 1.4426950408889634f;

  static constexpr int kThreadUnits = ceilDiv(kKeyTile * kUnits, kThreads);
  static constexpr bool kCopies = kIsHalf<Cache>;
  // Beyond 128 features the sums leave no registers for it: it is brought when its turn comes.
  static constexpr bool kHolds = !kCopies && kDims <= 128;
  using Next = NextKeys<Cache, kThreadUnits, kHolds>;

  const float *q;
  CachePages<P.cache> cache;
  const float *sinks;
  float *dest;

  RETORT_DEVICE static uint8_t *arena() { return sharedArena() + kBarrierBytes; }
  /// Unit `unit` of key (or query) `row` of a tile: 8 rows of the same unit are in 8 different
  /// groups of banks.
  RETORT_DEVICE static int place(int row, int unit) {
    return row * kRowBytes + (unit ^ (row % 8)) * 16;
  }

  /// Keys of rows first..first + count - 1 of the step, which are of one slot.
  struct Run {
    int first, count;
    int begin, end; // keys begin..end - 1
    const int32_t *pages;
  };
  /// The run that starts at row `first`; all lanes, `last` is the tile's last row.
  RETORT_DEVICE static Run findRun(const Cta &cta, int first, int last) {
    Run run = {first, 0, 1 << 30, 0, nullptr};
    const int slot = cta.step.slots[first];
    run.pages = cta.step.page_table + int64_t(slot) * cta.step.pages_per_slot;
    int low = 1 << 30, high = 0;
    for (int r = first;; r += 32) {
      const int mine = r + int(laneIndex());
      const bool same = mine <= last && cta.step.slots[mine] == slot;
      const uint32_t others = ~warpBallot(same);
      const int here = others == 0 ? 32 : lowestBit(others);
      if (int(laneIndex()) < here) {
        const int position = cta.step.positions[mine];
        const int begin = P.window > 0 && position >= P.window ? position - P.window + 1 : 0;
        low = begin < low ? begin : low;
        high = position + 1 > high ? position + 1 : high;
      }
      run.count += here;
      if (here < 32)
        break;
    }
#pragma unroll
    for (int mask = 16; mask > 0; mask /= 2) {
      const int l = shflXor(low, mask), h = shflXor(high, mask);
      low = l < low ? l : low;
      high = h > high ? h : high;
    }
    run.begin = low;
    run.end = high;
    return run;
  }
  RETORT_DEVICE static int lowestBit(uint32_t bits) {
    int bit = 0;
    while ((bits >> bit & 1) == 0)
      ++bit;
    return bit;
  }

  /// each(index of the thread's units, unit of the tile) for this thread's share of a tile.
  template <class Each> RETORT_DEVICE static void units(const Each &each) {
#pragma unroll
    for (int i = 0; i < kThreadUnits; ++i) {
      const int unit = i * kThreads + int(threadIndex());
      if (kKeyTile * kUnits % kThreads == 0 || unit < kKeyTile * kUnits)
        each(i, unit);
    }
  }
  /// Asks for keys first..first + kKeyTile - 1; those at or beyond run.end are zeros.
  RETORT_DEVICE void ask(const Run &run, int kvHead, int first, int buffer, Next &next) const {
    if (first < run.end) {
      uint8_t *tile = arena() + buffer * 2 * kTileBytes;
      units([&](int i, int index) {
        const int row = index / kUnits, unit = index % kUnits, key = first + row;
        const bool valid = key < run.end && unit * 8 < kDims;
        const Cache *from = cache.keys(valid ? run.pages[key / 16] : 0, kvHead) +
                            (valid ? key % 16 * kDims + unit * 8 : 0);
        const Cache *value = from + P.cache.valueOffset();
        auto load = [&](const Cache *p) {
          return valid ? Eight<Cache>::global(p) : Eight<Cache>::zero();
        };
        uint8_t *to = tile + place(row, unit);
        if constexpr (kCopies) {
          cpAsync16Zero(to, from, valid);
          cpAsync16Zero(to + kTileBytes, value, valid);
        } else if constexpr (kHolds) {
          next.key[i] = load(from);
          next.value[i] = load(value);
        } else {
          *reinterpret_cast<u32x4 *>(to) = halvesOf(load(from));
          *reinterpret_cast<u32x4 *>(to + kTileBytes) = halvesOf(load(value));
        }
      });
    }
    cpAsyncCommit();
  }
  /// What ask() got into registers, as f16, to the buffer, which nobody reads.
  RETORT_DEVICE void put(const Run &run, int first, int buffer, const Next &next) const {
    if constexpr (kHolds)
      if (first < run.end) {
        uint8_t *tile = arena() + buffer * 2 * kTileBytes;
        units([&](int i, int index) {
          uint8_t *to = tile + place(index / kUnits, index % kUnits);
          *reinterpret_cast<u32x4 *>(to) = halvesOf(next.key[i]);
          *reinterpret_cast<u32x4 *>(to + kTileBytes) = halvesOf(next.value[i]);
        });
      }
  }

  /// The A fragments of the warp's 16 queries.
  struct Queries {
    uint32_t a[P.queriesShared() ? 1 : kSteps][4];
  };
  RETORT_DEVICE uint32_t queryPair(const float *x, int d) const {
    constexpr float kScale = P.softCap != 0 ? P.scale : P.scale * kLog2e;
    if (x == nullptr || d >= kDims)
      return 0;
    const u32x2 v = ldGlobal64(x + d);
    return packHalf2(asFloat(v.x) * kScale, asFloat(v.y) * kScale);
  }
  RETORT_DEVICE const float *query(int index, int kvHead, int total) const {
    if (index >= total)
      return nullptr;
    return q + int64_t(index / kGroup) * P.qStride + P.qAt +
           (kvHead * kGroup + index % kGroup) * kDims;
  }
  RETORT_DEVICE void loadQueries(Queries &queries, int first, int kvHead, int total) const {
    const int g = int(laneIndex() / 4), t = int(laneIndex() % 4);
    const float *low = query(first + g, kvHead, total), *high = query(first + g + 8, kvHead, total);
    const int row = int(warpIndex()) * 16 + g;
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const uint32_t a[4] = {queryPair(low, s * 16 + 2 * t), queryPair(high, s * 16 + 2 * t),
                             queryPair(low, s * 16 + 2 * t + 8),
                             queryPair(high, s * 16 + 2 * t + 8)};
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if constexpr (P.queriesShared())
          *reinterpret_cast<uint32_t *>(arena() + P.queriesAt() +
                                        place(row + i % 2 * 8, s * 2 + i / 2) + t * 4) = a[i];
        else
          queries.a[s][i] = a[i];
    }
    warpSync();
  }
  RETORT_DEVICE void queryStep(uint32_t (&a)[4], const Queries &queries, int s) const {
    if constexpr (P.queriesShared()) {
      const int lane = int(laneIndex());
      ldmatrixX4(a, arena() + P.queriesAt() +
                        place(int(warpIndex()) * 16 + lane % 16, s * 2 + lane / 16));
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        a[i] = queries.a[s][i];
    }
  }

  struct State {
    float o[2 * kSteps][4], m[2], l[2];         // rows g and g + 8; o in mma's order
    int begin[2], position[2], row[2], head[2]; // of the lane's two queries; row -1: none
  };

  /// One tile of keys from `first` on, in `buffer`.
  RETORT_DEVICE void keys(const Run &run, const Queries &queries, int first, int buffer,
                          State &s) const {
    constexpr int kN = kKeyTile / 8;
    const uint8_t *tile = arena() + buffer * 2 * kTileBytes;
    const int lane = int(laneIndex()), t = lane % 4;
    float score[kN][4];
    zero(score);
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      uint32_t a[4];
      queryStep(a, queries, step);
#pragma unroll
      for (int n = 0; n < kN; n += 2) { // matrices: 8 keys at 8 and 8 features, 8 more
        uint32_t b[4];
        ldmatrixX4(b, tile + place(n * 8 + lane / 16 * 8 + lane % 8, step * 2 + lane / 8 % 2));
        mmaF16(score[n], a, {b[0], b[1]});
        mmaF16(score[n + 1], a, {b[2], b[3]});
      }
    }
    float most[2] = {s.m[0], s.m[1]};
#pragma unroll
    for (int n = 0; n < kN; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const int key = first + n * 8 + t * 2 + e % 2, i = e / 2;
        if constexpr (constexpr float kCap = P.softCap; kCap != 0)
          score[n][e] = softCapped(score[n][e], kCap) * kLog2e;
        const bool seen = key <= s.position[i] && key >= s.begin[i] && s.row[i] >= run.first &&
                          s.row[i] < run.first + run.count;
        score[n][e] = seen ? score[n][e] : kNone;
        most[i] = score[n][e] > most[i] ? score[n][e] : most[i];
      }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      most[i] = warpMax<4>(most[i]);
      const float decay = exp2Approx(s.m[i] - most[i]);
      s.m[i] = most[i];
      s.l[i] *= decay;
#pragma unroll
      for (int d = 0; d < 2 * kSteps; ++d)
        s.o[d][2 * i] *= decay, s.o[d][2 * i + 1] *= decay;
    }
#pragma unroll
    for (int n = 0; n < kN; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        score[n][e] = score[n][e] > 0.5f * kNone ? exp2Approx(score[n][e] - most[e / 2]) : 0.0f;
        s.l[e / 2] += score[n][e];
      }
#pragma unroll
    for (int n = 0; n < kN; n += 2) { // 16 keys: the scores' registers are the A fragment
      const uint32_t a[4] = {
          packHalf2(score[n][0], score[n][1]), packHalf2(score[n][2], score[n][3]),
          packHalf2(score[n + 1][0], score[n + 1][1]), packHalf2(score[n + 1][2], score[n + 1][3])};
#pragma unroll
      for (int d = 0; d < 2 * kSteps; d += 2) { // matrices: 8 and 8 keys at 8 features, 8 more
        uint32_t b[4];
        ldmatrixX4Trans(b, tile + kTileBytes + place(n * 8 + lane % 16, d + lane / 16));
        mmaF16(s.o[d], a, {b[0], b[1]});
        mmaF16(s.o[d + 1], a, {b[2], b[3]});
      }
    }
  }

  RETORT_DEVICE void tile(const Cta &cta, int firstQuery, int kvHead) const {
    const int total = cta.step.num_rows * kGroup, g = int(laneIndex() / 4);
    const int mine = firstQuery + int(warpIndex()) * 16; // the warp's first query
    Queries queries;
    loadQueries(queries, mine, kvHead, total);
    State s;
    zero(s.o);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int index = mine + g + i * 8;
      s.row[i] = index < total ? index / kGroup : -1;
      s.head[i] = kvHead * kGroup + index % kGroup;
      s.position[i] = index < total ? cta.step.positions[s.row[i]] : -1;
      s.begin[i] = P.window > 0 && s.position[i] >= P.window ? s.position[i] - P.window + 1 : 0;
      s.m[i] = kNone;
      s.l[i] = 0;
      if constexpr (P.sinks) { // its weight is in the sum from the start, a lane's of four
        s.m[i] = asFloat(ldGlobalNc32(sinks + s.head[i])) * kLog2e;
        s.l[i] = laneIndex() % 4 == 0 ? 1.0f : 0.0f;
      }
    }
    const int end = firstQuery + P.kQueries < total ? firstQuery + P.kQueries : total;
    const int last = (end - 1) / kGroup;
    for (int row = firstQuery / kGroup; row <= last;) {
      const Run run = findRun(cta, row, last);
      row += run.count;
      const int first = run.begin / kKeyTile * kKeyTile; // the same tiles however a request is cut
      Next next;
      ask(run, kvHead, first, 0, next);
      put(run, first, 0, next);
      for (int key = first, buffer = 0; key < run.end; key += kKeyTile, buffer ^= 1) {
        if constexpr (kCopies || kHolds)
          ask(run, kvHead, key + kKeyTile, buffer ^ 1, next);
        cpAsyncWait<1>();
        ctaSync(); // this tile is here for all
        keys(run, queries, key, buffer, s);
        if constexpr (!kCopies && !kHolds)
          ask(run, kvHead, key + kKeyTile, buffer ^ 1, next);
        put(run, key + kKeyTile, buffer ^ 1, next);
        ctaSync(); // all are done with it
      }
    }
    store(s);
  }
  RETORT_DEVICE void store(const State &s) const {
    const int t = int(laneIndex() % 4);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float total = warpSum<4>(s.l[i]);
      if (s.row[i] < 0)
        continue;
      const float scale = 1.0f / total;
      float *to = dest + (int64_t(s.row[i]) * P.heads + s.head[i]) * kDims;
#pragma unroll
      for (int d = 0; d < 2 * kSteps; ++d)
        if (d * 8 < kDims)
          stGlobal64(to + d * 8 + t * 2,
                     makeU32x2(asBits(s.o[d][2 * i] * scale), asBits(s.o[d][2 * i + 1] * scale)));
    }
  }
};

/// dest[r] = attention of row r over its slot's positions up to its own, all of them in the cache
/// (after ropeAppend and a wait).
///   q [rows][qStride] f32, normed and rotated    sinks [heads] f32 or unused
///   dest [rows][heads * dims] f32
/// Tiles: 128 queries x key/value heads. Traffic: K and V of the positions once a tile, through L2.
template <AttentionShape P>
RETORT_PHASE void attention(Cta &cta, const float *q, int64_t cacheOffset, const float *sinks,
                            float *dest) {
  using A = Attention<P>;
  const A attention = {q, {cta.step.cache + cacheOffset}, sinks, dest};
  const int tiles = P.tiles().of(cta.step.num_rows), perHead = tiles / P.cache.kvHeads;
  // The longest tiles, those of the last rows, go first.
  for (int i = int(ctaIndex()); i < tiles; i += int(ctaCount())) {
    if (threadIndex() == 0)
      countTile();
    attention.tile(cta, (perHead - 1 - i / P.cache.kvHeads) * P.kQueries, i % P.cache.kvHeads);
  }
}

} // namespace retort::cuda::prefill
