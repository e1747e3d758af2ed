/*===- linear_f8.c - Linear layers over fp8 weights with group scales, float32 activations ----===*/
/* SPDX-License-Identifier: Apache-2.0 */
/* Codes become f32 by way of f16, whose fields they are (simd.h), 16 rows at a time. A group's even
 * and odd columns are two FMA chains, k ascending, whose sum is scaled and added, the same for
 * every number of rows: so a row's bits do not depend on its batch. */
#include "linear.h"

/* Activation rows that share a conversion: three sums for each row of two blocks. */
#ifdef __AVX512F__
#define RK_F8_ROWS 4
#else
#define RK_F8_ROWS 1
#endif

RK_INLINE int64_t scaleBytesOf(int64_t groups) { return (32 * groups + 63) / 64 * 64; }

/* A group's sums over even and over odd columns, of each block and row. */
typedef struct GroupSums {
  f32x16 even[2 * RK_F8_ROWS], odd[2 * RK_F8_ROWS];
} GroupSums;

/* Adds columns k and k + 1, whose codes in block b are at codes + b * blockBytes. */
RK_INLINE void addPair(GroupSums *sums, const float *x, int64_t ldx, const uint8_t *codes,
                       int64_t blockBytes, const int blocks, const int rows) {
  RK_UNROLL for (int b = 0; b < blocks; ++b) {
    f32x16 first, second;
    loadSmallE4m3Pair(codes + b * blockBytes, &first, &second);
    RK_UNROLL for (int r = 0; r < rows; ++r) {
      sums->even[b * rows + r] = fma16(first, splat(x[r * ldx]), sums->even[b * rows + r]);
      sums->odd[b * rows + r] = fma16(second, splat(x[r * ldx + 1]), sums->odd[b * rows + r]);
    }
  }
}

/* y[b*rows + r] = outputs of block b for row r; `blocks`, `rows` are constants. `end`: of the
 * tile's weights. */
RK_INLINE void blockRows(const float *x, int64_t ldx, const uint8_t *w, const uint8_t *end,
                         int64_t blockBytes, int64_t in, int64_t group, const int blocks,
                         const int rows, f32x16 *y) {
  int64_t scales = scaleBytesOf((in + group - 1) / group);
  RK_UNROLL for (int i = 0; i < blocks * rows; ++i) y[i] = splat(0);
  for (int64_t g = 0; g * group < in; ++g) {
    GroupSums sums;
    RK_UNROLL for (int i = 0; i < blocks * rows; ++i) sums.even[i] = sums.odd[i] = splat(0);
    int64_t k = g * group, last = k + group < in ? k + group : in;
    for (; k + 4 <= last; k += 4) { /* a line of each block */
      const uint8_t *codes = w + scales + 16 * k;
      RK_UNROLL for (int b = 0; b < blocks; ++b) prefetchAhead(codes + b * blockBytes, 64, end);
      addPair(&sums, x + k, ldx, codes, blockBytes, blocks, rows);
      addPair(&sums, x + k + 2, ldx, codes + 32, blockBytes, blocks, rows);
    }
    for (; k + 2 <= last; k += 2)
      addPair(&sums, x + k, ldx, w + scales + 16 * k, blockBytes, blocks, rows);
    if (k < last)
      RK_UNROLL for (int b = 0; b < blocks; ++b) {
        f32x16 first = loadSmallE4m3(w + b * blockBytes + scales + 16 * k);
        RK_UNROLL for (int r = 0; r < rows; ++r) sums.even[b * rows + r] =
            fma16(first, splat(x[r * ldx + k]), sums.even[b * rows + r]);
      }
    RK_UNROLL for (int b = 0; b < blocks; ++b) {
      f32x16 d = loadHalf16(w + b * blockBytes + 32 * g);
      RK_UNROLL for (int r = 0; r < rows; ++r) y[b * rows + r] =
          fma16(sums.even[b * rows + r] + sums.odd[b * rows + r], d, y[b * rows + r]);
    }
  }
}

/* All rows for `blocks` blocks from output n on (gated: one pair of blocks). */
RK_INLINE void allRows(const float *x, int64_t ldx, int64_t rows, const uint8_t *w,
                       const uint8_t *end, int64_t blockBytes, int64_t in, int64_t group,
                       const int blocks, Tile tile, int64_t n) {
  f32x16 y[2 * RK_F8_ROWS];
  int64_t r = 0;
  for (; r + RK_F8_ROWS <= rows; r += RK_F8_ROWS) {
    blockRows(x + r * ldx, ldx, w, end, blockBytes, in, group, blocks, RK_F8_ROWS, y);
    storeRows(tile, r, RK_F8_ROWS, n, tile.gated ? 1 : blocks, y);
  }
  for (; r < rows; ++r) {
    blockRows(x + r * ldx, ldx, w, end, blockBytes, in, group, blocks, 1, y);
    storeRows(tile, r, 1, n, tile.gated ? 1 : blocks, y);
  }
}

RK_INLINE void tileOf(const float *x, int64_t ldx, int64_t rows, const uint8_t *w, int64_t in,
                      int64_t group, int64_t n0, int64_t n1, Tile tile) {
  int64_t groups = (in + group - 1) / group, bytes = scaleBytesOf(groups) + 16 * groups * group;
  int64_t parts = tile.gated ? 2 : 1, n = n0;
  const uint8_t *end = w + (n1 + 15) / 16 * parts * bytes;
  w += n0 / 16 * parts * bytes;
  int64_t columns = tile.gated ? 16 : 32; /* of a pair of blocks */
  for (; n + columns - 16 < n1; n += columns, w += 2 * bytes)
    allRows(x, ldx, rows, w, end, bytes, in, group, 2, tile, n);
  if (n < n1)
    allRows(x, ldx, rows, w, end, bytes, in, group, 1, tile, n);
}

void RK(rk_linear_f8)(const float *x, int64_t ldx, int64_t rows, const uint8_t *w, int64_t in,
                      int64_t group, int64_t out, int64_t n0, int64_t n1, const float *bias,
                      float softCap, const float *residual, float *y) {
  Tile tile = {0, 0, out, n1, bias, softCap, residual, y};
  tileOf(x, ldx, rows, w, in, group, n0, n1, tile);
}
void RK(rk_glu_linear_f8)(const float *x, int64_t ldx, int64_t rows, const uint8_t *w, int64_t in,
                          int64_t group, int64_t ffn, int64_t n0, int64_t n1, int64_t act,
                          float *y) {
  Tile tile = {1, act, ffn, n1, 0, 0, 0, y};
  tileOf(x, ldx, rows, w, in, group, n0, n1, tile);
}
