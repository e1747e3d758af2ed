//===- Sync.cpp - Atomics, fences, asynchronous copies, mbarriers ---------===//
// SPDX-License-Identifier: Apache-2.0
#include "kernels/sim/Check.h"
#include <cstring>

#define RETORT_EXPORT extern "C" __attribute__((visibility("default")))
#define SITE __builtin_return_address(0)

using namespace retort::sim;

namespace {
constexpr int kMisaligned = 716, kIllegal = 700;

// Order bits of the ABI: 1 acquire for loads and release for stores; for atomics 1 acquire, 2
// release.
void checkWord(const void *p, uint32_t bytes, uint32_t flags, const void *site) {
  if (settings.instrumented()) {
    access(p, bytes, flags | Atomic, site);
    ++runCounters.atomics;
  }
}

/// A lane that reads the same value at the same place again waits for it to change: let others run.
void spinIfSame(Lane *lane, const void *p, uint32_t value) {
  if (lane->lastLoad == p && lane->lastValue == value)
    spin(lane);
  lane->lastLoad = p;
  lane->lastValue = value;
}

/// Relaxed accesses at system scope of several words that are never torn.
void loadWords(const void *source, uint32_t *value, uint32_t words, const void *site) {
  checkWord(source, 4 * words, Read, site);
  memcpy(value, source, 4 * words);
  if (settings.check)
    relaxedLoad(self(), source, 2);
  uint32_t mixed = 0;
  for (uint32_t i = 0; i < words; ++i)
    mixed ^= value[i] * (2 * i + 1);
  spinIfSame(self(), source, mixed);
}
void storeWords(void *dest, const uint32_t *value, uint32_t words, const void *site) {
  checkWord(dest, 4 * words, Write, site);
  if (settings.check)
    relaxedStore(self(), dest, 2, false);
  memcpy(dest, value, 4 * words);
  ++progress;
}

void land(Lane *lane, const AsyncCopy &copy, const void *site) {
  if (copy.source)
    memcpy(copy.dest, copy.source, copy.bytes);
  else
    memset(copy.dest, 0, copy.bytes);
  if (settings.instrumented())
    landed(lane, copy.dest, copy.bytes, site);
}

// An mbarrier's eight bytes.
struct Mbar {
  uint16_t expected, pending : 15, phase : 1;
  int32_t bytes;
};
static_assert(sizeof(Mbar) == 8);

Mbar *mbarAt(void *p, const void *site) {
  if (spaceOf(p) != kArenaSpace || reinterpret_cast<uint64_t>(p) % 8)
    fail("out-of-bounds", "an mbarrier that is not in shared memory or not aligned to 8 bytes",
         site, kMisaligned);
  return static_cast<Mbar *>(p);
}
void endPhaseIfDone(Mbar *bar) {
  if (bar->pending == 0 && bar->bytes == 0) {
    bar->phase ^= 1;
    bar->pending = bar->expected & 0x7fff;
    ++progress;
  }
}
void checkCopy(const void *dest, const void *source, uint32_t bytes, bool bulk, const void *site) {
  if (reinterpret_cast<uint64_t>(dest) % 16 ||
      (source && reinterpret_cast<uint64_t>(source) % 16) || bytes % 16)
    fail("misaligned",
         "an asynchronous copy of " + std::to_string(bytes) + " bytes not aligned to 16", site,
         kMisaligned);
  if (spaceOf(dest) != kArenaSpace)
    fail("out-of-bounds", "an asynchronous copy to what is not shared memory", site, kIllegal);
  if (source && !allocated(source, bytes))
    fail("out-of-bounds", "an asynchronous copy reads outside device memory", site, kIllegal);
  if (settings.instrumented()) {
    const uint32_t uncounted = bulk ? Uncounted : 0; // countBulk does it
    if (source)
      access(source, bytes, Read | uncounted, site);
    access(dest, bytes, Write | InFlight | uncounted, site);
  }
}
} // namespace

RETORT_EXPORT uint32_t retort_sim_load(const void *source, int order, int scope) {
  Lane *lane = self();
  checkWord(source, 4, Read, SITE);
  const uint32_t value = *static_cast<const volatile uint32_t *>(source);
  if (settings.check) {
    if (order)
      acquire(lane, source, scope);
    else
      relaxedLoad(lane, source, scope);
  }
  spinIfSame(lane, source, value);
  return value;
}
RETORT_EXPORT void retort_sim_store(void *dest, uint32_t value, int order, int scope) {
  Lane *lane = self();
  checkWord(dest, 4, Write, SITE);
  if (settings.check) {
    if (order)
      release(lane, dest, scope, false);
    else
      relaxedStore(lane, dest, scope, false);
  }
  *static_cast<volatile uint32_t *>(dest) = value;
  ++progress;
}
RETORT_EXPORT void retort_sim_load64(const void *source, uint32_t *value) {
  loadWords(source, value, 2, SITE);
}
RETORT_EXPORT void retort_sim_store64(void *dest, const uint32_t *value) {
  storeWords(dest, value, 2, SITE);
}
RETORT_EXPORT void retort_sim_load128(const void *source, uint32_t *value) {
  loadWords(source, value, 4, SITE);
}
RETORT_EXPORT void retort_sim_store128(void *dest, const uint32_t *value) {
  storeWords(dest, value, 4, SITE);
}
RETORT_EXPORT uint32_t retort_sim_atomic_add(void *dest, uint32_t value, int order, int scope) {
  Lane *lane = self();
  checkWord(dest, 4, Write, SITE);
  if (settings.check) {
    if (order & 2)
      release(lane, dest, scope, true);
    else
      relaxedStore(lane, dest, scope, true);
    if (order & 1)
      acquire(lane, dest, scope);
    else
      relaxedLoad(lane, dest, scope);
  }
  auto *word = static_cast<uint32_t *>(dest);
  const uint32_t old = *word;
  *word = old + value;
  ++progress;
  return old;
}
RETORT_EXPORT void retort_sim_atomic_max64(void *dest, uint64_t value) {
  checkWord(dest, 8, Write, SITE);
  auto *word = static_cast<uint64_t *>(dest);
  if (*word < value)
    *word = value;
  ++progress;
}
RETORT_EXPORT void retort_sim_fence(int scope) {
  if (settings.check)
    fence(self(), scope);
}
RETORT_EXPORT void retort_sim_constant_load(const void *source, uint32_t bytes) {
  if (settings.check)
    access(source, bytes, Constant, SITE);
}

