/*===- attention.c - The paged KV cache: append a row, attend over it -------------------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
/* Online softmax (arXiv:1805.02867) in steps of one page: a page's 16 scores are one vector. Pages
 * are aligned to absolute positions, so a row's sums have one order however it was batched. */
#include "simd.h"

typedef struct Cache { /* one slot's pages, one layer and kv head */
  const uint8_t *base;
  const int32_t *pageTable;
  int64_t pageBytes, keyOffset, valueOffset, headDim;
} Cache;

/* The cache's formats; a kernel has its own as a constant. */
typedef enum Format { F32, F16, BF16, F8 } Format;
RK_INLINE int64_t elementBytes(Format format) { return format == F32 ? 4 : format == F8 ? 1 : 2; }

RK_INLINE f32x16 loadElements(const uint8_t *p, int64_t index, Format format) {
  switch (format) {
  case F32:
    return load16((const float *)p + index);
  case F16:
    return loadHalf16(p + 2 * index);
  case BF16:
    return loadBf16(p + 2 * index);
  case F8:
    return loadSmallE4m3(p + index) * 256.0f;
  }
  __builtin_unreachable();
}

typedef uint16_t bf16;
typedef uint8_t e4m3;
RK_INLINE float roundf32(float value) { return value; }
RK_INLINE _Float16 roundf16(float value) { return (_Float16)value; }
RK_INLINE bf16 roundbf16(float value) {
  uint32_t bits = __builtin_bit_cast(uint32_t, value);
  uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return (bf16)(value == value ? rounded : bits >> 16 | 0x40);
}
/* To nearest even, at most 448 in magnitude; a NaN stays one. */
RK_INLINE e4m3 roundf8e4m3(float value) {
  uint32_t bits = __builtin_bit_cast(uint32_t, value), sign = bits >> 24 & 0x80;
  bits &= 0x7fffffff;
  float magnitude = __builtin_bit_cast(float, bits);
  uint32_t small = __builtin_bit_cast(uint32_t, magnitude + 0x1p14f) & 15; /* steps of 2^-9 */
  uint32_t large = (bits - (120u << 23) + 0x7ffff + (bits >> 20 & 1)) >> 20;
  uint32_t code = magnitude < 0x1p-6f ? small : magnitude < 448 ? large : 0x7e;
  return (e4m3)(sign | (magnitude == magnitude ? code : 0x7f));
}

/* Asks for this head's K and V of a page: 2 to 8 KiB each, too short for the hardware to notice. */
RK_INLINE void prefetchPage(Cache cache, int64_t page, Format format) {
  const uint8_t *base = cache.base + cache.pageTable[page] * cache.pageBytes;
  for (int64_t i = 0; i < cache.headDim * RK_PAGE_ROWS * elementBytes(format); i += 64) {
    __builtin_prefetch(base + cache.keyOffset + i, 0, 2);
    __builtin_prefetch(base + cache.valueOffset + i, 0, 2);
  }
}

/* Scores of the 16 positions of a page for `heads` query heads: scores[h] = q[h] . K. Two chains
 * each, even and odd d. */
RK_INLINE void pageScores(const float *q, const uint8_t *keys, int64_t headDim, Format format,
                          const int heads, f32x16 *scores) {
  f32x16 odd[4];
  RK_UNROLL for (int h = 0; h < heads; ++h) scores[h] = odd[h] = splat(0);
  for (int64_t d = 0; d < headDim; d += 2) {
    f32x16 k0 = loadElements(keys, 16 * d, format), k1 = loadElements(keys, 16 * d + 16, format);
    RK_UNROLL for (int h = 0; h < heads; ++h) {
      scores[h] = fma16(splat(q[h * headDim + d]), k0, scores[h]);
      odd[h] = fma16(splat(q[h * headDim + d + 1]), k1, odd[h]);
    }
  }
  RK_UNROLL for (int h = 0; h < heads; ++h) scores[h] += odd[h];
}

/* out[h] = out[h] * decay[h] + sum over positions first..last of weights[h][p] * V[p]. */
RK_INLINE void addValues(const float (*weights)[16], const float *decay, const uint8_t *values,
                         int64_t headDim, Format format, int64_t first, int64_t last,
                         const int heads, float *out) {
  for (int64_t d = 0; d < headDim; d += 16) {
    f32x16 sums[4];
    RK_UNROLL for (int h = 0; h < heads; ++h) sums[h] = load16(out + h * headDim + d) * decay[h];
    for (int64_t p = first; p <= last; ++p) {
      f32x16 v = loadElements(values, p * headDim + d, format);
      RK_UNROLL for (int h = 0; h < heads; ++h) sums[h] = fma16(splat(weights[h][p]), v, sums[h]);
    }
    RK_UNROLL for (int h = 0; h < heads; ++h) store16(out + h * headDim + d, sums[h]);
  }
}

/* Attention of `heads` (1 to 4, a constant) query heads at q, results at out. A sink's weight is in
 * the total from the start. */
