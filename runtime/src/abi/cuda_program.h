/*===- cuda_program.h - What the runtime and an emitted CUDA program share -------------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
/* program.fatbin holds, for each entry of target "cuda" in the manifest, the kernels that it names.
 * Every kernel has one parameter: a device pointer to the step. The runtime keeps the step at one
 * address for the session's life, so a graph that was captured once stays valid. It writes the step
 * and its int32 inputs in one copy before the launch. The program allocates nothing and keeps no
 * state but what is here.
 *
 * All pointers are device pointers of the device that reads them. Pointers to weights, activations
 * and cache are aligned to 256. */
#ifndef RETORT_ABI_CUDA_PROGRAM_H
#define RETORT_ABI_CUDA_PROGRAM_H
#include "runtime/src/abi/sampling.h"
#include <stdint.h>

#define RETORT_CUDA_ABI_VERSION 2 /* entry.abi; 1 had steps numbered to 2^20 - 1 */
#define RETORT_CUDA_MAX_DEVICES 2
#define RETORT_CUDA_GENERATIONS 255

/* Where a device of the step receives what others send it (kernel.exchange): memory at the same
 * offsets as its activations and its sync words. With peer access these are the device's own
 * activations and sync, seen from here; without it, pinned host memory that all devices see. So a
 * device sends to peers[other] and reads what it was sent at peers[device], never at activations.
 */
typedef struct retort_cuda_peer {
  uint8_t *activations;
  uint32_t *sync;
} retort_cuda_peer;

typedef struct retort_cuda_step {
  const uint8_t *weights;    /* this device's part: weights.cuda.bin, weights.cuda0.bin, ... */
  uint8_t *activations;      /* entry.activations bytes; contents are undefined between steps */
  uint8_t *cache;            /* the KV pool: num_pages * entry.page_bytes bytes; zero when made */
  const int32_t *tokens;     /* [num_rows] */
  const int32_t *slots;      /* [num_rows] sequence slot of each row */
  const int32_t *positions;  /* [num_rows] position of each row in its slot; a slot's rows ascend */
  const int32_t *page_table; /* [num_slots][pages_per_slot] page numbers in `cache` */
  const int32_t *wanted; /* [num_wanted] indices of the rows whose logits are wanted, ascending */
  float *logits;         /* [num_wanted][entry.logits.count]; entries with "argmax": or null. In a
                            step that draws, device 1's is memory that device 0 reads */
  uint32_t *sync;        /* entry.sync_words of this entry alone, zeroed when the session is made
                            and when generations start again; the kernels leave them fit for the
                            next step */
  retort_cuda_peer peers[RETORT_CUDA_MAX_DEVICES]; /* [num_devices]; null if there is one device */
  int32_t num_rows;                                /* 1 .. entry.max_rows */
  int32_t num_wanted;                              /* 0 .. num_rows */
  int32_t pages_per_slot;
  int32_t num_devices;
  int32_t device;     /* 0 .. num_devices - 1 */
  int32_t generation; /* 1 .. RETORT_CUDA_GENERATIONS: the number of the session's step, the same
                         on all devices. After the last comes 1 again, with `sync` zeroed before */
  int32_t num_choose; /* the logits that `chosen` chooses from are the first so many of this
                         device */
  uint64_t *chosen; /* [num_wanted] of entries with "argmax"; or null. A logit and its index as one
                        key: the logit's key (sampling.h) above 0xffffffff minus the index: larger
                        for the larger logit, and for the lower index of two that are equal; 0 if
                        there is none. Where the runtime left 0 the step puts the largest key. */
  /* Of an entry's "sample" kernel, which device 0 launches after the step, and all devices', when
   * tokens are to be drawn. It puts the key of the token drawn in the place of the largest one. */
  const retort_choice *choices; /* [num_wanted] */
  const float *other_logits;    /* [num_wanted][...] device 1's; null if there is one device */
  int32_t num_sample;           /* tokens to draw from: the first so many of all devices' logits */
} retort_cuda_step;

#endif
