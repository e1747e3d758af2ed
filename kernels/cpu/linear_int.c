/*===- linear_int.c - Linear layers over int8, int4 and int3 weights, with int8 activations ---------===*/
/* SPDX-License-Identifier: Apache-2.0 */
/* One block of 16 output rows at a time. Its codes are unpacked to bytes once for up to RK_MAX_ROWS
 * activation rows; the dot product of 4 columns of 16 rows is one vpdpbusd on x86-64-v4, and a pair
 * of vpmaddubsw on v3. Weights are unsigned there (code, not code - 8), so the zero point comes in
 * through the group's sum of activation codes: sum((c - 8) x) = sum(c x) - 8 sum(x), exact in
 * int32. Decoding (one row) is bound by memory: 8 loads, 8 dot products, 3 float operations for 288
 * bytes. */
#include "linear.h"

enum WeightKind { KindI8, KindI4S, KindI4A, KindI3S };

typedef struct QuantRows { /* `rows` quantised rows, all of one layout */
  const uint8_t *base;
  int64_t rowBytes, kp;
} QuantRows;

RK_INLINE float scaleOf(QuantRows x, int64_t r, int64_t g) {
  return ((const f32u *)(x.base + r * x.rowBytes + x.kp))[g];
}
RK_INLINE int32_t minusSumOf(QuantRows x, int64_t r, int64_t groups, int64_t g) {
  return ((const i32u *)(x.base + r * x.rowBytes + x.kp))[groups + g];
}

/* What a group's integer sum starts from, so that it ends as the sum over (code - zero point). */
RK_INLINE i32x16 zeroPoint(enum WeightKind kind, int32_t minusSum) {
  if (kind == KindI4A)
    return (i32x16)(0);
  return (i32x16)(minusSum) << (kind == KindI8 ? 7 : kind == KindI3S ? 2 : 3);
}

/* y += the group's sum, scaled. For I4A sum(w x) = d sum(c x) + m sum(x). */
RK_INLINE f32x16 addGroup(enum WeightKind kind, f32x16 y, i32x16 sum, f32x16 d, f32x16 m,
                          float scale, int32_t minusSum) {
  f32x16 s = __builtin_convertvector(sum, f32x16);
  if (kind == KindI4A)
    return fma16(fma16(s, d, m * -(float)minusSum), splat(scale), y);
  return fma16(s * scale, d, y);
}

RK_INLINE int64_t scaleBytesOf(enum WeightKind kind, int64_t groups) {
  return kind == KindI4A ? 64 * groups : (32 * groups + 63) / 64 * 64;
}
/* Bytes of a column's codes in a block. */
RK_INLINE int64_t columnBytesOf(enum WeightKind kind) {
  return kind == KindI8 ? 16 : kind == KindI3S ? 6 : 8;
}

#ifdef __AVX512VNNI__
/* Adds the dot products of 32 columns from column c on of `rows` rows to sums[row]. */
RK_INLINE void dot32(enum WeightKind kind, const uint8_t *codes, QuantRows x, int64_t c,
                     const int rows, i32x16 *sums) {
  __m512i w[8];
  if (kind == KindI8) {
    RK_UNROLL for (int j = 0; j < 8; ++j) w[j] = _mm512_loadu_si512(codes + 16 * c + 64 * j);
  } else if (kind == KindI3S) {
    const __m512i three = _mm512_set1_epi8(3), four = _mm512_set1_epi8(4);
    const __m512i seven = _mm512_set1_epi8(7);
    __m512i plane[3];
    RK_UNROLL for (int j = 0; j < 3; ++j) plane[j] = _mm512_loadu_si512(codes + 6 * c + 64 * j);
    RK_UNROLL for (int j = 0; j < 3; ++j) {
      w[2 * j] = _mm512_and_si512(plane[j], seven);
      w[2 * j + 1] = _mm512_and_si512(_mm512_srli_epi16(plane[j], 3), seven);
    }
    RK_UNROLL for (int j = 0; j < 2; ++j) w[6 + j] =
        _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(plane[j], 6), three),
                        _mm512_and_si512(_mm512_srli_epi16(plane[2], 4 + j), four));
  } else {
    const __m512i low = _mm512_set1_epi8(15);
    RK_UNROLL for (int j = 0; j < 4; ++j) {
      __m512i both = _mm512_loadu_si512(codes + 8 * c + 64 * j);
      w[2 * j] = _mm512_and_si512(both, low);
      w[2 * j + 1] = _mm512_and_si512(_mm512_srli_epi16(both, 4), low);
    }
  }
  RK_UNROLL for (int r = 0; r < rows; ++r) {
    const i32u *quads = (const i32u *)(x.base + r * x.rowBytes + c);
    __m512i sum = (__m512i)sums[r];
    RK_UNROLL for (int j = 0; j < 8; ++j) sum =
        _mm512_dpbusd_epi32(sum, w[j], _mm512_set1_epi32(quads[j]));
    sums[r] = (i32x16)sum;
  }
}
#else
/* One half block (8 output rows) of dot32 for one activation row, int4 or int3: eight products of at
 * most 2 * 15 * 127 add up to 30480 and stay in int16. */
