/*===- sampling.h - How a token is drawn from logits, for the host and for GPUs ---------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
/* The definition of sampling. The host's sampler (engine/Sampler.cpp) and the kernel of GPUs
 * (kernels/cuda/sample.cuh) are both made of the functions below, all in integers but for one
 * subtraction and one multiplication that nobody may fuse, so they draw the same token from the
 * same logits and the same random number, whatever the order in which either goes over them.
 *
 *   1. NaN and -infinity are no candidates. Candidates rank by logit, the larger first; -0 equals
 *      0, and of equal logits the lower token comes first. If there are none, no token is drawn.
 *   2. At temperature 0, or if the largest logit is +infinity, the token is the first.
 *   3. A candidate's mass is 2^38 exp((logit - largest) / temperature), rounded as mass() does: a
 *      relative error of 1e-7, 0 below 2^-38. Sums of masses are exact.
 *   4. min_p keeps the candidates whose mass is at least min_p of the first one's, 2^38
 *      (arXiv:2407.01082). top_k keeps the first top_k candidates.
 *   5. top_p keeps the fewest first candidates whose masses sum to top_p of the sum of those kept
 *      so far at least (nucleus sampling, arXiv:1904.09751).
 *   6. The token is the first whose mass, summed with those of all before it, is larger than
 *      random / 2^64 of the sum of those kept.
 *
 * The order of cuts, min_p and top_k and then top_p at the temperature asked for, is vLLM's and that of
 * FlashInfer's `top_k_first`; llama.cpp applies the temperature last. */
#ifndef RETORT_ABI_SAMPLING_H
#define RETORT_ABI_SAMPLING_H
#include <stdint.h>

/* How one row's token is drawn. */
typedef struct retort_choice {
  uint64_t random; /* uniform over all 64-bit numbers */
  float scale;     /* log2(e) / temperature, finite; 0: the first candidate */
  uint32_t top_k;  /* 0: no cut */
  uint32_t top_p;  /* in units of 2^-32; 0: no cut */
  uint32_t min_p;  /* in units of 2^-32; 0: no cut */
} retort_choice;

#ifdef __cplusplus
#ifndef RETORT_HOST_DEVICE
#if defined(__CUDACC__)
#define RETORT_HOST_DEVICE __host__ __device__
#else
#define RETORT_HOST_DEVICE
#endif
#endif
namespace retort::sampling {

constexpr uint32_t kInfinityKey = 0xff800000u; // of +infinity

/// The rank of a logit's float32 bits as an unsigned number, larger for larger logits; 0 for no
/// candidate, and for nothing else.
RETORT_HOST_DEVICE constexpr uint32_t keyOf(uint32_t bits) {
  if ((bits & 0x7fffffffu) > 0x7f800000u || bits == 0xff800000u)
    return 0;
  if (bits == 0x80000000u)
    bits = 0;
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
/// The bits that have this key.
RETORT_HOST_DEVICE constexpr uint32_t bitsOf(uint32_t key) {
  return key >> 31 ? key & 0x7fffffffu : ~key;
}

/// How far a logit is below the largest: log2 of the ratio of their masses, in units of 2^-26, at
/// most 0xffffffff. Both are finite; it grows with the order.
RETORT_HOST_DEVICE constexpr uint32_t distance(float largest, float logit, float scale) {
  const float octaves = (largest - logit) * scale;
  return octaves < 64.0f ? uint32_t(octaves * 67108864.0f) : 0xffffffffu;
}
/// 2^38 2^-(distance / 2^26): 2^-f by a polynomial that is exact at both ends of an octave, with
/// 1e-7 of relative error between them.
RETORT_HOST_DEVICE constexpr uint64_t mass(uint32_t distance) {
  const uint32_t f = distance << 6; // of the octave, in units of 2^-32
  uint32_t y = 4035806;             // coefficients too
  y = 39487045 - uint32_t(uint64_t(y) * f >> 32);
  y = 237459814 - uint32_t(uint64_t(y) * f >> 32);
  y = 1031553340 - uint32_t(uint64_t(y) * f >> 32);
  y = 2977028413u - uint32_t(uint64_t(y) * f >> 32);
  y = 0x80000000u - (uint32_t(uint64_t(y) * f >> 32) >> 1);
  return uint64_t(y) << 7 >> (distance >> 26);
}
/// Most candidates whose masses are sure to sum to less than 2^64.
constexpr uint32_t kMaxTokens = 1u << 25;

/// ceil(total top_p / 2^32), at least 1 if total is: the mass that top_p's tokens must reach.
RETORT_HOST_DEVICE constexpr uint64_t nucleus(uint64_t total, uint32_t topP) {
  return (total >> 32) * topP + (((total & 0xffffffffu) * topP + 0xffffffffu) >> 32);
}
/// The least mass of a candidate.
RETORT_HOST_DEVICE constexpr uint64_t leastMass(uint32_t minP) { return uint64_t(minP) << 6; }
/// floor(total random / 2^64): the token is the first whose running sum is larger.
RETORT_HOST_DEVICE constexpr uint64_t drawn(uint64_t total, uint64_t random) {
  const uint64_t low = (total & 0xffffffffu) * (random & 0xffffffffu) >> 32;
  const uint64_t middle = (total >> 32) * (random & 0xffffffffu) + low;
  const uint64_t other = (total & 0xffffffffu) * (random >> 32) + (middle & 0xffffffffu);
  return (total >> 32) * (random >> 32) + (middle >> 32) + (other >> 32);
}

} // namespace retort::sampling
#endif
#endif
