// The model of TestProgram.h on one or two GPUs. SPDX-License-Identifier: Apache-2.0
//
// Every GPU appends all rows to its own cache. On two, GPU d hashes rows d, d + 2, ... and sends
// the hashes to the other; each writes its part of the logits. TestBundle.cpp puts before this text
// TEST_VOCAB and, for each GPU, the part: TEST_LOGITS_BEGIN_0 and so on.
//
// sync: [0] the grid's barrier, [1] how often the other GPU has sent, [2] steps done, [3] the
// generation of the last step: where the next is not above it, hashes are wrong.
#include "kernels/cuda/argmax.cuh"
#include "kernels/cuda/sample.cuh"
#define TEST_FUNCTION RETORT_DEVICE
#include "runtime/src/abi/cuda_program.h"
#include "test/unit/Runtime/TestProgram.h"

using namespace retort::cuda;
using Step = retort_cuda_step;

RETORT_DEVICE int worker() { return int(ctaIndex() * threadCount() + threadIndex()); }
RETORT_DEVICE int workers() { return int(ctaCount() * threadCount()); }

RETORT_DEVICE uint8_t *cacheRow(const Step *s, int32_t slot, int32_t position) {
  const int32_t page = s->page_table[int64_t(slot) * s->pages_per_slot + position / TEST_PAGE_ROWS];
  return s->cache + int64_t(page) * TEST_PAGE_BYTES + 8 * (position % TEST_PAGE_ROWS);
}

RETORT_PHASE void append(const Step *s) {
  for (int r = worker(); r < s->num_rows; r += workers())
    stGlobal64(cacheRow(s, s->slots[r], s->positions[r]),
               makeU32x2(uint32_t(s->tokens[r]), uint32_t(s->positions[r])));
}

RETORT_PHASE void hash(const Step *s) {
  for (int r = worker(); r < s->num_rows; r += workers()) {
    if (r % s->num_devices != s->device)
      continue;
    uint64_t state = ldGlobalNc32(s->weights) & 255;
    if (s->generation <= int32_t(ldGlobal32(s->sync + 3)) ||
        s->generation > RETORT_CUDA_GENERATIONS)
      state = ~state;
    for (int32_t p = 0; p <= s->positions[r]; ++p) {
      const u32x2 row = ldGlobal64(cacheRow(s, s->slots[r], p));
      state = testRead(state, int32_t(row.x), int32_t(row.y));
    }
    stGlobal64(s->activations + 8 * r, makeU32x2(uint32_t(state), uint32_t(state >> 32)));
    if (s->num_devices > 1) {
      uint32_t *there = reinterpret_cast<uint32_t *>(s->peers[1 - s->device].activations + 8 * r);
      storeRelaxedSys(there, uint32_t(state));
      storeRelaxedSys(there + 1, uint32_t(state >> 32));
    }
  }
  if (s->num_devices == 1)
    return;
  fenceSys();
  ctaSync();
  if (threadIndex() == 0)
    redAddReleaseSys(s->peers[1 - s->device].sync + 1, 1);
}

RETORT_DEVICE uint64_t hashOf(const Step *s, int r) {
  if (r % s->num_devices == s->device) {
    const u32x2 state = ldGlobal64(s->activations + 8 * r);
    return uint64_t(state.y) << 32 | state.x;
  }
  const uint32_t *sent =
      reinterpret_cast<const uint32_t *>(s->peers[s->device].activations + 8 * r);
  return uint64_t(loadRelaxedSys(sent + 1)) << 32 | loadRelaxedSys(sent);
}

RETORT_PHASE void logits(const Step *s) {
  if (s->num_devices > 1) {
    if (threadIndex() == 0)
      while (loadAcquireSys(s->peers[s->device].sync + 1) !=
             (ldGlobal32(s->sync + 2) + 1) * ctaCount())
        spinPause();
    ctaSync();
  }
  const int begin = s->device ? TEST_LOGITS_BEGIN_1 : 0;
  const int count = (s->device || s->num_devices == 1 ? TEST_VOCAB : TEST_LOGITS_BEGIN_1) - begin;
  for (int i = worker(); i < s->num_wanted * count; i += workers()) {
    const float logit = testLogit(hashOf(s, s->wanted[i / count]), begin + i % count);
    if (s->logits)
      s->logits[i] = logit;
    if (s->chosen && i % count < s->num_choose)
      redMaxRelaxedGpu(s->chosen + i / count, scoreKey(logit, i % count));
  }
}

RETORT_DEVICE void stepDone(const Step *s) {
  if (worker() != 0)
    return;
  stGlobal32(s->sync + 2, ldGlobal32(s->sync + 2) + 1);
  stGlobal32(s->sync + 3, uint32_t(s->generation));
}

RETORT_DEVICE void wholeStep(const Step *s) {
  append(s);
  gridSync(s->sync);
  hash(s);
  gridSync(s->sync);
  logits(s);
  gridSync(s->sync);
  stepDone(s);
}

RETORT_KERNEL(test_decode, 64, 1, const Step *s) { wholeStep(s); }
RETORT_KERNEL(test_prefill, 64, 1, const Step *s) { wholeStep(s); }

RETORT_KERNEL(test_append, 64, 1, const Step *s) { append(s); }
RETORT_KERNEL(test_hash, 64, 1, const Step *s) { hash(s); }
RETORT_KERNEL(test_logits, 64, 1, const Step *s) { logits(s); }
RETORT_KERNEL(test_done, 64, 1, const Step *s) { stepDone(s); }

constexpr SampleShape One = {.first = TEST_VOCAB};
constexpr SampleShape Two = {.first = TEST_LOGITS_BEGIN_1,
                             .second = TEST_VOCAB - TEST_LOGITS_BEGIN_1};
RETORT_KERNEL(test_sample_1, kSampleThreads, 1, const Step *s) { sample<One>(*s); }
RETORT_KERNEL(test_sample_2, kSampleThreads, 1, const Step *s) { sample<Two>(*s); }

// Wrong on purpose: what a damaged program does.
RETORT_KERNEL(test_trap, 64, 1, const Step *s) { trap(); }
