/*===- patience.h - Whether a waiting thread looks before it sleeps ---------------------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that waits for another looks for a while before it sleeps in the kernel, since waking it
 * takes longer than most waits. Where the other one needs this very core (cores were taken from the
 * process, or another program has them), looking only keeps it from working: so threads remember
 * whether looking has helped. While it has not, they sleep at once, and look now and then to see
 * whether it helps again. Zeroed is a good beginning; races between threads lose a count at most. */
#ifndef RETORT_ABI_PATIENCE_H
#define RETORT_ABI_PATIENCE_H
#include <stdint.h>

#define RETORT_DOUBT_LIMIT 8    /* from here on threads sleep at once: four looks in vain */
#define RETORT_DOUBT_MOST 10    /* so that three looks that help bring patience back */
#define RETORT_WAITS_A_TRIAL 64 /* of so many waits one looks all the same */

typedef struct retort_patience {
  uint32_t doubt; /* two more for each look in vain, one less for each that helped */
  uint32_t waits; /* waits in doubt */
} retort_patience;

/* Whether a thread that begins to wait should look first. */
static inline int retort_patience_looks(retort_patience *patience) {
  return __atomic_load_n(&patience->doubt, __ATOMIC_RELAXED) < RETORT_DOUBT_LIMIT ||
         __atomic_fetch_add(&patience->waits, 1, __ATOMIC_RELAXED) % RETORT_WAITS_A_TRIAL == 0;
}

/* What came of a look: whether the wait ended while the thread looked. */
static inline void retort_patience_learn(retort_patience *patience, int ended) {
  const uint32_t doubt = __atomic_load_n(&patience->doubt, __ATOMIC_RELAXED);
  const uint32_t more = doubt + 2 < RETORT_DOUBT_MOST ? doubt + 2 : RETORT_DOUBT_MOST;
  const uint32_t after = !ended ? more : doubt ? doubt - 1 : 0;
  if (after != doubt) /* the line that threads look at stays unwritten while all is well */
    __atomic_store_n(&patience->doubt, after, __ATOMIC_RELAXED);
}

#endif
