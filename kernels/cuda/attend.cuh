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
// Older positions come from the cache, those of this step (rows of the same slot, at most maxRows)
// from the activations, rounded as the cache would: nobody reads what this phase appends, and a
// row's result is the same alone, in a batch or as part of a chunk. Number and borders of splits
// depend on the row's position alone.
//
// Products are tensor cores' (m16n8k16, f32 sums), a page of 16 keys at a time. Keys and values
// do not pass through shared memory; g = lane / 4, t = lane % 4:
// - Scores [8 heads][16 keys], B = K: a lane loads 8 features of keys g and g + 8 for each 32. The
//   order of features within the product is free, so they are B's registers as they are, if A, the
//   queries in shared memory, is in the same order. A query is two rows of A.
// - Sums [features][8 heads], A = the transpose of V: a lane loads 8 features of keys 2t, 2t + 1,
//   2t + 8 and 2t + 9 for each 64, and pairs keys by byte permutes. B is the weights of these keys,
//   which are where the scores were; the product is made twice.
// Two and twice, because queries and weights are f32: they go as value and rest (Factors in
// cache.cuh).
#pragma once
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/cache.cuh"
namespace retort::cuda {

template <AttendShape P> struct Attend {
  static constexpr AppendShape kAppend = P.append;
  static constexpr CacheShape kCache = kAppend.cache;
  static constexpr int kDims = kCache.dims, kGroup = kAppend.group();
  using Cache = CacheElement<kCache>;
  static constexpr int kHeads = P.tileHeads();   // of a tile
  static constexpr int kParts = kGroup / kHeads; // tiles that share a key/value head
  static constexpr int kSegments = P.segments(), kChunks = P.chunks();
  static constexpr int kHeldSegments = P.heldSegments(), kHeldChunks = P.heldChunks();
  static_assert(kAppend.heads % kCache.kvHeads == 0 && kDims % 8 == 0 && kDims <= 256);
  static_assert(P.maxRows <= 32, "a lane a row");
  static_assert(P.workBytes() <= kShared.workBytes());
  static constexpr float kNone = -1e30f;
  static constexpr float kLog2e = 1.4426950408889634f;
  // Weights are exp2(score - m). m is not the largest score but so much below it that a weight's
  // rest is not lost below f16's range, and moves only when weights would come near its upper end.
  static constexpr float kBelow = 6, kRoom = 14;

  /// Where feature d of head h of the tile is in a warp's sums: 4 neighbouring features together,
  /// these moved so that those of 4 heads are stored and 32 of a head read without conflicts.
  RETORT_DEVICE static int featureAt(int h, int d) {
    return ((d / 4) ^ (h / 2 % 2 + h / 4 % 2 * 4)) * 4 + d % 4;
  }
  struct Tile {
    int row, head, kvHead, split; // head: the first of kHeads
    int position, begin;          // keys begin..position
    int firstNew, numNew;         // numNew keys from firstNew on are rows of this step
    int firstPage, endPage;       // of the split
    int splits;
    const int32_t *pages; // the slot's
    int minePosition;     // lane r: the position of row r of the step if it is of the slot, else -1
  };
  RETORT_DEVICE static int numTiles(const Cta &cta) { return P.tiles().of(cta.step.num_rows); }
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
    const int rows = cta.step.num_rows, perRow = P.splitTiles();
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
    t.begin = P.window > 0 && t.position >= P.window ? t.position - P.window + 1 : 0;
    const int first = t.begin / 16, pages = t.position / 16 + 1 - first;
    t.splits = P.splitsOf(pages);
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

  const float *q, *k, *v, *qNorm, *kNorm, *qAngles, *kAngles, *sinks;
  CachePages<kCache> cache;
  float *partials, *dest;

  /// Queries and, where the split holds positions of this step, their K and V to shared memory; a
  /// warp a head.
  RETORT_DEVICE void stage(const Cta &cta, const Tile &t) const {
    uint8_t *work = cta.work();
    float *scratch = reinterpret_cast<float *>(work + P.scratchAt()) + warpIndex() * kDims;
    const int numNew = t.endPage * 16 > t.firstNew ? t.numNew : 0;
    for (int i = int(warpIndex()); i < kHeads + 2 * numNew; i += kWarps) {
      if (i < kHeads) {
        constexpr float kScale = P.softCap != 0 ? P.scale : P.scale * kLog2e;
        const float *x = q + int64_t(t.row) * kAppend.qStride + kAppend.qAt + (t.head + i) * kDims;
        constexpr float kMost = Factors<Cache>::kMost;
        normRotate<kAppend, kAppend.qNorm>(x, qNorm, qAngles + int64_t(t.row) * kAppend.rotaryDims,
                                           scratch, [&](int d, float y) {
                                             y *= kScale;
                                             y = y > kMost ? kMost : y < -kMost ? -kMost : y;
                                             putQuery(work, i, d, y);
                                           });
        for (int d = kDims + int(laneIndex()); d < kSegments * 32; d += 32)
          putQuery(work, i, d, 0);
        continue;
      }
      const int n = (i - kHeads) % numNew, r = rowOf(t, t.firstNew + n);
      if (i - kHeads < numNew) {
        normRotate<kAppend, kAppend.kNorm>(
            k + int64_t(r) * kAppend.kStride + kAppend.kAt + t.kvHead * kDims, kNorm,
            kAngles + int64_t(r) * kAppend.rotaryDims, scratch,
            [&](int d, float y) { newKey(work, n)[d] = Cache(y); });
      } else {
        const float *x = v + int64_t(r) * kAppend.vStride + kAppend.vAt + t.kvHead * kDims;
        for (int d = int(laneIndex()); d < kDims; d += 32)
          newValue(work, n)[d] = Cache(asFloat(ldGlobal32(x + d)));
      }
    }
    if constexpr (kHeads < 8) {                   // the others of a product
      constexpr int kLacking = (8 - kHeads) * 16; // words of a block
      for (int i = int(threadIndex()); i < kLacking * 2 * kSegments; i += kThreads)
        reinterpret_cast<uint32_t *>(work + i / kLacking * P.kQueryStride +
                                     kHeads * 64)[i % kLacking] = 0;
    }
    ctaSync();
    if (t.endPage * 16 > t.position && t.head % kGroup == 0)
      append(t, newKey(work, t.numNew - 1), newValue(work, t.numNew - 1));
  }
  /// Value and rest of feature d. Of its 8 neighbours the first half is in the first block, two and
  /// two: values, rests, values, rests.
  RETORT_DEVICE static void putQuery(uint8_t *work, int head, int d, float x) {
    uint32_t value, rest;
    Factors<Cache>::split(x, 0, value, rest);
    uint16_t *to = reinterpret_cast<uint16_t *>(work + (d / 32 * 2 + d / 4 % 2) * P.kQueryStride +
                                                head * 64 + d / 8 % 4 * 16 + d / 2 % 2 * 8) +
                   d % 2;
    to[0] = uint16_t(value);
    to[2] = uint16_t(rest);
  }
  RETORT_DEVICE static Cache *newKey(uint8_t *work, int n) {
    return reinterpret_cast<Cache *>(work + P.keysAt() + n * P.keyStride());
  }
  RETORT_DEVICE static Cache *newValue(uint8_t *work, int n) {
    return reinterpret_cast<Cache *>(work + P.valuesAt() + n * P.valueStride());
  }
  /// The row's own K and V to its page, 8 features a thread.
  RETORT_DEVICE void append(const Tile &t, const Cache *key, const Cache *value) const {
    constexpr int kUnits = kDims * int(sizeof(Cache)) / 16; // 16 bytes each
    static_assert(kDims * int(sizeof(Cache)) % 16 == 0);
    if (const int i = int(threadIndex()); i < 2 * kUnits) {
      Cache *to = cache.keys(t.pages[t.position / 16], t.kvHead) + t.position % 16 * kDims +
                  (i < kUnits ? 0 : kCache.valueOffset());
      const Cache *from = i < kUnits ? key : value;
      stGlobal128(reinterpret_cast<uint8_t *>(to) + i % kUnits * 16,
                  *reinterpret_cast<const u32x4 *>(reinterpret_cast<const uint8_t *>(from) +
                                                   i % kUnits * 16));
    }
  }

  /// A lane's share of the sums: o[c][j], features 64c + 8g + 2j of heads 2t and 2t + 1, then the
  /// next feature of both; m and l of head g, l over the lane's own keys.
  struct Sums {
    float o[kChunks][4][4], m, l;
  };
  /// A page of 16 keys; keys from..to of it are seen, those from firstNew on are of this step.
  struct Page {
    const Cache *keys;
    int from, to, firstNew;
    RETORT_DEVICE bool seen(int key) const { return key >= from && key <= to; }
    /// All of it is seen and in the cache, as it is of most pages.
    RETORT_DEVICE bool whole() const { return from <= 0 && firstNew > 15; }
  };
  /// Features of keys g and g + 8: 32s + 8t and on.
  struct Keys {
    Eight<Cache> at[2][kHeldSegments];
  };
  /// Features of keys 2t, 2t + 1, 2t + 8 and 2t + 9: 64c + 8g and on.
  struct Values {
    Eight<Cache> at[4][kHeldChunks];
  };

  /// Eights, Step features apart from d on, of one key: from the cache or of this step. Zeros for a
  /// key not seen, whose bytes may be anything, and for features that a key lacks.
  template <bool Whole, int Step, int N>
  RETORT_DEVICE static void askKey(Eight<Cache> (&to)[N], const Page &page, int key, int d,
                                   const Cache *cached, const Cache *own) {
    const bool seen = Whole || page.seen(key), isOwn = !Whole && key >= page.firstNew;
    if constexpr (!Whole || kDims % Step != 0 || Step * N > kDims)
#pragma unroll
      for (int n = 0; n < N; ++n)
        to[n] = Eight<Cache>::zero();
    if (seen && isOwn) {
#pragma unroll
      for (int n = 0; n < N; ++n)
        if (d + n * Step < kDims)
          to[n] = Eight<Cache>::shared(own + n * Step);
    } else if (seen) {
#pragma unroll
      for (int n = 0; n < N; ++n)
        if (d + n * Step < kDims)
          to[n] = Eight<Cache>::global(cached + n * Step);
    }
  }
  RETORT_DEVICE static void askKeys(uint8_t *work, const Page &page, int first, Keys &keys) {
    const int g = int(laneIndex() / 4), d = first * 32 + int(laneIndex() % 4) * 8;
    const Cache *cached = page.keys + g * kDims + d;
    const auto ask = [&]<bool Whole>() {
#pragma unroll
      for (int i = 0; i < 2; ++i)
        askKey<Whole, 32>(keys.at[i], page, g + 8 * i, d, cached + 8 * i * kDims,
                          newKey(work, g + 8 * i - page.firstNew) + d);
    };
    if (page.whole())
      ask.template operator()<true>();
    else
      ask.template operator()<false>();
  }
  RETORT_DEVICE static void askValues(uint8_t *work, const Page &page, int first, Values &values) {
    const int t = int(laneIndex() % 4), d = first * 64 + int(laneIndex() / 4) * 8;
    const Cache *cached = page.keys + kCache.valueOffset() + 2 * t * kDims + d;
    const auto ask = [&]<bool Whole>() {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int more = i % 2 + i / 2 * 8;
        askKey<Whole, 64>(values.at[i], page, 2 * t + more, d, cached + more * kDims,
                          newValue(work, 2 * t + more - page.firstNew) + d);
      }
    };
    if (page.whole())
      ask.template operator()<true>();
    else
      ask.template operator()<false>();
  }

