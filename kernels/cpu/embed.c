/*===- embed.c - One row of a packed matrix, as float32 ---------------------------------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
#include "simd.h"

RK_INLINE float halfAt(const uint8_t *p, int64_t index) {
  return (float)((const _Float16 *)p)[index];
}

void RK(rk_embed_f32)(const uint8_t *w, int64_t in, int64_t token, float scale, float *y) {
  const uint8_t *block = w + token / 16 * (64 * in) + token % 16 * 4;
  for (int64_t k = 0; k < in; ++k)
    y[k] = scale * *(const f32u *)(block + 64 * k);
}

void RK(rk_embed_bf16)(const uint8_t *w, int64_t in, int64_t token, float scale, float *y) {
  int64_t kp = (in + 1) / 2 * 2;
  const uint8_t *block = w + token / 16 * (32 * kp) + token % 16 * 4;
  for (int64_t k = 0; k < in; ++k) {
    uint32_t pair = *(const u32u *)(block + 64 * (k / 2));
    uint32_t bits = k % 2 ? pair & 0xffff0000u : pair << 16;
    y[k] = scale * __builtin_bit_cast(float, bits);
  }
}

void RK(rk_embed_f16)(const uint8_t *w, int64_t in, int64_t token, float scale, float *y) {
  const uint8_t *block = w + token / 16 * (32 * ((in + 1) / 2 * 2));
  for (int64_t k = 0; k < in; ++k)
    y[k] = scale * halfAt(block, k * 16 + token % 16);
}

void RK(rk_embed_f8)(const uint8_t *w, int64_t in, int64_t group, int64_t token, float scale,
                     float *y) {
  int64_t kp = (in + group - 1) / group * group, lane = token % 16;
  int64_t scaleBytes = (32 * (kp / group) + 63) / 64 * 64;
  const uint8_t *block = w + token / 16 * (scaleBytes + 16 * kp), *codes = block + scaleBytes;
  for (int64_t k = 0; k < in; ++k) {
    uint16_t code = codes[16 * k + lane]; /* see loadSmallE4m3 */
    uint16_t half = (uint16_t)((code & 0x80) << 8 | (code & 0x7f) << 7);
    y[k] = scale * (halfAt(block, k / group * 16 + lane) * halfAt((const uint8_t *)&half, 0));
  }
}

void RK(rk_embed_i8)(const uint8_t *w, int64_t in, int64_t group, int64_t token, float scale,
                     float *y) {
  int64_t kp = (in + group - 1) / group * group;
  int64_t scaleBytes = (32 * (kp / group) + 63) / 64 * 64, lane = token % 16;
  const uint8_t *block = w + token / 16 * (scaleBytes + 16 * kp);
  const uint8_t *codes = block + scaleBytes + 4 * lane;
  for (int64_t k = 0; k < in; ++k) {
    int q = (int)codes[k / 4 * 64 + k % 4] - 128;
    y[k] = scale * (halfAt(block, k / group * 16 + lane) * (float)q);
  }
}

RK_INLINE void embedInt4(const uint8_t *w, int64_t in, int64_t group, int64_t token, float scale,
                         int asymmetric, float *y) {
  int64_t kp = (in + group - 1) / group * group, groups = kp / group, lane = token % 16;
  int64_t scaleBytes = asymmetric ? 64 * groups : (32 * groups + 63) / 64 * 64;
  const uint8_t *block = w + token / 16 * (scaleBytes + 8 * kp);
  const uint8_t *codes = block + scaleBytes + 4 * lane;
  for (int64_t k = 0; k < in; ++k) {
    int byte = codes[k / 8 * 64 + k % 4], code = k % 8 < 4 ? byte & 15 : byte >> 4;
    int64_t g = k / group;
    float value;
    if (asymmetric)
      value = halfAt(block, g * 32 + lane) * (float)code + halfAt(block, g * 32 + 16 + lane);
    else
      value = halfAt(block, g * 16 + lane) * (float)(code - 8);
    y[k] = scale * value;
  }
}

void RK(rk_embed_i4s)(const uint8_t *w, int64_t in, int64_t group, int64_t token, float scale,
                      float *y) {
  embedInt4(w, in, group, token, scale, 0, y);
}
void RK(rk_embed_i4a)(const uint8_t *w, int64_t in, int64_t group, int64_t token, float scale,
                      float *y) {
  embedInt4(w, in, group, token, scale, 1, y);
}

void RK(rk_embed_i3s)(const uint8_t *w, int64_t in, int64_t group, int64_t token, float scale,
                      float *y) {
  int64_t kp = (in + group - 1) / group * group, lane = token % 16;
  int64_t scaleBytes = (32 * (kp / group) + 63) / 64 * 64;
  const uint8_t *block = w + token / 16 * (scaleBytes + 6 * kp);
  for (int64_t k = 0; k < in; ++k) {
    const uint8_t *planes = block + scaleBytes + k / 32 * 192 + 4 * lane + k % 4;
    int64_t word = k % 32 / 4; /* kernels.h */
    int code = word < 6 ? planes[word / 2 * 64] >> word % 2 * 3 & 7
                        : planes[(word - 6) * 64] >> 6 | (planes[128] >> (word - 2) & 4);
    y[k] = scale * (halfAt(block, k / group * 16 + lane) * (float)(code - 4));
  }
}