RK_INLINE __m256i dot32Half4(const __m256i *w, const i32u *quads) {
  __m256i pairs = _mm256_maddubs_epi16(w[0], _mm256_set1_epi32(quads[0]));
  RK_UNROLL for (int j = 1; j < 8; ++j) pairs =
      _mm256_add_epi16(pairs, _mm256_maddubs_epi16(w[j], _mm256_set1_epi32(quads[j])));
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}
/* int8: vpmaddubsw wants one unsigned factor, so |w| * (x with w's sign): 2 * 127 * 127 fits. */
RK_INLINE __m256i dot32Half8(const __m256i *w, const i32u *quads) {
  __m256i sum = _mm256_setzero_si256();
  RK_UNROLL for (int j = 0; j < 8; ++j) {
    __m256i x = _mm256_sign_epi8(_mm256_set1_epi32(quads[j]), w[j]);
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w[j]), x);
    sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  return sum;
}

/* The int3 codes of 32 columns of half a block. */
RK_INLINE void loadHalf3(const uint8_t *p, __m256i *w) {
  const __m256i three = _mm256_set1_epi8(3), four = _mm256_set1_epi8(4);
  const __m256i seven = _mm256_set1_epi8(7);
  __m256i plane[3];
  RK_UNROLL for (int j = 0; j < 3; ++j) plane[j] =
      _mm256_loadu_si256((const __m256i *)(p + 64 * j));
  RK_UNROLL for (int j = 0; j < 3; ++j) {
    w[2 * j] = _mm256_and_si256(plane[j], seven);
    w[2 * j + 1] = _mm256_and_si256(_mm256_srli_epi16(plane[j], 3), seven);
  }
  RK_UNROLL for (int j = 0; j < 2; ++j) w[6 + j] =
      _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(plane[j], 6), three),
                      _mm256_and_si256(_mm256_srli_epi16(plane[2], 4 + j), four));
}

RK_INLINE void dot32(enum WeightKind kind, const uint8_t *codes, QuantRows x, int64_t c,
                     const int rows, i32x16 *sums) {
  const __m256i low = _mm256_set1_epi8(15), flip = _mm256_set1_epi8((char)0x80);
  __m256i halves[2][RK_MAX_ROWS];
  RK_UNROLL for (int half = 0; half < 2; ++half) {
    __m256i w[8];
    if (kind == KindI3S)
      loadHalf3(codes + 6 * c + 32 * half, w);
    else
      RK_UNROLL for (int j = 0; j < 8; ++j) {
        if (kind == KindI8) {
          const uint8_t *p = codes + 16 * c + 64 * j + 32 * half;
          w[j] = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)p), flip);
        } else {
          const uint8_t *p = codes + 8 * c + 64 * (j / 2) + 32 * half;
          __m256i both = _mm256_loadu_si256((const __m256i *)p);
          w[j] = _mm256_and_si256(j % 2 ? _mm256_srli_epi16(both, 4) : both, low);
        }
      }
    RK_UNROLL for (int r = 0; r < rows; ++r) {
      const i32u *quads = (const i32u *)(x.base + r * x.rowBytes + c);
      halves[half][r] = kind == KindI8 ? dot32Half8(w, quads) : dot32Half4(w, quads);
    }
  }
  RK_UNROLL for (int r = 0; r < rows; ++r) {
    typedef int32_t i32x8 __attribute__((ext_vector_type(8)));
    i32x8 a = (i32x8)halves[0][r], b = (i32x8)halves[1][r];
    sums[r] += __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  }
}
/* The v3 product takes the codes' signs itself. */
#define RK_I8_SIGNED 1
#endif
#ifndef RK_I8_SIGNED
#define RK_I8_SIGNED 0
#endif

/* y[r] = the 16 outputs of `block` for row r of `rows` rows from x on. `rows`, `kind`: constants.
 */
