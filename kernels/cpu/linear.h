/*===- linear.h - What linear kernels do with a finished vector of 16 outputs -----------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RETORT_KERNELS_CPU_LINEAR_H
#define RETORT_KERNELS_CPU_LINEAR_H
#include "simd.h"

/* Activation rows that share one unpacking of a block: what the registers hold. */
#ifdef __AVX512F__
#define RK_MAX_ROWS 8
#define RK_FLOAT_ROWS 8 /* of two blocks */
#else
#define RK_MAX_ROWS 4
#define RK_FLOAT_ROWS 2
#endif

/* How far ahead of its reads a kernel asks for weights, into the L2 cache: the hardware's
 * prefetchers stop at 4 KiB pages, and asking into L1 runs out of its few miss buffers (Zen 4, one
 * row of int4 from memory: 10 GB/s with L1 hints at any distance, 13, 17, 20 with L2 hints at 2, 4,
 * 8 KiB, which is what a plain read gets; tools/bench/kernels_bench). */
#define RK_PREFETCH_BYTES 8192

/* Asks for what lies RK_PREFETCH_BYTES after the `bytes` read at p meanwhile, up to the tile's end.
 */
RK_INLINE void prefetchAhead(const uint8_t *p, int64_t bytes, const uint8_t *end) {
  for (int64_t i = 0; i < bytes; i += 64) {
    const uint8_t *ahead = p + RK_PREFETCH_BYTES + i;
    __builtin_prefetch(ahead < end ? ahead : p, 0, 2);
  }
}

typedef struct Tile { /* the epilogue's constants; see rk_linear_* and rk_glu_linear_* */
  int64_t gated, act;
  int64_t out; /* columns of a row of y and residual */
  int64_t n1;
  const float *bias;
  float softCap;
  const float *residual;
  float *y;
} Tile;

RK_INLINE void storeLinear(Tile t, int64_t r, int64_t n, f32x16 a) {
  int64_t count = t.n1 - n;
  if (t.bias)
    a += loadPart(t.bias + n, count);
  if (t.softCap != 0)
    a = softCap16(a, t.softCap);
  if (t.residual)
    a += loadPart(t.residual + r * t.out + n, count);
  storePart(t.y + r * t.out + n, a, count);
}

/* Stores y [blocks][rows] (gated: [gate, up][rows]) as rows r0.. and columns n... One copy of the
 * code for all rows and blocks: it is long, and little of the time. */
RK_INLINE void storeRows(Tile t, int64_t r0, int64_t rows, int64_t n, int64_t blocks,
                         const f32x16 *y) {
  _Pragma("clang loop unroll(disable)") for (int64_t i = 0; i < blocks * rows; ++i) {
    int64_t r = r0 + i % rows, column = n + i / rows * 16;
    if (t.gated)
      storePart(t.y + r * t.out + column, activate16(y[i], t.act) * y[rows + i], t.n1 - column);
    else
      storeLinear(t, r, column, y[i]);
  }
}

#endif