//===- Copies -------------------------------------------------------------===//
// A cp.async moves its bytes when its lane waits for it, a bulk copy when somebody waits at its
// mbarrier: as late as may be, so that a kernel that does not wait reads old bytes.

RETORT_EXPORT void retort_sim_cp_async(void *dest, const void *source, int valid) {
  const void *from = valid ? source : nullptr;
  checkCopy(dest, from, 16, false, SITE);
  self()->copies.push_back(
      {static_cast<uint8_t *>(dest), static_cast<const uint8_t *>(from), 16, nullptr});
}
RETORT_EXPORT void retort_sim_cp_commit() {
  Lane *lane = self();
  lane->groups.push_back(uint32_t(lane->copies.size()));
}
RETORT_EXPORT void retort_sim_cp_wait(int pending) {
  Lane *lane = self();
  const size_t groups = lane->groups.size();
  if (groups <= size_t(pending))
    return;
  const size_t done = groups - size_t(pending);
  const uint32_t end = lane->groups[done - 1];
  for (uint32_t i = 0; i < end; ++i)
    land(lane, lane->copies[i], SITE);
  lane->copies.erase(lane->copies.begin(), lane->copies.begin() + end);
  lane->groups.erase(lane->groups.begin(), lane->groups.begin() + long(done));
  for (uint32_t &group : lane->groups)
    group -= end;
}

RETORT_EXPORT void retort_sim_mbar_init(void *p, uint32_t arrivals) {
  Mbar *bar = mbarAt(p, SITE);
  if (settings.instrumented())
    access(p, 8, Write, SITE);
  *bar = {uint16_t(arrivals), uint16_t(arrivals), 0, 0};
  if (settings.check)
    clearSync(reinterpret_cast<uint64_t>(p), reinterpret_cast<uint64_t>(p) + 8);
}
RETORT_EXPORT void retort_sim_mbar_arrive(void *p, uint32_t bytes) {
  Mbar *bar = mbarAt(p, SITE);
  if (settings.instrumented())
    access(p, 8, Read | Atomic, SITE);
  if (settings.check)
    release(self(), p, 0, true);
  if (bar->pending == 0)
    fail("divergence", "an mbarrier gets more arrivals in a phase than it expects", SITE, 719);
  bar->bytes += int32_t(bytes);
  bar->pending = (bar->pending - 1) & 0x7fff;
  ++progress;
  endPhaseIfDone(bar);
}
RETORT_EXPORT int retort_sim_mbar_try(void *p, uint32_t parity) {
  Mbar *bar = mbarAt(p, SITE);
  Lane *lane = self();
  Cta *cta = lane->warp->cta;
  if (settings.instrumented())
    access(p, 8, Read | Atomic, SITE);
  if (bar->phase == (parity & 1)) {
    // One copy lands a try, in an order that the seed decides.
    std::vector<uint32_t> mine;
    for (uint32_t i = 0; i < cta->bulk.size(); ++i)
      if (cta->bulk[i].bar == p)
        mine.push_back(i);
    if (!mine.empty()) {
      const uint32_t pick = mine[settings.seed ? randomBelow(uint32_t(mine.size())) : 0];
      const AsyncCopy copy = cta->bulk[pick];
      cta->bulk.erase(cta->bulk.begin() + pick);
      land(lane, copy, SITE);
      bar->bytes -= int32_t(copy.bytes);
      ++progress;
      endPhaseIfDone(bar);
    }
  }
  if (bar->phase == (parity & 1))
    return 0;
  if (settings.check)
    acquire(lane, p, 0);
  return 1;
}
RETORT_EXPORT void retort_sim_bulk(void *dest, const void *source, uint32_t bytes, void *p) {
  mbarAt(p, SITE);
  checkCopy(dest, source, bytes, true, SITE);
  if (settings.instrumented()) {
    countBulk(source, bytes, SITE);
    runCounters.bulkBytes += bytes;
  }
  if (settings.check)
    release(self(), p, 0, true);
  self()->warp->cta->bulk.push_back({static_cast<uint8_t *>(dest),
                                     static_cast<const uint8_t *>(source), bytes,
                                     static_cast<uint64_t *>(p)});
  ++progress;
}
RETORT_EXPORT void retort_sim_prefetch(const void *source, uint32_t bytes) {
  if (!allocated(source, bytes))
    fail("out-of-bounds", "a prefetch of what is outside device memory", SITE, kIllegal);
  if (settings.instrumented())
    runCounters.prefetchBytes += bytes;
}
RETORT_EXPORT void retort_sim_fence_async() {
  if (settings.check)
    asyncFence(self());
}