RK_INLINE void blockRows(enum WeightKind kind, QuantRows x, const uint8_t *block,
                         const uint8_t *end, int64_t group, const int rows, f32x16 *y) {
  int64_t groups = x.kp / group, columnBytes = columnBytesOf(kind);
  const uint8_t *codes = block + scaleBytesOf(kind, groups);
  RK_UNROLL for (int r = 0; r < rows; ++r) y[r] = splat(0);
  for (int64_t g = 0; g < groups; ++g) {
    f32x16 d = loadHalf16(block + (kind == KindI4A ? 64 : 32) * g), m = d;
    if (kind == KindI4A)
      m = loadHalf16(block + 64 * g + 32);
    prefetchAhead(block + (kind == KindI4A ? 64 : 32) * g, 1, end);
    prefetchAhead(codes + columnBytes * g * group, columnBytes * group, end);
    i32x16 sums[RK_MAX_ROWS];
    RK_UNROLL for (int r = 0; r < rows; ++r) sums[r] =
        kind == KindI8 && RK_I8_SIGNED ? (i32x16)(0) : zeroPoint(kind, minusSumOf(x, r, groups, g));
    for (int64_t c = g * group; c < (g + 1) * group; c += 32)
      dot32(kind, codes, x, c, rows, sums);
    RK_UNROLL for (int r = 0; r < rows; ++r) y[r] =
        addGroup(kind, y[r], sums[r], d, m, scaleOf(x, r, g), minusSumOf(x, r, groups, g));
  }
}

/* The groups' size as a constant lets the loop inside a group unroll. */
RK_INLINE void blockRowsOf(enum WeightKind kind, QuantRows x, const uint8_t *block,
                           const uint8_t *end, int64_t group, const int rows, f32x16 *y) {
  if (kind == KindI3S) /* has no other */
    blockRows(kind, x, block, end, 64, rows, y);
  else if (group == 32)
    blockRows(kind, x, block, end, 32, rows, y);
  else
    blockRows(kind, x, block, end, group, rows, y);
}

RK_INLINE void someRows(enum WeightKind kind, QuantRows x, int64_t r0, const uint8_t *block,
                        const uint8_t *end, int64_t blockBytes, int64_t group, const int rows,
                        Tile tile, int64_t n) {
  f32x16 sums[RK_MAX_ROWS], y[2 * RK_MAX_ROWS];
  x.base += r0 * x.rowBytes;
  for (int part = 0; part < 1 + tile.gated; ++part) {
    blockRowsOf(kind, x, block + part * blockBytes, end, group, rows, sums);
    RK_UNROLL for (int r = 0; r < rows; ++r) y[part * rows + r] = sums[r];
  }
  storeRows(tile, r0, rows, n, 1, y);
}

RK_INLINE void tileOf(enum WeightKind kind, const uint8_t *xq, int64_t rows, const uint8_t *w,
                      int64_t in, int64_t group, int64_t n0, int64_t n1, Tile tile) {
  int64_t kp = (in + group - 1) / group * group;
  int64_t bytes = scaleBytesOf(kind, kp / group) + columnBytesOf(kind) * kp;
  QuantRows x = {xq, rk_quant_row_bytes(in, group), kp};
  int64_t parts = tile.gated ? 2 : 1;
  const uint8_t *end = w + (n1 + 15) / 16 * parts * bytes;
  for (int64_t n = n0; n < n1; n += 16) {
    const uint8_t *block = w + n / 16 * parts * bytes;
    int64_t r = 0;
    for (; r + RK_MAX_ROWS <= rows; r += RK_MAX_ROWS)
      someRows(kind, x, r, block, end, bytes, group, RK_MAX_ROWS, tile, n);
    for (; r + 4 <= rows && RK_MAX_ROWS > 4; r += 4)
      someRows(kind, x, r, block, end, bytes, group, 4, tile, n);
    for (; r < rows; ++r)
      someRows(kind, x, r, block, end, bytes, group, 1, tile, n);
  }
}

#define RK_INT_KERNELS(name, kind)                                                                 \
  void RK(rk_linear_##name)(const uint8_t *xq, int64_t rows, const uint8_t *w, int64_t in,         \
                            int64_t group, int64_t out, int64_t n0, int64_t n1, const float *bias, \
                            float softCap, const float *residual, float *y) {                      \
    Tile tile = {0, 0, out, n1, bias, softCap, residual, y};                                       \
    tileOf(kind, xq, rows, w, in, group, n0, n1, tile);                                            \
  }                                                                                                \
  void RK(rk_glu_linear_##name)(const uint8_t *xq, int64_t rows, const uint8_t *w, int64_t in,     \
                                int64_t group, int64_t ffn, int64_t n0, int64_t n1, int64_t act,   \
                                float *y) {                                                        \
    Tile tile = {1, act, ffn, n1, 0, 0, 0, y};                                                     \
    tileOf(kind, xq, rows, w, in, group, n0, n1, tile);                                            \
  }

RK_INT_KERNELS(i8, KindI8)
RK_INT_KERNELS(i4s, KindI4S)
RK_INT_KERNELS(i4a, KindI4A)
RK_INT_KERNELS(i3s, KindI3S)
