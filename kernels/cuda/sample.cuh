// Draws tokens from logits: temperature, min-p, top-k and top-p. SPDX-License-Identifier: Apache-2.0
//
// runtime/src/abi/sampling.h defines what is drawn; this is how a GPU finds it, to the bit. Each
// of top-k, top-p and the draw itself asks the same: going down the ranking, at which candidate
// does a running sum (of counts, or of masses) become larger than a target? So there is one
// selection, used up to three times:
//
//   1. One pass over the row sums counts and masses by distance from the largest logit, in 1024 bins
//      of 1/64 octave and one for what is 16 octaves or more below it: less than 2^-16 of the
//      largest one's mass each, but most of the vocabulary. These a thread adds up in registers,
//      the few others go to the bins by atomic additions in shared memory.
//   2. The bins' prefix sums say in which bin the target lies. If the bins down to it hold few
//      enough candidates, which is so unless the distribution is nearly flat, a second pass
//      collects them all, and they are sorted in shared memory. What is selected next lies among
//      them.
//   3. Else only that bin is collected; and if it alone has too many, passes cut its range of orders
//      in 1024 parts again and again, until the one with the target has few. Orders differ by the
//      token at least, so that ends.
//
// Sums are of integers: their order does not matter, and the same row and random number give the
// same token whatever the schedule.
//
// A launch of its own after the step, in both forms, and of steps that draw only: greedy steps pay
// nothing, the step's kernel needs no registers for it, and of two devices the first draws once the
// second's launch, which stores its logits in the first one's memory, is done. A CTA a row.
//
// Traffic: two passes over the row in most cases, from L2; three with two devices.
#pragma once
#include "kernels/cuda/argmax.cuh"
#include "kernels/cuda/layout.h"
#include "kernels/cuda/wrap.cuh"
#include "runtime/src/abi/cuda_program.h"
namespace retort::cuda {

/// A running sum over candidates.
struct SampleSums {
  uint64_t mass = 0;
  uint32_t count = 0;
  RETORT_DEVICE void add(const SampleSums &other) {
    mass += other.mass;
    count += other.count;
  }
  RETORT_DEVICE uint64_t of(bool counts) const { return counts ? count : mass; }
};
RETORT_DEVICE uint64_t shfl64(uint64_t value, int source) {
  const uint32_t high = shfl(uint32_t(value >> 32), source);
  return uint64_t(high) << 32 | shfl(uint32_t(value), source);
}
/// All lanes: the sums of lanes 0 to the own one.
RETORT_DEVICE SampleSums warpRunning(SampleSums own) {
  const int lane = int(laneIndex());
  for (int delta = 1; delta < 32; delta *= 2) {
    const int from = lane >= delta ? lane - delta : lane;
    const SampleSums other = {shfl64(own.mass, from), shfl(own.count, from)};
    if (lane >= delta)
      own.add(other);
  }
  return own;
}

constexpr int kSampleWarps = kSampleThreads / 32;
constexpr int kSampleBins = 1024;
constexpr int kSampleList = 2048;   // candidates that are sorted
constexpr int kSampleBinShift = 20; // of a distance: 1/64 octave
constexpr uint32_t kSampleNear = uint32_t(kSampleBins) << kSampleBinShift;

/// Counts and masses, which may be added to by many at once: a mass is two words, the carry of the
/// lower one goes with whoever made it.
struct SampleBins {
  uint32_t count[kSampleBins + 1], low[kSampleBins + 1], high[kSampleBins + 1];

