/*===- linear_float.c - Linear layers over float32, float16 and bfloat16 weights --------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
/* One FMA chain an output, k ascending, for every number of rows: so a row's bits do not depend on
 * its batch. A single row takes two blocks at a time, to have chains enough to hide the FMA's
 * latency. */
#include "linear.h"

enum FloatKind { KindF32, KindF16, KindBf16 };

/* Columns k (`odd` 0) or k + 1 of 16 rows at p, the place of an even column k. */
RK_INLINE f32x16 columnAt(enum FloatKind kind, const uint8_t *p, int odd) {
  if (kind == KindF16)
    return loadHalf16(p + 32 * odd);
  u32x16 pair = (u32x16)load16((const float *)p);
  return (f32x16)(odd ? pair & 0xffff0000u : pair << 16);
}

/* y[b*rows + r] = outputs of block b for row r; `blocks`, `rows`, `kind` are constants.
 * `end`: of the tile's weights. */
RK_INLINE void blockRows(enum FloatKind kind, const float *x, int64_t ldx, const uint8_t *w,
                         const uint8_t *end, int64_t blockBytes, int64_t in, const int blocks,
                         const int rows, f32x16 *y) {
  RK_UNROLL for (int i = 0; i < blocks * rows; ++i) y[i] = splat(0);
  const int half = kind != KindF32;
  int64_t step = half ? 2 : 1, k = 0;
  for (; k + step <= in; k += step)
    RK_UNROLL for (int b = 0; b < blocks; ++b) {
      const uint8_t *p = w + b * blockBytes + (half ? 32 : 64) * k;
      prefetchAhead(p, 64, end);
      if (!half) {
        f32x16 v = load16((const float *)p);
        RK_UNROLL for (int r = 0; r < rows; ++r) y[b * rows + r] =
            fma16(v, splat(x[r * ldx + k]), y[b * rows + r]);
      } else {
        f32x16 even = columnAt(kind, p, 0), odd = columnAt(kind, p, 1);
        RK_UNROLL for (int r = 0; r < rows; ++r) {
          y[b * rows + r] = fma16(even, splat(x[r * ldx + k]), y[b * rows + r]);
          y[b * rows + r] = fma16(odd, splat(x[r * ldx + k + 1]), y[b * rows + r]);
        }
      }
    }
  if (k < in) /* 16 bits, odd `in`: the last pair's second column is padding */
    RK_UNROLL for (int b = 0; b < blocks; ++b) {
      f32x16 even = columnAt(kind, w + b * blockBytes + 32 * k, 0);
      RK_UNROLL for (int r = 0; r < rows; ++r) y[b * rows + r] =
          fma16(even, splat(x[r * ldx + k]), y[b * rows + r]);
    }
}

/* Rows r0.. of the outputs of `blocks` blocks from n on (gated: of one pair of blocks). */
RK_INLINE void someRows(enum FloatKind kind, const float *x, int64_t ldx, int64_t r0,
                        const uint8_t *w, const uint8_t *end, int64_t blockBytes, int64_t in,
                        const int blocks, const int rows, Tile tile, int64_t n) {
  f32x16 sums[2 * RK_FLOAT_ROWS], y[2 * RK_FLOAT_ROWS];
  blockRows(kind, x + r0 * ldx, ldx, w, end, blockBytes, in, blocks, rows, sums);
  RK_UNROLL for (int i = 0; i < blocks * rows; ++i) y[i] = sums[i];
  storeRows(tile, r0, rows, n, tile.gated ? 1 : blocks, y);
}

/* All rows for `blocks` blocks from output n on. */
RK_INLINE void allRows(enum FloatKind kind, const float *x, int64_t ldx, int64_t rows,
                       const uint8_t *w, const uint8_t *end, int64_t blockBytes, int64_t in,
                       const int blocks, Tile tile, int64_t n) {
  int64_t r = 0;
  for (; r + RK_FLOAT_ROWS <= rows; r += RK_FLOAT_ROWS)
    someRows(kind, x, ldx, r, w, end, blockBytes, in, blocks, RK_FLOAT_ROWS, tile, n);
  for (; r < rows; ++r)
    someRows(kind, x, ldx, r, w, end, blockBytes, in, blocks, 1, tile, n);
}

RK_INLINE void tileOf(enum FloatKind kind, const float *x, int64_t ldx, int64_t rows,
                      const uint8_t *w, int64_t in, int64_t n0, int64_t n1, Tile tile) {
  int64_t bytes = kind != KindF32 ? 32 * ((in + 1) / 2 * 2) : 64 * in, n = n0;
  const uint8_t *end = w + (n1 + 15) / 16 * (tile.gated ? 2 : 1) * bytes;
  w += n0 / 16 * (tile.gated ? 2 : 1) * bytes;
  int64_t columns = tile.gated ? 16 : 32; /* of a pair of blocks */
  for (; n + columns - 16 < n1; n += columns, w += 2 * bytes)
    allRows(kind, x, ldx, rows, w, end, bytes, in, 2, tile, n);
  if (n < n1)
    allRows(kind, x, ldx, rows, w, end, bytes, in, 1, tile, n);
}

#define RK_FLOAT_KERNELS(name, kind)                                                               \
  void RK(rk_linear_##name)(const float *x, int64_t ldx, int64_t rows, const uint8_t *w,           \
                            int64_t in, int64_t out, int64_t n0, int64_t n1, const float *bias,    \
                            float softCap, const float *residual, float *y) {                      \
    Tile tile = {0, 0, out, n1, bias, softCap, residual, y};                                       \
    tileOf(kind, x, ldx, rows, w, in, n0, n1, tile);                                               \
  }                                                                                                \
  void RK(rk_glu_linear_##name)(const float *x, int64_t ldx, int64_t rows, const uint8_t *w,       \
                                int64_t in, int64_t ffn, int64_t n0, int64_t n1, int64_t act,      \
                                float *y) {                                                        \
    Tile tile = {1, act, ffn, n1, 0, 0, 0, y};                                                     \
    tileOf(kind, x, ldx, rows, w, in, n0, n1, tile);                                               \
  }

RK_FLOAT_KERNELS(f32, KindF32)
RK_FLOAT_KERNELS(f16, KindF16)
RK_FLOAT_KERNELS(bf16, KindBf16)