  /// Adds the products of segments from `first` on to the scores [keys / 8][chain]: two chains of
  /// products each, since one waits for the one before.
  RETORT_DEVICE static void multiplyKeys(const uint8_t *work, const Keys &keys, int first,
                                         float (&score)[2][2][4]) {
    const uint8_t *query = work + laneIndex() * 16;
#pragma unroll
    for (int s = 0; s < kHeldSegments; ++s) {
      if (first + s >= kSegments)
        break;
      const u32x4 a = ldShared128(query + (first + s) * 2 * P.kQueryStride),
                  b = ldShared128(query + (first + s) * 2 * P.kQueryStride + P.kQueryStride);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        u32x4 key[Factors<Cache>::kTerms];
        Factors<Cache>::of(keys.at[i][s], key);
#pragma unroll
        for (const u32x4 &k : key) {
          Factors<Cache>::multiply(score[i][0], {a.x, a.y, a.z, a.w}, {k.x, k.y});
          Factors<Cache>::multiply(score[i][1], {b.x, b.y, b.z, b.w}, {k.z, k.w});
        }
      }
    }
  }
  /// Weights of keys 2t and 2t + 1, 2t + 8 and 2t + 9 for head g; B of the second product.
  struct Weights {
    uint32_t value[2], rest[2];
  };
  /// m and l move on.
  RETORT_DEVICE static Weights weigh(const Page &page, const float (&score)[2][2][4], Sums &s) {
    const int t = int(laneIndex() % 4);
    float x[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float(&a)[4] = score[i / 2][0], (&b)[4] = score[i / 2][1];
      x[i] = (a[i % 2] + a[2 + i % 2]) + (b[i % 2] + b[2 + i % 2]);
      if constexpr (constexpr float kCap = P.softCap; kCap != 0)
        x[i] = softCapped(x[i], kCap) * kLog2e;
    }
    if (!page.whole())
#pragma unroll
      for (int i = 0; i < 4; ++i)
        x[i] = page.seen(2 * t + i % 2 + i / 2 * 8) ? x[i] : kNone;
    const float first = x[0] > x[1] ? x[0] : x[1], second = x[2] > x[3] ? x[2] : x[3];
    const float most = warpMax<4>(first > second ? first : second);
    const float m = most > s.m + kRoom ? most - kBelow : s.m;
    if (warpBallot(m != s.m && s.l > 0)) { // not at the first page
      const float decay = exp2Approx(s.m - m);
      const float low = shfl(decay, t * 8), high = shfl(decay, t * 8 + 4); // of heads 2t, 2t + 1
      s.l *= decay;
#pragma unroll
      for (int c = 0; c < kChunks; ++c)
#pragma unroll
        for (int j = 0; j < 4; ++j)
#pragma unroll
          for (int e = 0; e < 4; ++e)
            s.o[c][j][e] *= e % 2 ? high : low;
    }
    s.m = m;
#pragma unroll
    for (int i = 0; i < 4; ++i)
      s.l += x[i] = exp2Approx(x[i] - m);
    Weights weights;
#pragma unroll
    for (int i = 0; i < 2; ++i)
      Factors<Cache>::split(x[2 * i], x[2 * i + 1], weights.value[i], weights.rest[i]);
    return weights;
  }
  /// Adds the products of chunks from `first` on to the sums.
  RETORT_DEVICE static void multiplyValues(const Values &values, int first, const Weights &weights,
                                           Sums &s) {
#pragma unroll
    for (int c = 0; c < kHeldChunks; ++c) {
      if (first + c >= kChunks)
        break;
      u32x4 v[4][Factors<Cache>::kTerms];
#pragma unroll
      for (int i = 0; i < 4; ++i)
        Factors<Cache>::of(values.at[i][c], v[i]);
#pragma unroll
      for (int i = 0; i < Factors<Cache>::kTerms; ++i) {
        // Of two neighbouring features of four keys: rows of A are the features.
        const auto add = [&](float(&o)[4], uint32_t k0, uint32_t k1, uint32_t k8, uint32_t k9) {
          const uint32_t a[4] = {prmt(k0, k1, 0x5410), prmt(k0, k1, 0x7632), prmt(k8, k9, 0x5410),
                                 prmt(k8, k9, 0x7632)};
          Factors<Cache>::multiply(o, a, weights.value);
          Factors<Cache>::multiply(o, a, weights.rest);
        };
        float(&o)[4][4] = s.o[first + c];
        add(o[0], v[0][i].x, v[1][i].x, v[2][i].x, v[3][i].x);
        add(o[1], v[0][i].y, v[1][i].y, v[2][i].y, v[3][i].y);
        add(o[2], v[0][i].z, v[1][i].z, v[2][i].z, v[3][i].z);
        add(o[3], v[0][i].w, v[1][i].w, v[2][i].w, v[3][i].w);
      }
    }
  }

  /// This warp's pages of the split.
  RETORT_DEVICE void walk(const Cta &cta, const Tile &t, Sums &s) const {
    uint8_t *work = cta.work();
    int numbers = 0; // lane i: the pool's number of this warp's page i of 32
    const auto pageAt = [&](int page, int i) {
      if (i % 32 == 0) {
        const int mine = page + int(laneIndex()) * kWarps;
        numbers = mine < t.endPage ? t.pages[mine] : 0;
      }
      return Page{cache.keys(shfl(numbers, i % 32), t.kvHead), t.begin - page * 16,
                  t.position - page * 16, t.firstNew - page * 16};
    };
    int index = t.firstPage + int(warpIndex());
    if (index >= t.endPage)
      return;
    Page page = pageAt(index, 0);
    Keys keys;
    Values values;
    askKeys(work, page, 0, keys);
    askValues(work, page, 0, values);
#pragma unroll 1
    for (int i = 1;; ++i) {
      index += kWarps;
      const bool more = index < t.endPage;
      const Page next = more ? pageAt(index, i) : page;
      float score[2][2][4] = {};
#pragma unroll
      for (int first = 0; first < kSegments; first += kHeldSegments) {
        multiplyKeys(work, keys, first, score);
        if (first + kHeldSegments < kSegments)
          askKeys(work, page, first + kHeldSegments, keys);
        else if (more)
          askKeys(work, next, 0, keys);
      }
      const Weights weights = weigh(page, score, s);
#pragma unroll
      for (int first = 0; first < kChunks; first += kHeldChunks) {
        multiplyValues(values, first, weights, s);
        if (kHeldChunks < kChunks)
          warpSync(); // ptxas would mix the next portion's loads in, and spill
        if (first + kHeldChunks < kChunks)
          askValues(work, page, first + kHeldChunks, values);
        else if (more)
          askValues(work, next, 0, values);
      }
      if (!more)
        return;
      page = next;
    }
  }

  /// Sum over `count` partial sums of a head, in order: m(i), l(i) and o(i) load a float of one.
  template <class M, class L, class O>
  RETORT_DEVICE static void combine(int count, const M &m, const L &l, const O &o, float &sumO,
                                    float &most, float &sumL) {
    most = kNone;
    for (int i = 0; i < count; ++i) {
      const float other = m(i);
      most = other > most ? other : most;
    }
    sumO = sumL = 0;
    for (int i = 0; i < count; ++i) {
      const float decay = exp2Approx(m(i) - most);
      sumL = fmaF32(decay, l(i), sumL);
      sumO = fmaF32(decay, o(i), sumO);
    }
  }

  /// Sums of all keys of a head, to the result. A sink is one more key, of value zero.
  RETORT_DEVICE float result(int head, float o, float m, float l) const {
    if constexpr (P.sinks) {
      const float sink = asFloat(ldGlobalNc32(sinks + head)) * kLog2e;
      const float most = sink > m ? sink : m, decay = exp2Approx(m - most);
      o *= decay;
      l = l * decay + exp2Approx(sink - most);
    }
    return o / l;
  }

  RETORT_DEVICE float *partial(const Tile &t, int head, int split) const {
    return partials + ((int64_t(t.row) * kAppend.heads + head) * P.splits + split) * P.sumFloats();
  }
  /// The warps' sums to dest, or to the split's partial sums.
  RETORT_DEVICE void store(const Cta &cta, const Tile &tile, const Sums &s) const {
    float *merge = reinterpret_cast<float *>(cta.work());
    float *ml = merge + kWarps * P.mergeHeads() * P.mergeFloats(); // m and l
    const int warp = int(warpIndex()), g = int(laneIndex() / 4), t = int(laneIndex() % 4);
    const float lanes = warpSum<4>(s.l);
#pragma unroll
    for (int first = 0; first < kHeads; first += P.mergeHeads()) {
      const auto here = [&](int h) {
        return h >= first && h < minOf(first + P.mergeHeads(), kHeads);
      };
      ctaSync(); // all have walked, or merged: queries and keys are free
#pragma unroll
      for (int e = 0; e < 2; ++e)
        if (const int h = 2 * t + e; here(h)) {
          float *to = merge + (warp * P.mergeHeads() + h - first) * P.mergeFloats();
#pragma unroll
          for (int c = 0; c < kChunks; ++c)
#pragma unroll
            for (int j = 0; j < 4; j += 2) {
              const float(&a)[4] = s.o[c][j], (&b)[4] = s.o[c][j + 1];
              *reinterpret_cast<f32x4 *>(to + featureAt(h, c * 64 + g * 8 + j * 2)) =
                  makeF32x4(a[e], a[2 + e], b[e], b[2 + e]);
            }
        }
      if (t == 0 && here(g)) {
        float *to = ml + (warp * P.mergeHeads() + g - first) * 2;
        to[0] = s.m, to[1] = lanes;
      }
      ctaSync();
      const int heads = minOf(P.mergeHeads(), kHeads - first);
      for (int i = int(threadIndex()); i < heads * kDims; i += kThreads) {
        const int h = i / kDims, d = i % kDims;
        float o, m, l;
        combine(
            kWarps, [&](int w) { return ml[(w * P.mergeHeads() + h) * 2]; },
            [&](int w) { return ml[(w * P.mergeHeads() + h) * 2 + 1]; },
            [&](int w) {
              return merge[(w * P.mergeHeads() + h) * P.mergeFloats() + featureAt(first + h, d)];
            },
            o, m, l);
        const int head = tile.head + first + h;
        if (tile.splits == 1) {
          dest[(int64_t(tile.row) * kAppend.heads + head) * kDims + d] = result(head, o, m, l);
          continue;
        }
        float *to = partial(tile, head, tile.split);
        to[d] = o;
        if (d == 0)
          to[kDims] = m, to[kDims + 1] = l;
      }
    }
  }
  /// The last tile of the row and key/value head to come here adds all splits.
  RETORT_DEVICE void finish(const Cta &cta, const Tile &t) const {
    uint32_t *last = reinterpret_cast<uint32_t *>(cta.work() + P.flagAt());
    ctaSync(); // the partial sums are written
    if (threadIndex() == 0) {
      uint32_t *count = cta.step.sync + P.countersAt + t.row * kCache.kvHeads + t.kvHead;
      *last = atomicAddAcqRelGpu(count, 1) == uint32_t(t.splits * kParts - 1);
      if (*last)
        storeRelaxedGpu(count, 0); // for the next layer, which comes after a wait
    }
    ctaSync();
    if (*last == 0)
      return;
    for (int i = int(threadIndex()); i < kGroup * kDims; i += kThreads) {
      const int h = t.kvHead * kGroup + i / kDims, d = i % kDims;
      float o, m, l;
      const float *sums = partial(t, h, 0);
      const auto at = [&](int split, int i) {
        return asFloat(ldGlobal32(sums + split * P.sumFloats() + i));
      };
      combine(
          t.splits, [&](int i) { return at(i, kDims); }, [&](int i) { return at(i, kDims + 1); },
          [&](int i) { return at(i, d); }, o, m, l);
      dest[(int64_t(t.row) * kAppend.heads + h) * kDims + d] = result(h, o, m, l);
    }
  }

  RETORT_DEVICE void tile(const Cta &cta, const Tile &t) const {
    stage(cta, t);
    Sums s = {};
    s.m = kNone;
    walk(cta, t, s);
    store(cta, t, s);
    if (P.splits > 1 && t.splits > 1)
      finish(cta, t);
    ctaSync(); // the work area is free
  }
};

