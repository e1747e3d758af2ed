/*===- cpu_program.h - What the runtime and an emitted CPU program share ---------------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
/* program.so exports, for each instruction set it was compiled for, one function of the type
 * retort_cpu_entry, named in the manifest ("entries": symbol, isa). Every thread of the pool calls
 * it with the same step and its own number; it returns when the whole step is done by all threads.
 * The program allocates nothing, calls nothing outside itself and keeps no state: all memory is
 * here. */
#ifndef RETORT_ABI_CPU_PROGRAM_H
#define RETORT_ABI_CPU_PROGRAM_H
#include "runtime/src/abi/patience.h"
#include <stdint.h>

#define RETORT_CPU_ABI_VERSION 1 /* entry.abi */
#define RETORT_ALIGN64 __attribute__((aligned(64)))

/* The threads' barrier: generation-counting; a thread spins for a while, where that helps, and then
 * sleeps. Zeroed once by the runtime when it makes the pool. Padded so that what arriving threads write shares no cache
 * line with what waiting ones read. */
typedef struct retort_cpu_barrier {
  RETORT_ALIGN64 uint32_t arrived;
  RETORT_ALIGN64 uint32_t generation;
  uint32_t sleeping; /* threads that wait in the kernel */
  retort_patience patience;
} retort_cpu_barrier;

typedef struct retort_cpu_step {
  const uint8_t *weights; /* weights.bin, mapped; 64-byte aligned */
  uint8_t *activations; /* manifest.buffers.activations bytes, 64-byte aligned, shared by threads */
  uint8_t *scratch; /* num_threads * manifest.buffers.scratch_per_thread bytes, 64-byte aligned */
  uint8_t *cache;   /* the KV pool: num_pages * manifest.cache.page_bytes bytes, 64-byte aligned */
  const int32_t *tokens;     /* [num_rows] */
  const int32_t *slots;      /* [num_rows] sequence slot of each row */
  const int32_t *positions;  /* [num_rows] position of each row in its slot; a slot's rows ascend */
  const int32_t *page_table; /* [num_slots][pages_per_slot] page numbers in `cache` */
  const int32_t *wanted; /* [num_wanted] indices of the rows whose logits are wanted, ascending */
  float *logits;         /* [num_wanted][vocab] */
  retort_cpu_barrier *barrier;
  int32_t num_rows;    /* 1 .. manifest.model.max_rows */
  int32_t num_wanted;  /* 0 .. num_rows */
  int32_t num_threads; /* >= 1 */
  int32_t pages_per_slot;
} retort_cpu_step;

typedef void (*retort_cpu_entry)(const retort_cpu_step *step, int32_t thread);

#endif
