/*===- rope.c - Rotary embedding: the step's angles, and the rotation -------------------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
#include "simd.h"

/* sin and cos of x, |x| <= 1e5, in double: reduction by a two-part pi/2 leaves an error of 1e-16,
 * and Taylor polynomials on [-pi/4, pi/4] one of 1e-15, so the rounded f32 is right nearly always.
 */
RK_INLINE void sincos8(f64x8 x, f64x8 *sine, f64x8 *cosine) {
  f64x8 n = __builtin_elementwise_roundeven(x * 0.63661977236758134308);
  f64x8 r = __builtin_elementwise_fma(-n, (f64x8)(1.57079632679489661923), x);
  r = __builtin_elementwise_fma(-n, (f64x8)(6.12323399573676603587e-17), r);
  f64x8 s = r * r;
  f64x8 p = (f64x8)(1.0 / 6227020800.0), q = (f64x8)(-1.0 / 87178291200.0);
  p = __builtin_elementwise_fma(p, s, (f64x8)(-1.0 / 39916800.0));
  p = __builtin_elementwise_fma(p, s, (f64x8)(1.0 / 362880.0));
  p = __builtin_elementwise_fma(p, s, (f64x8)(-1.0 / 5040.0));
  p = __builtin_elementwise_fma(p, s, (f64x8)(1.0 / 120.0));
  p = __builtin_elementwise_fma(p, s, (f64x8)(-1.0 / 6.0));
  p = __builtin_elementwise_fma(p * s, r, r);
  q = __builtin_elementwise_fma(q, s, (f64x8)(1.0 / 479001600.0));
  q = __builtin_elementwise_fma(q, s, (f64x8)(-1.0 / 3628800.0));
  q = __builtin_elementwise_fma(q, s, (f64x8)(1.0 / 40320.0));
  q = __builtin_elementwise_fma(q, s, (f64x8)(-1.0 / 720.0));
  q = __builtin_elementwise_fma(q, s, (f64x8)(1.0 / 24.0));
  q = __builtin_elementwise_fma(q, s, (f64x8)(-0.5));
  q = __builtin_elementwise_fma(q, s, (f64x8)(1.0));
  for (int i = 0; i < 8; ++i) { /* quadrant */
    int64_t quadrant = (int64_t)n[i] & 3;
    double a = quadrant & 1 ? q[i] : p[i], b = quadrant & 1 ? p[i] : q[i];
    (*sine)[i] = quadrant & 2 ? -a : a;
    (*cosine)[i] = quadrant == 1 || quadrant == 2 ? -b : b;
  }
}

void RK(rk_rope_table)(const int32_t *positions, int64_t rows, const float *invFreq, int64_t half,
                       float factor, const float *steps, int64_t every, float *table) {
  for (int64_t r = 0; r < rows; ++r) {
    float position = (float)positions[r], *row = table + r * 2 * half;
    float scale = steps ? factor * steps[positions[r] / every] : factor;
    for (int64_t i = 0; i < half; i += 8) {
      int64_t count = half - i < 8 ? half - i : 8;
      f64x8 x = (f64x8)(0.0), sine, cosine;
      for (int64_t j = 0; j < count; ++j)
        x[j] = (double)(position * invFreq[i + j]);
      sincos8(x, &sine, &cosine);
      for (int64_t j = 0; j < count; ++j) {
        row[i + j] = (float)cosine[j] * scale;
        row[half + i + j] = (float)sine[j] * scale;
      }
    }
  }
}

void RK(rk_rope)(float *x, int64_t heads, int64_t headDim, int64_t dims, const float *tableRow) {
  int64_t half = dims / 2;
  for (int64_t h = 0; h < heads; ++h) {
    float *a = x + h * headDim, *b = a + half;
    for (int64_t i = 0; i < half; i += 16) {
      int64_t count = half - i;
      f32x16 cosine = loadPart(tableRow + i, count), sine = loadPart(tableRow + half + i, count);
      f32x16 va = loadPart(a + i, count), vb = loadPart(b + i, count);
      storePart(a + i, va * cosine - vb * sine, count);
      storePart(b + i, vb * cosine + va * sine, count);
    }
  }
}