/// dest[r] = attention of row r over its slot's positions up to its own; appends the row's K and V
/// to the cache.
///   q, k, v [rows][qStride, kStride, vStride] f32, heads from qAt, kAt, vAt on; may be one buffer
///   qNorm, kNorm [dims] f32    qAngles, kAngles [rows][rotaryDims] f32: cosines, then sines
///   sinks [heads] f32 or unused
///   cacheOffset: of the layer in a page, bytes, a multiple of 16
///   partials [maxRows][heads][splits][dims + 2] f32 (unused if splits is 1)
///   dest [rows][heads * dims] f32
/// Tiles: rows x key/value heads x splits. Traffic: K and V of the positions once a group of query
/// heads; with splits, (dims + 2) floats a head and split out and in, through L2. No wait inside;
/// one atomic a tile.
template <AttendShape P>
RETORT_PHASE void attend(Cta &cta, const float *q, const float *k, const float *v,
                         const float *qNorm, const float *kNorm, const float *qAngles,
                         const float *kAngles, int64_t cacheOffset, const float *sinks,
                         float *partials, float *dest) {
  using A = Attend<P>;
  const A attend = {
      q,        k,   v, qNorm, kNorm, qAngles, kAngles, sinks, {cta.step.cache + cacheOffset},
      partials, dest};
  for (int i = int(ctaIndex()); i < A::numTiles(cta); i += int(ctaCount())) {
    if (threadIndex() == 0)
      countTile();
    typename A::Tile t;
    if (A::describe(cta, i, t))
      attend.tile(cta, t);
  }
}

