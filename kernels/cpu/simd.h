/*===- simd.h - 16-lane vectors and the functions on them that kernels share ------------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
/* clang's vector extensions: on x86-64-v4 a 16-lane float vector is a zmm register, on x86-64-v3
 * clang makes two ymm of it. Only the integer dot products (linear_int.c) differ by hand.
 * No libm: the functions here are within 2 ulp of the exact value (tests measure it). */
#ifndef RETORT_KERNELS_CPU_SIMD_H
#define RETORT_KERNELS_CPU_SIMD_H
#include "kernels.h"
#include <immintrin.h>

typedef float f32x16 __attribute__((ext_vector_type(16)));
typedef double f64x8 __attribute__((ext_vector_type(8)));
typedef int32_t i32x16 __attribute__((ext_vector_type(16)));
typedef uint32_t u32x16 __attribute__((ext_vector_type(16)));
typedef int8_t i8x16 __attribute__((ext_vector_type(16)));
typedef uint16_t u16x16 __attribute__((ext_vector_type(16)));
typedef int16_t i16x16 __attribute__((ext_vector_type(16)));
typedef uint16_t u16x32 __attribute__((ext_vector_type(32)));
typedef int16_t i16x32 __attribute__((ext_vector_type(32)));
typedef uint8_t u8x32u __attribute__((ext_vector_type(32), aligned(1), may_alias));
typedef _Float16 f16x16 __attribute__((ext_vector_type(16)));
typedef _Float16 f16x16u __attribute__((ext_vector_type(16), aligned(2), may_alias));
typedef float f32x16u __attribute__((ext_vector_type(16), aligned(4), may_alias));
typedef u16x16 u16x16u __attribute__((aligned(2), may_alias));
typedef uint8_t u8x16u __attribute__((ext_vector_type(16), aligned(1), may_alias));
typedef i8x16 i8x16u __attribute__((aligned(1), may_alias));
typedef float f32u __attribute__((aligned(4), may_alias));
typedef int32_t i32u __attribute__((aligned(4), may_alias));
typedef uint32_t u32u __attribute__((aligned(4), may_alias));

#define RK_INLINE static inline __attribute__((always_inline))
#define RK_UNROLL _Pragma("clang loop unroll(full)")
#define RK_SHORT _Pragma("clang loop vectorize(disable) unroll(disable)")

RK_INLINE f32x16 splat(float value) { return (f32x16)(value); }
RK_INLINE f32x16 load16(const float *p) { return *(const f32x16u *)p; }
RK_INLINE void store16(float *p, f32x16 v) { *(f32x16u *)p = v; }
RK_INLINE f32x16 fma16(f32x16 a, f32x16 b, f32x16 c) { return __builtin_elementwise_fma(a, b, c); }
RK_INLINE f32x16 select16(i32x16 mask, f32x16 yes, f32x16 no) {
  return (f32x16)((mask & (i32x16)yes) | (~mask & (i32x16)no));
}

/* The first `count` (0..16) elements at p; the other lanes are 0. */
RK_INLINE f32x16 loadPart(const float *p, int64_t count) {
  if (count >= 16)
    return load16(p);
  float lanes[16] = {0};
  RK_SHORT for (int64_t i = 0; i < count; ++i) lanes[i] = p[i];
  return load16(lanes);
}
RK_INLINE void storePart(float *p, f32x16 v, int64_t count) {
  if (count >= 16) {
    store16(p, v);
    return;
  }
  float lanes[16];
  store16(lanes, v);
  RK_SHORT for (int64_t i = 0; i < count; ++i) p[i] = lanes[i];
}

RK_INLINE f32x16 loadHalf16(const uint8_t *p) {
  return __builtin_convertvector(*(const f16x16u *)p, f32x16);
}

RK_INLINE f32x16 loadBf16(const uint8_t *p) {
  return (f32x16)(__builtin_convertvector(*(const u16x16u *)p, u32x16) << 16);
}
/* fp8 e4m3 numbers / 256, exact: sign, exponent and mantissa go to their places in a half, whose
 * exponent's bias is 8 more. The shift doubles the sign, whose copy then goes. A NaN becomes
 * 480 / 256. */
RK_INLINE f32x16 loadSmallE4m3(const uint8_t *p) {
  u16x16 codes = __builtin_convertvector(*(const u8x16u *)p, u16x16) << 8;
  return __builtin_convertvector((f16x16)((i16x16)codes >> 1 & (int16_t)0xbfff), f32x16);
}
/* The same of 32 numbers, at once as far as they are 16 bits wide. */
RK_INLINE void loadSmallE4m3Pair(const uint8_t *p, f32x16 *first, f32x16 *second) {
  u16x32 codes = __builtin_convertvector(*(const u8x32u *)p, u16x32) << 8;
  i16x32 halves = (i16x32)codes >> 1 & (int16_t)0xbfff;
  *first = __builtin_convertvector((f16x16)halves.lo, f32x16);
  *second = __builtin_convertvector((f16x16)halves.hi, f32x16);
}