RK_INLINE void attendHeads(const float *q, Cache cache, Format format, int64_t begin,
                           int64_t position, float scale, float softCap, const float *sinks,
                           const int heads, float *out) {
  const i32x16 lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const float none = -3e38f;
  float most[4], total[4], decay[4], weights[4][16];
  for (int h = 0; h < heads; ++h)
    most[h] = sinks ? sinks[h] : none, total[h] = sinks ? 1 : 0;
  for (int64_t i = 0; i < heads * cache.headDim; i += 16)
    store16(out + i, splat(0));
  prefetchPage(cache, begin / 16, format);
  for (int64_t page = begin / 16; page <= position / 16; ++page) {
    if (page < position / 16)
      prefetchPage(cache, page + 1, format);
    const uint8_t *base = cache.base + cache.pageTable[page] * cache.pageBytes;
    int64_t first = begin > 16 * page ? begin - 16 * page : 0;
    int64_t last = position - 16 * page < 15 ? position - 16 * page : 15;
    i32x16 seen = (lanes >= (int32_t)first) & (lanes <= (int32_t)last);
    f32x16 scores[4];
    pageScores(q, base + cache.keyOffset, cache.headDim, format, heads, scores);
    RK_UNROLL for (int h = 0; h < heads; ++h) {
      f32x16 s = scores[h] * scale;
      if (softCap != 0)
        s = softCap16(s, softCap);
      s = select16(seen, s, splat(none));
      float highest = maxLanes(s), before = most[h];
      most[h] = highest > before ? highest : before;
      decay[h] = highest > before ? exp16(splat(before - most[h]))[0] : 1.0f;
      f32x16 p = select16(seen, exp16(s - most[h]), splat(0));
      total[h] = total[h] * decay[h] + sumLanes(p);
      store16(weights[h], p);
    }
    addValues((const float(*)[16])weights, decay, base + cache.valueOffset, cache.headDim, format,
              first, last, heads, out);
  }
  for (int h = 0; h < heads; ++h)
    for (int64_t d = 0; d < cache.headDim; d += 16)
      store16(out + h * cache.headDim + d, load16(out + h * cache.headDim + d) / total[h]);
}

/* K and V are read once for up to 4 query heads. */
RK_INLINE void attend(const float *q, int64_t heads, int64_t kvHeads, int64_t headDim,
                      const uint8_t *cache, const int32_t *pageTable, int64_t pageBytes,
                      int64_t layerOffsetBytes, int64_t position, int64_t window, float scale,
                      float softCap, const float *sinks, int64_t head0, int64_t head1,
                      Format format, float *out) {
  int64_t headBytes = headDim * RK_PAGE_ROWS * elementBytes(format);
  int64_t keyOffset = layerOffsetBytes + head0 / (heads / kvHeads) * headBytes;
  Cache view = {cache, pageTable, pageBytes, keyOffset, keyOffset + kvHeads * headBytes, headDim};
  int64_t begin = window > 0 && position >= window ? position - window + 1 : 0;
  for (int64_t h = head0; h < head1;) {
    int64_t left = head1 - h, d = h * headDim;
    const float *sink = sinks ? sinks + h : sinks;
    if (left >= 4)
      attendHeads(q + d, view, format, begin, position, scale, softCap, sink, 4, out + d);
    else if (left == 3)
      attendHeads(q + d, view, format, begin, position, scale, softCap, sink, 3, out + d);
    else if (left == 2)
      attendHeads(q + d, view, format, begin, position, scale, softCap, sink, 2, out + d);
    else
      attendHeads(q + d, view, format, begin, position, scale, softCap, sink, 1, out + d);
    h += left >= 4 ? 4 : left;
  }
}

#define RK_CACHE_KERNELS(name, type, format)                                                       \
  void RK(rk_cache_append_##name)(const float *k, const float *v, int64_t kvHeads,                 \
                                  int64_t headDim, uint8_t *cache, const int32_t *pageTable,       \
                                  int64_t pageBytes, int64_t layerOffsetBytes, int64_t position) { \
    type *page = (type *)(cache + pageTable[position / 16] * pageBytes + layerOffsetBytes);        \
    type *values = page + kvHeads * headDim * 16;                                                  \
    int64_t row = position % 16;                                                                   \
    for (int64_t i = 0; i < kvHeads * headDim; ++i)                                                \
      page[16 * i + row] = round##name(k[i]);                                                      \
    for (int64_t h = 0; h < kvHeads; ++h)                                                          \
      for (int64_t d = 0; d < headDim; ++d)                                                        \
        values[(h * 16 + row) * headDim + d] = round##name(v[h * headDim + d]);                    \
  }                                                                                                \
  void RK(rk_attention_##name)(const float *q, int64_t heads, int64_t kvHeads, int64_t headDim,    \
                               const uint8_t *cache, const int32_t *pageTable, int64_t pageBytes,  \
                               int64_t layerOffsetBytes, int64_t position, int64_t window,         \
                               float scale, float softCap, const float *sinks, int64_t head0,      \
                               int64_t head1, float *out) {                                        \
    attend(q, heads, kvHeads, headDim, cache, pageTable, pageBytes, layerOffsetBytes, position,    \
           window, scale, softCap, sinks, head0, head1, format, out);                              \
  }

RK_CACHE_KERNELS(f32, float, F32)
RK_CACHE_KERNELS(f16, _Float16, F16)
RK_CACHE_KERNELS(bf16, bf16, BF16)
RK_CACHE_KERNELS(f8e4m3, e4m3, F8)
