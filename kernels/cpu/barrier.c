/*===- barrier.c - The pool's barrier ---------------------------------------------------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
#include "runtime/src/abi/cpu_program.h"
#include "simd.h"

/* Looks before a waiting thread sleeps: about 20 us. Phases of one step end closer together than
 * that when every thread has a core. */
#define RK_SPINS 1000

/* futex(2): the program may call nothing outside itself, libc included. */
#define RK_FUTEX 202
#define RK_WAIT_PRIVATE 128
#define RK_WAKE_PRIVATE 129
RK_INLINE void futex(uint32_t *word, long operation, long value) {
  long result = RK_FUTEX;
  register const void *timeout __asm__("r10") = 0;
  __asm__ volatile("syscall"
                   : "+a"(result)
                   : "D"(word), "S"(operation), "d"(value), "r"(timeout)
                   : "rcx", "r11", "memory");
}

/* The generation is read before arriving: the last to arrive changes it, so nobody can miss it. A
 * thread that is about to sleep says so and looks once more (the kernel does); the last to arrive
 * changes the generation and then looks whether anybody said so. Both orders are sequentially
 * consistent, so one of the two sees the other. */
void RK(rk_barrier)(struct retort_cpu_barrier *barrier, int32_t threads) {
  if (threads == 1)
    return;
  uint32_t generation = __atomic_load_n(&barrier->generation, __ATOMIC_RELAXED);
  uint32_t before = __atomic_fetch_add(&barrier->arrived, 1, __ATOMIC_ACQ_REL);
  if (before + 1 == (uint32_t)threads) {
    __atomic_store_n(&barrier->arrived, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&barrier->generation, generation + 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&barrier->sleeping, __ATOMIC_SEQ_CST))
      futex(&barrier->generation, RK_WAKE_PRIVATE, threads);
    return;
  }
  if (retort_patience_looks(&barrier->patience)) {
    for (int spins = 0; spins < RK_SPINS; ++spins) {
      if (__atomic_load_n(&barrier->generation, __ATOMIC_ACQUIRE) != generation) {
        retort_patience_learn(&barrier->patience, 1);
        return;
      }
      _mm_pause();
    }
    retort_patience_learn(&barrier->patience, 0);
  }
  __atomic_fetch_add(&barrier->sleeping, 1, __ATOMIC_SEQ_CST);
  while (__atomic_load_n(&barrier->generation, __ATOMIC_ACQUIRE) == generation)
    futex(&barrier->generation, RK_WAIT_PRIVATE, generation);
  __atomic_fetch_sub(&barrier->sleeping, 1, __ATOMIC_RELAXED);
}