/* Sum of the lanes, as a balanced tree: a fixed order. */
RK_INLINE float sumLanes(f32x16 v) {
  f32x16 a =
      v + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
  a += __builtin_shufflevector(a, a, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3);
  a += __builtin_shufflevector(a, a, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1);
  return a[0] + a[1];
}
RK_INLINE float maxLanes(f32x16 v) {
  f32x16 a = __builtin_elementwise_max(
      v, __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
  a = __builtin_elementwise_max(
      a, __builtin_shufflevector(a, a, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3));
  a = __builtin_elementwise_max(
      a, __builtin_shufflevector(a, a, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1));
  return a[0] > a[1] ? a[0] : a[1];
}

/* e^x; x is clamped to [-87.3, 88.0] (results 1e-38 .. 1.6e38). Cody and Waite's reduction, then
 * the polynomial of Cephes' expf (Moshier). exp16(0) is 1 exactly. */
RK_INLINE f32x16 exp16(f32x16 x) {
  const f32x16 high = splat(88.0f), low = splat(-87.3f);
  x = select16(x > high, high, x);
  x = select16(x < low, low, x);
  f32x16 n = __builtin_elementwise_roundeven(x * 1.44269504088896341f);
  f32x16 r = fma16(-n, splat(0.693359375f), x);
  r = fma16(-n, splat(-2.12194440e-4f), r);
  f32x16 p = fma16(splat(1.9875691500e-4f), r, splat(1.3981999507e-3f));
  p = fma16(p, r, splat(8.3334519073e-3f));
  p = fma16(p, r, splat(4.1665795894e-2f));
  p = fma16(p, r, splat(1.6666665459e-1f));
  p = fma16(p, r, splat(5.0000001201e-1f));
  p = fma16(p, r * r, r) + 1.0f;
  i32x16 exponent = __builtin_convertvector(n, i32x16);
  return (f32x16)((i32x16)p + (exponent << 23));
}

/* Cephes' tanhf: an odd polynomial near 0, elsewhere 1 - 2 / (e^2|x| + 1). */
RK_INLINE f32x16 tanh16(f32x16 x) {
  f32x16 a = __builtin_elementwise_abs(x), s = x * x;
  f32x16 p = fma16(splat(-5.70498872745e-3f), s, splat(2.06390887954e-2f));
  p = fma16(p, s, splat(-5.37397155531e-2f));
  p = fma16(p, s, splat(1.33314422036e-1f));
  p = fma16(p, s, splat(-3.33332819422e-1f));
  f32x16 small = fma16(p * s, x, x);
  f32x16 large = 1.0f - 2.0f / (exp16(2.0f * a) + 1.0f);
  large = __builtin_elementwise_copysign(large, x);
  return select16(a < 0.625f, small, large);
}

/* Error function; the coefficients are N. Juffa's (public domain, stackoverflow.com/a/35148199). */
RK_INLINE f32x16 erf16(f32x16 x) {
  f32x16 a = __builtin_elementwise_abs(x), s = x * x;
  f32x16 r = fma16(splat(-1.72853470e-5f), a, splat(3.83197126e-4f));
  f32x16 u = fma16(splat(-3.88396438e-3f), a, splat(2.42546219e-2f));
  r = fma16(r, s, u);
  r = fma16(r, a, splat(-1.06777877e-1f));
  r = fma16(r, a, splat(-6.34846687e-1f));
  r = fma16(r, a, splat(-1.28717512e-1f));
  r = fma16(r, a, -a);
  f32x16 large = __builtin_elementwise_copysign(1.0f - exp16(r), x);
  f32x16 p = fma16(splat(-5.96761703e-4f), s, splat(4.99119423e-3f));
  p = fma16(p, s, splat(-2.67681349e-2f));
  p = fma16(p, s, splat(1.12819925e-1f));
  p = fma16(p, s, splat(-3.76125336e-1f));
  p = fma16(p, s, splat(1.28379166e-1f));
  f32x16 small = fma16(p, x, x);
  return select16(a > 0.927734375f, large, small);
}

RK_INLINE f32x16 softCap16(f32x16 x, float cap) { return cap * tanh16(x / cap); }

RK_INLINE f32x16 activate16(f32x16 x, int64_t act) {
  if (act == RK_ACT_SILU)
    return x / (1.0f + exp16(-x));
  if (act == RK_ACT_SIGMOID)
    return 1.0f / (1.0f + exp16(-x));
  if (act == RK_ACT_GELU_TANH) {
    f32x16 inner = 0.7978845608028654f * fma16(x * x * x, splat(0.044715f), x);
    return 0.5f * x * (1.0f + tanh16(inner));
  }
  return 0.5f * x * (1.0f + erf16(x * 0.70710678118654752f));
}

/* x^2 summed over a row: four chains of 16 lanes, then a tree. */
RK_INLINE float sumSquares(const float *x, int64_t n) {
  f32x16 sums[4] = {splat(0), splat(0), splat(0), splat(0)};
  int64_t i = 0;
  for (; i + 64 <= n; i += 64)
    RK_UNROLL for (int j = 0; j < 4; ++j) {
      f32x16 v = load16(x + i + 16 * j);
      sums[j] = fma16(v, v, sums[j]);
    }
  for (; i < n; i += 16) {
    f32x16 v = loadPart(x + i, n - i);
    sums[0] = fma16(v, v, sums[0]);
  }
  return sumLanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

#endif
