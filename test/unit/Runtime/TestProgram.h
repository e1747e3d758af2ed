/*===- TestProgram.h - A model that is a hash of what it has read ----------------------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
/* The logits of a row are a hash of all tokens and positions of its slot up to it, so every wrong
 * page, position, slot or step shows. TestProgram.c and .cu compute it as an emitted program
 * would: through the page table, with threads and barriers; tests compute it from the tokens. */
#ifndef RETORT_TEST_PROGRAM_H
#define RETORT_TEST_PROGRAM_H
#include <stdint.h>

#ifndef TEST_FUNCTION /* or what device code needs before a function */
#define TEST_FUNCTION static inline
#endif

enum {
  TEST_PAGE_ROWS = 16,
  TEST_PAGE_BYTES = TEST_PAGE_ROWS * 8, /* a token and its position for each row, as the cache */
  TEST_MAX_ROWS = 8,
  TEST_ACTIVATION_BYTES = TEST_MAX_ROWS * 8, /* the hash of each row */
  TEST_SCRATCH_BYTES = 64
};

TEST_FUNCTION uint64_t testMix(uint64_t state, uint64_t value) {
  uint64_t z = (state ^ value) + 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  return z ^ (z >> 27);
}

/* What reading one more token makes of the state; `weight` is the first byte of weights.bin. */
TEST_FUNCTION uint64_t testRead(uint64_t state, int32_t token, int32_t position) {
  return testMix(testMix(state, (uint32_t)token), (uint32_t)position);
}

/* A logit, from -8 to 8. */
TEST_FUNCTION float testLogit(uint64_t state, int32_t token) {
  return (float)(testMix(state, (uint32_t)token) >> 40) * (16.0f / 16777216.0f) - 8.0f;
}
#endif