/// Asks L2 for the first page of keys and values that each warp of this CTA's first tile will read,
/// as far as they are of earlier steps: they do not depend on what attend waits for. All threads,
/// before that wait; cacheOffset as attend's. Traffic: at most 8 pages of a key/value head a CTA.
template <AttendShape P> RETORT_PHASE void attendPrefetch(Cta &cta, int64_t cacheOffset) {
  using A = Attend<P>;
  typename A::Tile t;
  const int index = int(ctaIndex());
  if (index >= A::numTiles(cta) || !A::describe(cta, index, t))
    return;
  const int page = t.firstPage + int(warpIndex());
  if (page >= t.endPage || page * 16 >= t.firstNew)
    return;
  const CachePages<A::kCache> cache = {cta.step.cache + cacheOffset};
  const typename A::Cache *keys = cache.keys(t.pages[page], t.kvHead);
  constexpr int kBytes = A::kCache.headValues() * A::kCache.valueBytes();
  constexpr int kValuesAt = A::kCache.valueOffset();
  if constexpr (kHasBulkCopy) {
    if (laneIndex() == 0) {
      prefetchL2Bulk(keys, kBytes);
      prefetchL2Bulk(keys + kValuesAt, kBytes);
    }
  } else {
    const uint8_t *bytes = reinterpret_cast<const uint8_t *>(keys);
    for (int at = int(laneIndex()) * 128; at < kBytes; at += 32 * 128) {
      prefetchL2(bytes + at);
      prefetchL2(bytes + at + kValuesAt * A::kCache.valueBytes());
    }
  }
}

} // namespace retort::cuda
