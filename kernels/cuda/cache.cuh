// The paged KV cache, and heads on their way to it. SPDX-License-Identifier: Apache-2.0
//
// A page holds CacheShape::kPageRows (16) positions of one slot for every layer; a layer's part, at
// cacheOffset in the page, is K [kvHeads][16][dims], then V, of half, bf16, e4m3 or float. A row of a head is contiguous, so a warp's request is a run of whole lines, and a position
// is appended by one contiguous store.
#pragma once
#include "kernels/cuda/cta.cuh"
namespace retort::cuda {

/// Eight neighbouring elements of the cache (or of its staged copy in shared memory) as f32.
RETORT_DEVICE void unpackEight(float (&v)[8], u32x4 bits, half) {
  const f32x2 a = unpackHalf2(bits.x), b = unpackHalf2(bits.y), c = unpackHalf2(bits.z),
              d = unpackHalf2(bits.w);
  v[0] = a.x, v[1] = a.y, v[2] = b.x, v[3] = b.y, v[4] = c.x, v[5] = c.y, v[6] = d.x, v[7] = d.y;
}
RETORT_DEVICE void unpackEight(float (&v)[8], u32x4 bits, bf16) {
  const f32x2 a = unpackBf162(bits.x), b = unpackBf162(bits.y), c = unpackBf162(bits.z),
              d = unpackBf162(bits.w);
  v[0] = a.x, v[1] = a.y, v[2] = b.x, v[3] = b.y, v[4] = c.x, v[5] = c.y, v[6] = d.x, v[7] = d.y;
}
template <class Cache> constexpr bool kIsHalf = false;
template <> constexpr bool kIsHalf<half> = true;

template <class Cache> struct Eight {
  u32x4 bits;
  RETORT_DEVICE static Eight zero() { return {makeU32x4(0, 0, 0, 0)}; }
  RETORT_DEVICE static Eight global(const Cache *p) { return {ldGlobal128(p)}; }
  RETORT_DEVICE static Eight shared(const Cache *p) {
    return {*reinterpret_cast<const u32x4 *>(p)};
  }
  RETORT_DEVICE void unpack(float (&v)[8]) const { unpackEight(v, bits, Cache()); }
};
template <> struct Eight<e4m3> {
  u32x2 bits;
  RETORT_DEVICE static Eight zero() { return {makeU32x2(0, 0)}; }
  RETORT_DEVICE static Eight global(const e4m3 *p) { return {ldGlobal64(p)}; }
  RETORT_DEVICE static Eight shared(const e4m3 *p) { return {*reinterpret_cast<const u32x2 *>(p)}; }
  RETORT_DEVICE u32x4 halves() const {
    return makeU32x4(e4m3ToHalf2<0>(bits.x), e4m3ToHalf2<1>(bits.x), e4m3ToHalf2<0>(bits.y),
                     e4m3ToHalf2<1>(bits.y));
  }
  RETORT_DEVICE void unpack(float (&v)[8]) const { unpackEight(v, halves(), half()); }
};
template <> struct Eight<float> {
  u32x4 low, high;
  RETORT_DEVICE static Eight zero() { return {makeU32x4(0, 0, 0, 0), makeU32x4(0, 0, 0, 0)}; }
  RETORT_DEVICE static Eight global(const float *p) { return {ldGlobal128(p), ldGlobal128(p + 4)}; }
  RETORT_DEVICE static Eight shared(const float *p) {
    return {*reinterpret_cast<const u32x4 *>(p), *reinterpret_cast<const u32x4 *>(p + 4)};
  }
  RETORT_DEVICE void unpack(float (&v)[8]) const {
    v[0] = asFloat(low.x), v[1] = asFloat(low.y), v[2] = asFloat(low.z), v[3] = asFloat(low.w);
    v[4] = asFloat(high.x), v[5] = asFloat(high.y), v[6] = asFloat(high.z), v[7] = asFloat(high.w);
  }
};

/// Eight elements as f16. bf16 and float lose what is beyond its range or precision.
template <class Cache> RETORT_DEVICE u32x4 halvesOf(const Eight<Cache> &eight) {
  float v[8];
  eight.unpack(v);
  return makeU32x4(packHalf2(v[0], v[1]), packHalf2(v[2], v[3]), packHalf2(v[4], v[5]),
                   packHalf2(v[6], v[7]));
}
RETORT_DEVICE u32x4 halvesOf(const Eight<e4m3> &eight) { return eight.halves(); }
RETORT_DEVICE u32x4 halvesOf(const Eight<half> &eight) { return eight.bits; }

/// How elements of the cache go to tensor cores, and what they are multiplied by there. e4m3
/// becomes f16, which is exact. What is f32 is two numbers there, value and rest, 22 bits together
/// (bf16: 16).
template <class Cache> struct Factors {
  static constexpr int kTerms = 1; // of the product for an element
  static constexpr float kMost = 65504;
  RETORT_DEVICE static void of(const Eight<Cache> &eight, u32x4 (&terms)[1]) {
    terms[0] = halvesOf(eight);
  }
  /// Values and rests of two numbers of at most kMost in magnitude.
  RETORT_DEVICE static void split(float low, float high, uint32_t &value, uint32_t &rest) {
    value = packHalf2(low, high);
    const f32x2 is = unpackHalf2(value);
    rest = packHalf2(low - is.x, high - is.y);
  }
  RETORT_DEVICE static void multiply(float (&d)[4], const uint32_t (&a)[4],
                                     const uint32_t (&b)[2]) {
    mmaF16(d, a, b);
  }
};
/// Keys and values in bf16 may be beyond f16's range.
template <> struct Factors<bf16> {
  static constexpr int kTerms = 1;
  static constexpr float kMost = 3e38f;
  RETORT_DEVICE static void of(const Eight<bf16> &eight, u32x4 (&terms)[1]) {
    terms[0] = eight.bits;
  }
  RETORT_DEVICE static void split(float low, float high, uint32_t &value, uint32_t &rest) {
    value = packBf162(low, high);
    const f32x2 is = unpackBf162(value);
    rest = packBf162(low - is.x, high - is.y);
  }
  RETORT_DEVICE static void multiply(float (&d)[4], const uint32_t (&a)[4],
                                     const uint32_t (&b)[2]) {
    mmaBf16(d, a, b);
  }
};
/// f32 is value and rest here too; what is beyond f16's range is cut there.
template <> struct Factors<float> : Factors<half> {
  static constexpr int kTerms = 2;
  RETORT_DEVICE static void of(const Eight<float> &eight, u32x4 (&terms)[2]) {
    float v[8];
    uint32_t value[4], rest[4];
    eight.unpack(v);
#pragma unroll
    for (int i = 0; i < 8; ++i)
      v[i] = v[i] > kMost ? kMost : v[i] < -kMost ? -kMost : v[i];
#pragma unroll
    for (int i = 0; i < 4; ++i)
      split(v[2 * i], v[2 * i + 1], value[i], rest[i]);
    terms[0] = makeU32x4(value[0], value[1], value[2], value[3]);
    terms[1] = makeU32x4(rest[0], rest[1], rest[2], rest[3]);
  }
};

/// An element of the cache.
template <CacheFormat F> constexpr auto cacheElement() {
  if constexpr (F == CacheFormat::F16)
    return half();
  else if constexpr (F == CacheFormat::BF16)
    return bf16();
  else if constexpr (F == CacheFormat::F8E4M3)
    return e4m3();
  else
    return float();
}
template <CacheShape C> using CacheElement = decltype(cacheElement<C.format>());

/// The layer's K of a key/value head in page `page` of the pool; V is C.valueOffset() elements after
/// it.
template <CacheShape C> struct CachePages {
  using Element = CacheElement<C>;
  static_assert(sizeof(Element) == C.valueBytes());

  uint8_t *base; // cache + cacheOffset
  RETORT_DEVICE Element *keys(int page, int kvHead) const {
    return reinterpret_cast<Element *>(base + int64_t(page) * C.pageBytes) +
           kvHead * C.headValues();
  }
};

/// Norms (if Norm) and rotates (rotaryDims features, half-split order) one head, or rotates and norms
/// it (P.normLast): emit(i, value) for i = lane, lane + 32.. All lanes. scratch [dims] f32 of shared
/// memory, this warp's.
///   x [dims], global, activations    gain [dims] or unused    cosSin [rotaryDims], a row of angles
template <AppendShape P, bool Norm, class Emit>
RETORT_DEVICE void normRotate(const float *x, const float *gain, const float *cosSin,
                              float *scratch, const Emit &emit) {
  constexpr int kHalf = P.rotaryDims / 2;
  const int lane = int(laneIndex());
  float sum = 0;
  warpSync(); // the scratch is free
  for (int i = lane; i < P.cache.dims; i += 32) {
    const float v = asFloat(ldGlobal32(x + i));
    sum = fmaF32(v, v, sum);
    scratch[i] = v;
  }
  const auto normed = [&](int i, float v, float scale) {
    return v * scale * (asFloat(ldGlobalNc32(gain + i)) + float(P.normOffset));
  };
  const auto scaleOf = [&](float squares) {
    constexpr float kEps = P.eps;
    return rsqrtApprox(warpSum(squares) * (1.0f / P.cache.dims) + kEps);
  };
  if constexpr (Norm && !P.normLast) {
    const float scale = scaleOf(sum);
    for (int i = lane; i < P.cache.dims; i += 32)
      scratch[i] = normed(i, scratch[i], scale);
  }
  warpSync();
  const auto rotated = [&](int i) {
    float y = scratch[i];
    if constexpr (kHalf > 0) {
      if (i < kHalf)
        y = y * asFloat(ldGlobal32(cosSin + i)) -
            scratch[i + kHalf] * asFloat(ldGlobal32(cosSin + kHalf + i));
      else if (i < 2 * kHalf)
        y = y * asFloat(ldGlobal32(cosSin + i - kHalf)) +
            scratch[i - kHalf] * asFloat(ldGlobal32(cosSin + i));
    }
    return y;
  };
  if constexpr (Norm && P.normLast) {
    constexpr int kEach = ceilDiv(P.cache.dims, 32);
    float y[kEach];
    sum = 0;
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      y[j] = lane + j * 32 < P.cache.dims ? rotated(lane + j * 32) : 0.0f;
      sum = fmaF32(y[j], y[j], sum);
    }
    const float scale = scaleOf(sum);
#pragma unroll
    for (int j = 0; j < kEach; ++j)
      if (const int i = lane + j * 32; i < P.cache.dims)
        emit(i, normed(i, y[j], scale));
  } else {
    for (int i = lane; i < P.cache.dims; i += 32)
      emit(i, rotated(i));
  }
}

} // namespace retort::cuda
