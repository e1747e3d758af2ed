// What two devices exchange while they decode: values that carry their own flags.
// SPDX-License-Identifier: Apache-2.0
//
// A product that sends stores its values, as soon as its tile is done, in the other device's memory
// together with a flag: words of 8 bytes, which are stored and loaded whole. Whoever needs the
// values reads these bytes until the flag is the one that is due. So no fence stands between a
// value and its flag, nobody waits for the last CTA of the other device to say that all is there,
// and the store's way overlaps with the grid barrier that this device's own partial sums need
// anyway. NCCL's protocol LL and TensorRT-LLM's one-shot all-reduce work so; only 8 bytes are
// relied on because that is what holds over NVLink, PCIe and in host memory alike.
//
// Unlike theirs, a word has two values: each the upper 24 bits of its f32, rounded to nearest (an
// error of 2^-17, half of what rows in fixed point have), and a flag of 16 bits. Every CTA reads
// all of a row, so this is half of the bytes from L2 as well as on the link. The device's own part
// is rounded likewise, for both must add up the same numbers.
//
// A flag is a number of the exchange that no other exchange has that could have left a word where
// this one looks: flagValue() of cta.cuh, with the step's number in it, which is at most
// RETORT_CUDA_GENERATIONS; before the numbers start again the runtime zeroes the words. 0 is none.
//
// Words lie in `sync` (zeroed once, and no other kernels' memory, so that nothing there looks like
// a flag by chance), in two sets: exchange i uses set i % 2. That a set is free again when exchange
// i + 2 stores to it follows from waits that the program has (kernel.program, C7):
//   1. B stores a word of exchange i + 2 in A's set. The storing phase comes after a kernel.wait
//      for all of B's CTAs that follows the phase where B read what A sent in exchange i + 1.
//   2. So some CTA of B saw such a word of A's. A's storing phase, too, comes after a kernel.wait
//      for all of A's CTAs that follows the phase where A read what it was sent in exchange i.
//   3. So all of A's reads of exchange i have returned.
// Steps: the runtime starts one when all devices are done with the one before. If the argument were
// wrong, a reader would find the flag of exchange i + 2 in the place of its own and never stop: the
// simulator says deadlock.
//
// Without peer access the words arrive in host memory. There each CTA takes its share from, once,
// and puts it in the device's own `sync` for all (relay): else each CTA would read all of it over
// PCIe. There a CTA waits for others of its own launch, in the graph form too: the grid has a CTA a
// multiprocessor at most, so all of them run.
#pragma once
#include "kernels/cuda/cta.cuh"
namespace retort::cuda {

/// A value as it is sent: 16 significant bits, to nearest. Infinities and NaN stay what they are.
RETORT_DEVICE float sendable(float value) {
  const uint32_t bits = asBits(value);
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  return asFloat((bits + (finite ? 0x7fu + (bits >> 8 & 1) : 0u)) & 0xffffff00u);
}

/// Where a product's results go on the other device.
struct Outbox {
  uint32_t *words = nullptr; // [rows][receivedStride(columns)] of two u32
  uint32_t flag = 0;

  /// Two neighbouring columns' sendable() values; the first one is even.
  RETORT_DEVICE void put(int64_t word, float first, float second) const {
    storeRelaxedSys64(words + 2 * word,
                      makeU32x2(asBits(first) | asBits(second) >> 24, asBits(second) << 8 | flag));
  }
};

/// Where this device finds what it was sent.
struct Inbox {
  uint32_t *words = nullptr;      // as Outbox's; of this device
  const uint32_t *host = nullptr; // where they arrive, if the devices don't reach each other
  uint32_t flag = 0;

  /// The two words of four neighbouring columns, of which the first one's number is 4 n.
  RETORT_DEVICE u32x4 four(int64_t word) const { return loadRelaxedSys128(words + 2 * word); }
  RETORT_DEVICE bool has(uint32_t upper) const { return (upper & 0xffffu) == flag; }
  /// Whether they are there; `both`: the second too, which a row's end may lack.
  RETORT_DEVICE bool has(u32x4 four, bool both) const {
    return has(four.y) && (!both || has(four.w));
  }
  /// A word's values.
  RETORT_DEVICE static float first(uint32_t lower) { return asFloat(lower & 0xffffff00u); }
  RETORT_DEVICE static float second(uint32_t lower, uint32_t upper) {
    return asFloat(prmt(lower, upper, 0x0764) & 0xffffff00u);
  }
};

RETORT_DEVICE Outbox outbox(const Cta &cta, int64_t offset, int exchange) {
  return {cta.sentWords(offset), cta.flagValue(exchange)};
}
RETORT_DEVICE Inbox inbox(const Cta &cta, int64_t offset, int exchange) {
  uint32_t *here = cta.receivedWords(offset);
  const uint32_t *there = cta.arrivedWords(offset);
  return {here, there == here ? nullptr : there, cta.flagValue(exchange)};
}

/// Takes this CTA's share of `columns` columns of all rows from host memory, if that is where they
/// arrive.
RETORT_PHASE void relay(const Cta &cta, Inbox in, int columns) {
  if (!in.host)
    return;
  const int fours = receivedStride(columns) / 2;
  for (int i = int(ctaIndex() * kThreads + threadIndex()); i < cta.step.num_rows * fours;
       i += int(ctaCount()) * kThreads) {
    const bool both = i % fours * 4 + 2 < columns;
    u32x4 four = loadRelaxedSys128(in.host + 4 * i);
    while (!in.has(four, both)) {
      spinPause();
      four = loadRelaxedSys128(in.host + 4 * i);
    }
    storeRelaxedSys128(in.words + 4 * i, four);
  }
}

/// dest[r][i] = residual[r][i] + (own[r][i] + what was sent).
template <SumShape P>
RETORT_PHASE void sum(Cta &cta, const float *own, Inbox in, const float *residual, float *dest) {
  const uint32_t *words = in.host ? in.host : in.words; // each is read once
  constexpr int kPairs = ceilDiv(P.features, 2);
  for (int64_t i = int64_t(ctaIndex()) * kThreads + threadIndex();
       i < int64_t(cta.step.num_rows) * kPairs; i += int64_t(ctaCount()) * kThreads) {
    if (threadIndex() == 0)
      countTile();
    const int64_t r = i / kPairs, pair = i % kPairs;
    const uint32_t *at = words + 2 * (r * receivedStride(P.features) + pair);
    u32x2 word = loadRelaxedSys64(at);
    while (!in.has(word.y)) {
      spinPause();
      word = loadRelaxedSys64(at);
    }
    const float sent[2] = {Inbox::first(word.x), Inbox::second(word.x, word.y)};
#pragma unroll
    for (int j = 0; j < 2; ++j)
      if (const int64_t to = r * P.features + pair * 2 + j; pair * 2 + j < P.features) {
        float y = asFloat(ldGlobal32(own + to)) + sent[j];
        if constexpr (P.hasResidual)
          y = asFloat(ldGlobal32(residual + to)) + y;
        dest[to] = y;
      }
  }
}

} // namespace retort::cuda
