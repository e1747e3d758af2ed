/*===- norm.c - norms and the quantisation of activations ---------------------------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
#include "simd.h"

/* Quantised rows flush groups below this to zero: 127 / max would overflow. */
#define RK_TINY 0x1p-100f

RK_INLINE float inverseRms(const float *x, int64_t n, float eps) {
  return 1.0f / __builtin_sqrtf(sumSquares(x, n) / (float)n + eps);
}

/* Elements i..i+15 of the normed row; lanes past n are 0. */
RK_INLINE f32x16 normed(const float *x, const float *gain, float offset, float inverse, int64_t i,
                        int64_t n) {
  f32x16 g = loadPart(gain + i, n - i) + offset;
  return loadPart(x + i, n - i) * inverse * g;
}

void RK(rk_rms_norm)(const float *x, const float *gain, float offset, int64_t n, float eps,
                     const float *residual, float *y) {
  float inverse = inverseRms(x, n, eps);
  for (int64_t i = 0; i < n; i += 16) {
    f32x16 v = normed(x, gain, offset, inverse, i, n);
    if (residual)
      v += loadPart(residual + i, n - i);
    storePart(y + i, v, n - i);
  }
}

void RK(rk_rms_norm_groups)(const float *x, const float *gain, float offset, int64_t groups,
                            int64_t n, float eps, float *y) {
  for (int64_t g = 0; g < groups; ++g)
    RK(rk_rms_norm)(x + g * n, gain, offset, n, eps, 0, y + g * n);
}

/* The RMS norm of what is left of the row without its mean. */
void RK(rk_layer_norm)(const float *x, const float *gain, const float *bias, int64_t n, float eps,
                       float *y) {
  f32x16 sum = splat(0);
  for (int64_t i = 0; i < n; i += 16)
    sum += loadPart(x + i, n - i);
  float mean = sumLanes(sum) / (float)n;
  for (int64_t i = 0; i < n; i += 16)
    storePart(y + i, loadPart(x + i, n - i) - mean, n - i);
  float inverse = inverseRms(y, n, eps);
  for (int64_t i = 0; i < n; i += 16)
    storePart(y + i, normed(y, gain, 0, inverse, i, n) + loadPart(bias + i, n - i), n - i);
}

/* Quantises one group held in `v` (size/16 vectors) into group g of the row. */
RK_INLINE void quantiseGroup(const f32x16 *v, int64_t size, int64_t g, int64_t kp, uint8_t *xq) {
  f32x16 most = splat(0);
  for (int64_t j = 0; j < size / 16; ++j)
    most = __builtin_elementwise_max(most, __builtin_elementwise_abs(v[j]));
  float max = maxLanes(most);
  float inverse = max < RK_TINY ? 0.0f : 127.0f / max;
  i32x16 sum = (i32x16)(0);
  for (int64_t j = 0; j < size / 16; ++j) {
    i32x16 q = __builtin_convertvector(__builtin_elementwise_roundeven(v[j] * inverse), i32x16);
    sum += q;
    *(i8x16u *)(xq + g * size + 16 * j) = __builtin_convertvector(q, i8x16);
  }
  ((f32u *)(xq + kp))[g] = max < RK_TINY ? 0.0f : max / 127.0f;
  ((i32u *)(xq + kp))[kp / size + g] = -__builtin_reduce_add(sum);
}

/* `size` is a constant at each call, so the group stays in registers. */
RK_INLINE void quantiseColumns(const float *x, const float *gain, float offset, float inverse,
                               int64_t in, int64_t size, uint8_t *xq) {
  int64_t kp = (in + size - 1) / size * size;
  for (int64_t c = 0; c < in; c += size) {
    f32x16 v[8];
    for (int64_t j = 0; j < size / 16; ++j) {
      int64_t i = c + 16 * j;
      if (i >= in)
        v[j] = splat(0);
      else
        v[j] = gain ? normed(x, gain, offset, inverse, i, in) : loadPart(x + i, in - i);
    }
    quantiseGroup(v, size, c / size, kp, xq);
  }
}

void RK(rk_rms_norm_quantize)(const float *x, const float *gain, float offset, int64_t n, float eps,
                              int64_t group, uint8_t *xq) {
  float inverse = inverseRms(x, n, eps);
  if (group == 32)
    quantiseColumns(x, gain, offset, inverse, n, 32, xq);
  else if (group == 64)
    quantiseColumns(x, gain, offset, inverse, n, 64, xq);
  else
    quantiseColumns(x, gain, offset, inverse, n, 128, xq);
}

void RK(rk_quantize)(const float *x, int64_t in, int64_t group, uint8_t *xq) {
  if (group == 32)
    quantiseColumns(x, 0, 0, 0, in, 32, xq);
  else if (group == 64)
    quantiseColumns(x, 0, 0, 0, in, 64, xq);
  else
    quantiseColumns(x, 0, 0, 0, in, 128, xq);
}
