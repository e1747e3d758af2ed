/*===- barrier.c - The pool's spinning barrier ------------------------------------------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/src/abi/cpu_program.h"
#include "simd.h"

/* Looks before a waiting thread yields: about 20 us. Phases of one step end closer together than
 * that when every thread has a core. */
#define RK_SPINS 1000

/* sched_yield(2): the program may call nothing outside itself, libc included. */
RK_INLINE void yieldCore(void) {
  long result = 24;
  __asm__ volatile("syscall" : "+a"(result) : : "rcx", "r11", "memory");
}

/* The generation is read before arriving: the last to arrive changes it, so nobody can miss it. */
void RK(rk_barrier)(struct retort_cpu_barrier *barrier, int32_t threads) {
  if (threads == 1)
    return;
  uint32_t generation = __atomic_load_n(&barrier->generation, __ATOMIC_RELAXED);
  uint32_t before = __atomic_fetch_add(&barrier->arrived, 1, __ATOMIC_ACQ_REL);
  if (before + 1 == (uint32_t)threads) {
    __atomic_store_n(&barrier->arrived, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&barrier->generation, generation + 1, __ATOMIC_RELEASE);
    return;
  }
  for (int spins = 0; __atomic_load_n(&barrier->generation, __ATOMIC_ACQUIRE) == generation;) {
    if (++spins < RK_SPINS)
      _mm_pause();
    else
      yieldCore();
  }
}
