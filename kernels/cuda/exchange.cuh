// What two devices exchange while they decode: values that carry their own flags.
// SPDX-License-Identifier: Apache-2.0
//
// A product that sends stores each value, as soon as its tile is done, in the other device's memory
// together with a flag: 8 bytes, which are stored and loaded whole. Whoever needs the value reads
// these bytes until the flag is the one that is due. So no fence stands between a value and its
// flag, nobody waits for the last CTA of the other device to say that all is there, and the store's
// way overlaps with the grid barrier that this device's own partial sums need anyway. NCCL's
// protocol LL and TensorRT-LLM's one-shot all-reduce work so; only 8 bytes are relied on because
// that is what holds over NVLink, PCIe and in host memory alike.
//
// A flag is a number of the exchange that no other exchange has that could have left a word where
// this one looks: flagValue() of cta.cuh, with the step's number in it, which is below
// RETORT_CUDA_GENERATIONS; before the numbers start again the runtime zeroes the words. 0 is none.
//
// Words lie in `sync` (zeroed once, and no other kernels' memory, so that nothing there looks like
// a flag by chance), in two sets: exchange i uses set i % 2. That a set is free again when exchange
// i + 2 stores to it follows from waits that the program has (kernel.program, C7):
//   1. B stores a word of exchange i + 2 in A's set. The storing phase comes after a kernel.wait
//   for
//      all of B's CTAs that follows the phase where B read what A sent in exchange i + 1.
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

/// Where a product's results go on the other device.
struct Outbox {
  uint32_t *words = nullptr; // [rows][receivedStride(columns)] pairs
  uint32_t flag = 0;

  RETORT_DEVICE void put(int64_t pair, float value) const {
    storeRelaxedSys64(words + 2 * pair, makeU32x2(asBits(value), flag));
  }
};

/// Where this device finds what it was sent.
struct Inbox {
  uint32_t *words = nullptr;      // as Outbox's; of this device
  const uint32_t *host = nullptr; // where they arrive, if the devices don't reach each other
  uint32_t flag = 0;

  /// Two neighbours; the first one's column is even.
  RETORT_DEVICE u32x4 pair(int64_t at) const { return loadRelaxedSys128(words + 2 * at); }
  /// Whether a pair is there; `both`: its second value too, which a row's end may lack.
  RETORT_DEVICE bool has(u32x4 pair, bool both) const {
    return pair.y == flag && (!both || pair.w == flag);
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
  const int pairs = receivedStride(columns) / 2;
  for (int i = int(ctaIndex() * kThreads + threadIndex()); i < cta.step.num_rows * pairs;
       i += int(ctaCount()) * kThreads) {
    const int column = i % pairs * 2;
    if (column >= columns)
      continue;
    u32x4 pair = loadRelaxedSys128(in.host + 4 * i);
    while (!in.has(pair, column + 1 < columns)) {
      spinPause();
      pair = loadRelaxedSys128(in.host + 4 * i);
    }
    storeRelaxedSys128(in.words + 4 * i, pair);
  }
}

/// dest[r][i] = residual[r][i] + (own[r][i] + what was sent). P: Features, HasResidual.
template <class P>
RETORT_PHASE void sum(Cta &cta, const float *own, Inbox in, const float *residual, float *dest) {
  const uint32_t *words = in.host ? in.host : in.words; // each is read once
  for (int64_t i = int64_t(ctaIndex()) * kThreads + threadIndex();
       i < int64_t(cta.step.num_rows) * P::Features; i += int64_t(ctaCount()) * kThreads) {
    const int64_t r = i / P::Features, column = i % P::Features;
    const uint32_t *at = words + 2 * (r * receivedStride(P::Features) + column);
    u32x2 word = loadRelaxedSys64(at);
    while (word.y != in.flag) {
      spinPause();
      word = loadRelaxedSys64(at);
    }
    float y = asFloat(ldGlobal32(own + i)) + asFloat(word.x);
    if constexpr (P::HasResidual)
      y = asFloat(ldGlobal32(residual + i)) + y;
    dest[i] = y;
  }
}

} // namespace retort::cuda
