/*===- TestProgram.c - A model that is a hash of what it has read ----------------------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
#include "test/unit/Runtime/TestProgram.h"
#include "runtime/src/abi/cpu_program.h"
#include <sched.h>

/* TEST_VOCAB: logits of a row, given by the build. */

static void barrier(retort_cpu_barrier *b, uint32_t threads) {
  uint32_t generation = __atomic_load_n(&b->generation, __ATOMIC_RELAXED);
  if (__atomic_add_fetch(&b->arrived, 1, __ATOMIC_ACQ_REL) == threads) {
    __atomic_store_n(&b->arrived, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&b->generation, generation + 1, __ATOMIC_RELEASE);
    return;
  }
  for (unsigned spins = 0; __atomic_load_n(&b->generation, __ATOMIC_ACQUIRE) == generation; ++spins)
    if (spins > 200)
      sched_yield();
}

static int32_t *cacheRow(const retort_cpu_step *s, int32_t slot, int32_t position) {
  int32_t page = s->page_table[(int64_t)slot * s->pages_per_slot + position / TEST_PAGE_ROWS];
  uint8_t *base = s->cache + (int64_t)page * TEST_PAGE_BYTES;
  return (int32_t *)base + 2 * (position % TEST_PAGE_ROWS);
}

__attribute__((visibility("default"))) void retort_test_step(const retort_cpu_step *s,
                                                             int32_t thread) {
  uint64_t *states = (uint64_t *)s->activations;
  s->scratch[(int64_t)thread * TEST_SCRATCH_BYTES + TEST_SCRATCH_BYTES - 1] = 1;
  for (int32_t r = thread; r < s->num_rows; r += s->num_threads) {
    int32_t *row = cacheRow(s, s->slots[r], s->positions[r]);
    row[0] = s->tokens[r];
    row[1] = s->positions[r];
  }
  barrier(s->barrier, (uint32_t)s->num_threads);
  for (int32_t r = thread; r < s->num_rows; r += s->num_threads) {
    uint64_t state = s->weights[0];
    for (int32_t p = 0; p <= s->positions[r]; ++p) {
      const int32_t *row = cacheRow(s, s->slots[r], p);
      state = testRead(state, row[0], row[1]);
    }
    states[r] = state;
  }
  barrier(s->barrier, (uint32_t)s->num_threads);
  for (int64_t i = thread; i < (int64_t)s->num_wanted * TEST_VOCAB; i += s->num_threads)
    s->logits[i] = testLogit(states[s->wanted[i / TEST_VOCAB]], (int32_t)(i % TEST_VOCAB));
  barrier(s->barrier, (uint32_t)s->num_threads);
}