  RETORT_DEVICE void clear() {
    for (int i = int(threadIndex()); i <= kSampleBins; i += kSampleThreads)
      count[i] = low[i] = high[i] = 0;
  }
  RETORT_DEVICE void add(int bin, const SampleSums &sums) {
    atomicAddShared(count + bin, sums.count);
    const uint32_t more = uint32_t(sums.mass), before = atomicAddShared(low + bin, more);
    const uint32_t carry = before + more < more ? 1u : 0u;
    if (const uint32_t upper = uint32_t(sums.mass >> 32) + carry)
      atomicAddShared(high + bin, upper);
  }
  RETORT_DEVICE SampleSums at(int bin) const {
    return {uint64_t(high[bin]) << 32 | low[bin], count[bin]};
  }
};

/// All of the CTA's shared memory.
struct SampleShared {
  SampleBins bins; // by distance
  union {
    SampleBins parts;           // of a range of orders
    uint64_t list[kSampleList]; // orders
  };
  SampleSums warps[kSampleWarps];
  uint64_t keys[kSampleWarps];
  SampleSums before, all; // findIn's
  int found;
  uint32_t listed;
};
static_assert(sizeof(SampleShared) <= kSampleSharedBytes);

template <SampleShape P> struct Sample {
  static constexpr int kTokens = P.tokens();
  static_assert(kTokens <= int(sampling::kMaxTokens));
  RETORT_HOST_DEVICE static constexpr int bitsFor(int n) {
    return n <= 1 ? 0 : 1 + bitsFor(n / 2 + n % 2);
  }
  static constexpr int kTokenBits = bitsFor(kTokens); // of an order, below the key's distance

  SampleShared &shared;
  const float *first, *second; // the row
  int tokens;                  // to draw from
  float scale;
  uint64_t leastMass; // of a candidate
  // Of the largest logit.
  uint32_t topKey = 0;
  float largest = 0;
  // What the list has: bins `from` to `to`, and of them orders lo to lo + 2^bits; what is before.
  int from = 1, to = 0, bits = 63;
  uint64_t lo = 0;
  SampleSums listBefore;

  /// take(logit, token) for tokens from `begin` on, some of them NaN that are none.
  template <class Take> RETORT_DEVICE void each(int begin, const Take &take) const {
    constexpr int kLoads = 4; // in flight
    for (int base = begin + int(threadIndex()); base < tokens; base += kLoads * kSampleThreads) {
      float y[kLoads];
#pragma unroll
      for (int u = 0; u < kLoads; ++u) {
        const int i = base + u * kSampleThreads;
        const float *at = P.second == 0 || i < P.first ? first + i : second + (i - P.first);
        y[u] = asFloat(i < tokens ? ldGlobal32(at) : 0x7fc00000u);
      }
#pragma unroll
      for (int u = 0; u < kLoads; ++u)
        take(y[u], base + u * kSampleThreads);
    }
  }
  RETORT_DEVICE uint32_t distanceOf(float y) const { return sampling::distance(largest, y, scale); }
  RETORT_DEVICE static int binOf(uint32_t distance) {
    return distance < kSampleNear ? int(distance >> kSampleBinShift) : kSampleBins;
  }
  RETORT_DEVICE uint64_t orderOf(uint32_t key, int token) const {
    return uint64_t(topKey - key) << kTokenBits | uint32_t(token);
  }
  RETORT_DEVICE uint32_t keyOf(uint64_t order) const {
    return topKey - uint32_t(order >> kTokenBits);
  }
  RETORT_DEVICE uint64_t massOf(uint64_t order) const {
    return sampling::mass(distanceOf(asFloat(sampling::bitsOf(keyOf(order)))));
  }

  /// The largest key of the row, given that of device 0's part. All threads.
  RETORT_DEVICE uint64_t largestKey(uint64_t key) const {
    if constexpr (P.second != 0) {
      each(P.first, [&](float y, int token) { key = maxKey(key, scoreKey(y, token)); });
      key = warpMaxKey<32>(key);
      if (laneIndex() == 0)
        shared.keys[warpIndex()] = key;
      ctaSync();
      for (int w = 0; w < kSampleWarps; ++w)
        key = maxKey(key, shared.keys[w]);
      ctaSync();
    }
    return key;
  }

  RETORT_DEVICE void fillBins() {
    shared.bins.clear();
    ctaSync();
    SampleSums far;
    each(0, [&](float y, int) {
      if (sampling::keyOf(asBits(y)) == 0)
        return;
      const uint32_t d = distanceOf(y);
      const SampleSums one = {sampling::mass(d), 1};
      if (one.mass < leastMass)
        return;
      if (d < kSampleNear)
        shared.bins.add(binOf(d), one);
      else
        far.add(one);
    });
    far = warpRunning(far);
    if (laneIndex() == 31 && far.count != 0)
      shared.bins.add(kSampleBins, far);
    ctaSync();
  }

  /// The first of n items at which their running sum is larger than `target`: shared.found, with
  /// what is before it; shared.all is their sum. All threads; a barrier is before and after.
  template <class Item>
  RETORT_DEVICE void findIn(int n, bool counts, uint64_t target, const Item &item) {
    const int share = ceilDiv(n, kSampleThreads), begin = minOf(n, int(threadIndex()) * share),
              end = minOf(n, begin + share);
    SampleSums own, before;
    for (int i = begin; i < end; ++i)
      own.add(item(i));
    const SampleSums running = warpRunning(own);
    if (laneIndex() == 31)
      shared.warps[warpIndex()] = running;
    ctaSync();
    const SampleSums warp = warpRunning(shared.warps[minOf(int(laneIndex()), kSampleWarps - 1)]);
    const int last = int(warpIndex()) - 1;
    const SampleSums warpsBefore = {shfl64(warp.mass, maxOf(last, 0)),
                                    shfl(warp.count, maxOf(last, 0))};
    before = {running.mass - own.mass, running.count - own.count};
    if (last >= 0)
      before.add(warpsBefore);
    if (threadIndex() == kSampleThreads - 1) {
      shared.all = before;
      shared.all.add(own);
    }
    for (int i = begin; i < end; ++i) {
      const SampleSums one = item(i);
      if (before.of(counts) <= target && target - before.of(counts) < one.of(counts)) {
        shared.found = i;
        shared.before = before;
      }
      before.add(one);
    }
    ctaSync();
  }

  /// take(order, mass's distance) for the candidates of bins from..to whose order is in the range.
  template <class Take> RETORT_DEVICE void eachListed(const Take &take) const {
    each(0, [&](float y, int token) {
      const uint32_t key = sampling::keyOf(asBits(y));
      if (key == 0)
        return;
      const uint32_t d = distanceOf(y);
      if (sampling::mass(d) < leastMass)
        return;
      const uint64_t order = orderOf(key, token);
      if (binOf(d) >= from && binOf(d) <= to && (order - lo) >> bits == 0)
        take(order, d);
    });
  }
  /// Makes the range that of those candidates of the bin `from`, more than the list holds, which
  /// are near the target.
  RETORT_DEVICE void cutRange(bool counts, uint64_t target) {
    bits = 32 + kTokenBits;
    uint32_t left;
    do {
      const int shift = maxOf(bits - 10, 0);
      shared.parts.clear();
      ctaSync();
      eachListed([&](uint64_t order, uint32_t d) {
        shared.parts.add(int((order - lo) >> shift), {sampling::mass(d), 1});
      });
      ctaSync();
      findIn(kSampleBins, counts, target - listBefore.of(counts),
             [&](int i) { return shared.parts.at(i); });
      lo += uint64_t(shared.found) << shift;
      bits = shift;
      listBefore.add(shared.before);
      left = shared.parts.at(shared.found).count;
      ctaSync(); // all have read what they found
    } while (left > uint32_t(kSampleList));
  }
  /// Collects what eachListed() gives, and sorts it: Batcher's bitonic sort.
  RETORT_DEVICE void makeList() {
    if (threadIndex() == 0)
      shared.listed = 0;
    ctaSync();
    eachListed(
        [&](uint64_t order, uint32_t) { shared.list[atomicAddShared(&shared.listed, 1)] = order; });
    ctaSync();
    int size = 2;
    while (size < int(shared.listed))
      size *= 2;
    for (int i = int(threadIndex()); i < size; i += kSampleThreads)
      if (i >= int(shared.listed))
        shared.list[i] = ~uint64_t(0);
    for (int run = 2; run <= size; run *= 2)
      for (int apart = run / 2; apart > 0; apart /= 2) {
        ctaSync();
        for (int i = int(threadIndex()); i < size / 2; i += kSampleThreads) {
          const int a = 2 * i - (i & (apart - 1)), b = a + apart;
          const uint64_t x = shared.list[a], y = shared.list[b];
          if ((x > y) == ((a & run) == 0)) {
            shared.list[a] = y;
            shared.list[b] = x;
          }
        }
      }
    ctaSync();
  }

  /// The first candidate at which the running sum is larger than `target`, which the sum of all is.
  struct Place {
    uint64_t order, mass; ///< and the sum of masses down to it
  };
  RETORT_DEVICE Place select(bool counts, uint64_t target) {
    findIn(kSampleBins + 1, counts, target, [&](int i) { return shared.bins.at(i); });
    const int bin = shared.found;
    const uint32_t here = shared.bins.at(bin).count;
    SampleSums binBefore = shared.before;
    ctaSync();
    if (bin < from || bin > to) {
      lo = 0;
      bits = 63;
      from = to = bin;
      listBefore = binBefore;
      if (binBefore.count + here <= uint32_t(kSampleList)) {
        from = 0;
        listBefore = {};
      } else if (here > uint32_t(kSampleList)) {
        cutRange(counts, target);
      }
      makeList();
      if (bits != 63)
        to = -1; // it has not the whole bin
    }
    findIn(int(shared.listed), counts, target - listBefore.of(counts),
           [&](int i) { return SampleSums{massOf(shared.list[i]), 1}; });
    const uint64_t order = shared.list[shared.found];
    const Place place = {order, listBefore.mass + shared.before.mass + massOf(order)};
    ctaSync();
    return place;
  }

  /// The key of the token drawn; `key` is the largest, not 0.
  RETORT_DEVICE uint64_t token(uint64_t key, const retort_choice &choice) {
    topKey = uint32_t(key >> 32);
    if (choice.scale == 0 || topKey == sampling::kInfinityKey)
      return key;
    largest = asFloat(sampling::bitsOf(topKey));
    fillBins();
    findIn(kSampleBins + 1, true, ~uint64_t(0), [&](int i) { return shared.bins.at(i); });
    uint64_t kept = shared.all.mass;
    const bool cut = choice.top_k != 0 && choice.top_k < shared.all.count;
    ctaSync();
    Place place = {0, 0};
#pragma unroll 1
    for (int stage = 0; stage < 3; ++stage) { // top-k, top-p, the draw
      if ((stage == 0 && !cut) || (stage == 1 && choice.top_p == 0))
        continue;
      const uint64_t target = stage == 0   ? choice.top_k - 1
                              : stage == 1 ? sampling::nucleus(kept, choice.top_p) - 1
                                           : sampling::drawn(kept, choice.random);
      place = select(stage == 0, target);
      kept = place.mass;
    }
    const uint32_t token = uint32_t(place.order) & ((1u << kTokenBits) - 1);
    return uint64_t(keyOf(place.order)) << 32 | (0xffffffffu - token);
  }
};

/// chosen[r] = the key of the token that choices[r] draws, for each wanted row
///   logits [num_wanted][first] f32   other_logits [num_wanted][second] f32
///   chosen [num_wanted]: the keys of device 0's largest logits, as matmulArgmax leaves them
/// All kSampleThreads threads of any number of CTAs call it.
template <SampleShape P> RETORT_PHASE void sample(const retort_cuda_step &step) {
  SampleShared &shared = *reinterpret_cast<SampleShared *>(sharedArena());
  for (int r = int(ctaIndex()); r < step.num_wanted; r += int(ctaCount())) {
    if (threadIndex() == 0)
      countTile();
    const retort_choice *given = step.choices + r;
    retort_choice choice;
    choice.random = given->random;
    choice.scale = given->scale;
    choice.top_k = given->top_k;
    choice.top_p = given->top_p;
    choice.min_p = given->min_p;
    Sample<P> row = {shared,
                     step.logits + int64_t(r) * P.first,
                     P.second ? step.other_logits + int64_t(r) * P.second : nullptr,
                     step.num_sample,
                     choice.scale,
                     sampling::leastMass(choice.min_p)};
    const u32x2 best = ldGlobal64(step.chosen + r);
    uint64_t key = row.largestKey(uint64_t(best.y) << 32 | best.x);
    if (key != 0)
      key = row.token(key, choice);
    ctaSync(); // all have read the old key, and shared memory is free
    if (threadIndex() == 0)
      stGlobal64(step.chosen + r, makeU32x2(uint32_t(key), uint32_t(key >> 32)));
  }
}

} // namespace retort::cuda
