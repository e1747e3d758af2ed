// wrap.cuh's declarations on the simulated device: what needs other lanes, time or a report is a
// call into libretort_sim.so; the rest is plain C++, whose loads and stores the compiler
// instruments. SPDX-License-Identifier: Apache-2.0
#pragma once
namespace retort::cuda {

RETORT_DEVICE float asFloat(uint32_t bits) { return __builtin_bit_cast(float, bits); }
RETORT_DEVICE uint32_t asBits(float value) { return __builtin_bit_cast(uint32_t, value); }
RETORT_DEVICE float halfBitsToFloat(uint16_t bits) {
  return float(__builtin_bit_cast(_Float16, bits));
}
RETORT_DEVICE uint16_t floatToHalfBits(float value) {
  return __builtin_bit_cast(uint16_t, _Float16(value));
}
RETORT_DEVICE float bf16BitsToFloat(uint16_t bits) { return asFloat(uint32_t(bits) << 16); }
RETORT_DEVICE uint16_t floatToBf16Bits(float value) {
  const uint32_t bits = asBits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return 0x7fff; // as the hardware's NaN
  return uint16_t((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}
RETORT_DEVICE u32x2 makeU32x2(uint32_t x, uint32_t y) { return u32x2{x, y}; }
RETORT_DEVICE u32x4 makeU32x4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) {
  return u32x4{x, y, z, w};
}
RETORT_DEVICE f32x2 makeF32x2(float x, float y) { return f32x2{x, y}; }
RETORT_DEVICE f32x4 makeF32x4(float x, float y, float z, float w) { return f32x4{x, y, z, w}; }

RETORT_DEVICE uint32_t threadIndex() { return retort_sim_self->thread; }
RETORT_DEVICE uint32_t threadCount() { return retort_sim_self->threads; }
RETORT_DEVICE uint32_t laneIndex() { return retort_sim_self->thread % 32; }
RETORT_DEVICE uint32_t warpIndex() { return retort_sim_self->thread / 32; }
RETORT_DEVICE uint32_t ctaIndex() { return retort_sim_self->cta; }
RETORT_DEVICE uint32_t ctaCount() { return retort_sim_self->ctas; }
RETORT_DEVICE uint8_t *sharedArena() { return retort_sim_self->arena; }
RETORT_DEVICE void trap() { retort_sim_trap(); }

RETORT_DEVICE void ctaSync() { retort_sim_cta_sync(); }
RETORT_DEVICE void barSync(int id, int threads) { retort_sim_bar(id, threads, 1); }
RETORT_DEVICE void barArrive(int id, int threads) { retort_sim_bar(id, threads, 0); }
RETORT_DEVICE void warpSync() { retort_sim_warp_sync(); }
template <class T> RETORT_DEVICE T shfl(T value, int source) {
  static_assert(sizeof(T) == 4);
  return __builtin_bit_cast(T, retort_sim_shfl(__builtin_bit_cast(uint32_t, value), source & 31));
}
template <class T> RETORT_DEVICE T shflXor(T value, int mask) {
  return shfl(value, int(laneIndex()) ^ mask);
}
RETORT_DEVICE uint32_t warpBallot(bool predicate) { return retort_sim_ballot(predicate); }

// Volatile, so that one access here is one in the trace, of its whole width, as it is on a GPU.
RETORT_DEVICE uint32_t ldGlobalNc32(const void *source) {
  retort_sim_constant_load(source, 4);
  return *static_cast<const volatile uint32_t *>(source);
}
RETORT_DEVICE u32x4 ldGlobalNc128(const void *source) {
  retort_sim_constant_load(source, 16);
  return *static_cast<const volatile u32x4 *>(source);
}
RETORT_DEVICE uint32_t ldGlobal32(const void *source) {
  return *static_cast<const volatile uint32_t *>(source);
}
RETORT_DEVICE u32x2 ldGlobal64(const void *source) {
  return *static_cast<const volatile u32x2 *>(source);
}
RETORT_DEVICE u32x4 ldGlobal128(const void *source) {
  return *static_cast<const volatile u32x4 *>(source);
}
RETORT_DEVICE void stGlobal32(void *dest, uint32_t value) {
  *static_cast<volatile uint32_t *>(dest) = value;
}
RETORT_DEVICE void stGlobal64(void *dest, u32x2 value) {
  *static_cast<volatile u32x2 *>(dest) = value;
}
RETORT_DEVICE void stGlobal128(void *dest, u32x4 value) {
  *static_cast<volatile u32x4 *>(dest) = value;
}
RETORT_DEVICE u32x4 ldShared128(const void *source) {
  return *static_cast<const volatile u32x4 *>(source);
}
RETORT_DEVICE void prefetchL2(const void *source) { retort_sim_prefetch(source, 128); }
RETORT_DEVICE void prefetchL2Bulk(const void *source, uint32_t bytes) {
  retort_sim_prefetch(source, bytes);
}

RETORT_DEVICE uint32_t loadAcquireGpu(const uint32_t *source) {
  return retort_sim_load(source, 1, 1);
}
RETORT_DEVICE uint32_t loadAcquireSys(const uint32_t *source) {
  return retort_sim_load(source, 1, 2);
}
RETORT_DEVICE uint32_t loadRelaxedGpu(const uint32_t *source) {
  return retort_sim_load(source, 0, 1);
}
RETORT_DEVICE uint32_t loadRelaxedSys(const uint32_t *source) {
  return retort_sim_load(source, 0, 2);
}
RETORT_DEVICE void storeReleaseGpu(uint32_t *dest, uint32_t value) {
  retort_sim_store(dest, value, 1, 1);
}
RETORT_DEVICE void storeReleaseSys(uint32_t *dest, uint32_t value) {
  retort_sim_store(dest, value, 1, 2);
}
RETORT_DEVICE void storeRelaxedGpu(uint32_t *dest, uint32_t value) {
  retort_sim_store(dest, value, 0, 1);
}
RETORT_DEVICE void storeRelaxedSys(uint32_t *dest, uint32_t value) {
  retort_sim_store(dest, value, 0, 2);
}
RETORT_DEVICE u32x2 loadRelaxedSys64(const void *source) {
  uint32_t v[2];
  retort_sim_load64(source, v);
  return u32x2{v[0], v[1]};
}
RETORT_DEVICE u32x4 loadRelaxedSys128(const void *source) {
  uint32_t v[4];
  retort_sim_load128(source, v);
  return u32x4{v[0], v[1], v[2], v[3]};
}
RETORT_DEVICE void storeRelaxedSys64(void *dest, u32x2 value) {
  const uint32_t v[2] = {value.x, value.y};
  retort_sim_store64(dest, v);
}
RETORT_DEVICE void storeRelaxedSys128(void *dest, u32x4 value) {
  const uint32_t v[4] = {value.x, value.y, value.z, value.w};
  retort_sim_store128(dest, v);
}
RETORT_DEVICE uint32_t atomicAddRelaxedGpu(uint32_t *dest, uint32_t value) {
  return retort_sim_atomic_add(dest, value, 0, 1);
}
RETORT_DEVICE uint32_t atomicAddAcqRelGpu(uint32_t *dest, uint32_t value) {
  return retort_sim_atomic_add(dest, value, 3, 1);
}
RETORT_DEVICE void redAddReleaseSys(uint32_t *dest, uint32_t value) {
  retort_sim_atomic_add(dest, value, 2, 2);
}
RETORT_DEVICE void redAddRelaxedGpu(uint32_t *dest, uint32_t value) {
  retort_sim_atomic_add(dest, value, 0, 1);
}
RETORT_DEVICE void redMaxRelaxedGpu(uint64_t *dest, uint64_t value) {
  retort_sim_atomic_max64(dest, value);
}
RETORT_DEVICE uint32_t atomicAddShared(uint32_t *dest, uint32_t value) {
  return retort_sim_atomic_add(dest, value, 0, 0);
}
RETORT_DEVICE void fenceGpu() { retort_sim_fence(1); }
RETORT_DEVICE void fenceSys() { retort_sim_fence(2); }
RETORT_DEVICE void spinPause() { retort_sim_spin(); }

RETORT_DEVICE void cpAsync16(void *dest, const void *source) {
  retort_sim_cp_async(dest, source, 1);
}
RETORT_DEVICE void cpAsync16Zero(void *dest, const void *source, bool valid) {
  retort_sim_cp_async(dest, source, valid);
}
RETORT_DEVICE void cpAsyncCommit() { retort_sim_cp_commit(); }
template <int Pending> RETORT_DEVICE void cpAsyncWait() { retort_sim_cp_wait(Pending); }
RETORT_DEVICE void mbarInit(uint64_t *bar, uint32_t arrivals) {
  retort_sim_mbar_init(bar, arrivals);
}
RETORT_DEVICE void fenceMbarInit() {}
RETORT_DEVICE void mbarArrive(uint64_t *bar) { retort_sim_mbar_arrive(bar, 0); }
RETORT_DEVICE bool mbarTryWait(uint64_t *bar, uint32_t parity) {
  return retort_sim_mbar_try(bar, parity) != 0;
}
RETORT_DEVICE void mbarArriveExpect(uint64_t *bar, uint32_t bytes) {
  if (RETORT_ARCH < 900)
    trap();
  retort_sim_mbar_arrive(bar, bytes);
}
RETORT_DEVICE void bulkCopy(void *dest, const void *source, uint32_t bytes, uint64_t *bar) {
  if (RETORT_ARCH < 900)
    trap();
  retort_sim_bulk(dest, source, bytes, bar);
}
RETORT_DEVICE void bulkCopyStream(void *dest, const void *source, uint32_t bytes, uint64_t *bar) {
  bulkCopy(dest, source, bytes, bar);
}
RETORT_DEVICE void fenceAsyncShared() { retort_sim_fence_async(); }

RETORT_DEVICE void mmaF16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  retort_sim_mma(d, a, b, 0);
}
RETORT_DEVICE void mmaBf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  retort_sim_mma(d, a, b, 1);
}
RETORT_DEVICE void mmaS8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  retort_sim_mma(d, a, b, 2);
}
// Shared addresses are the arena's offsets here; the rest is as in PTX.
RETORT_DEVICE uint64_t wgmmaColumns(const void *columns) {
  const uint64_t at = uint64_t(static_cast<const uint8_t *>(columns) - sharedArena());
  return at >> 4 | uint64_t(1) << 16 | uint64_t(64) << 32 | uint64_t(1) << 62;
}
RETORT_DEVICE void wgmmaF16(float (&d)[8][4], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
  if (!kHasWgmma)
    trap();
  retort_sim_wgmma(&d[0][0], a, b, accumulate);
}
RETORT_DEVICE void wgmmaFence() { retort_sim_wgmma_fence(); }
RETORT_DEVICE void wgmmaCommit() { retort_sim_wgmma_commit(); }
template <int Pending> RETORT_DEVICE void wgmmaWait() { retort_sim_wgmma_wait(Pending); }
RETORT_DEVICE void ldmatrixX4(uint32_t (&d)[4], const void *row) {
  retort_sim_ldmatrix(d, row, 4, 0);
}
RETORT_DEVICE void ldmatrixX4Trans(uint32_t (&d)[4], const void *row) {
  retort_sim_ldmatrix(d, row, 4, 1);
}

RETORT_DEVICE uint32_t packHalf2(float low, float high) {
  return floatToHalfBits(low) | uint32_t(floatToHalfBits(high)) << 16;
}
RETORT_DEVICE uint32_t packHalf2Finite(float low, float high) {
  constexpr float kMost = 65504; // comparisons keep a NaN
  low = low > kMost ? kMost : low < -kMost ? -kMost : low;
  high = high > kMost ? kMost : high < -kMost ? -kMost : high;
  return packHalf2(low, high);
}
RETORT_DEVICE uint32_t packBf162(float low, float high) {
  return floatToBf16Bits(low) | uint32_t(floatToBf16Bits(high)) << 16;
}
RETORT_DEVICE f32x2 unpackHalf2(uint32_t pair) {
  return f32x2{halfBitsToFloat(uint16_t(pair)), halfBitsToFloat(uint16_t(pair >> 16))};
}
RETORT_DEVICE f32x2 unpackBf162(uint32_t pair) {
  return f32x2{asFloat(pair << 16), asFloat(pair & 0xffff0000u)};
}
// A float has more than twice a half's digits, so rounding first to float does not change a sum or
// a product.
RETORT_DEVICE uint32_t subHalf2(uint32_t a, uint32_t b) {
  const f32x2 r = unpackHalf2(a) - unpackHalf2(b);
  return packHalf2(r.x, r.y);
}
RETORT_DEVICE uint32_t mulHalf2(uint32_t a, uint32_t b) {
  const f32x2 r = unpackHalf2(a) * unpackHalf2(b);
  return packHalf2(r.x, r.y);
}
// Here it may, by a half's last place, when the float lands on a tie: the products are exact, their
// sums nearly always.
RETORT_DEVICE uint32_t fmaHalf2(uint32_t a, uint32_t b, uint32_t c) {
  const f32x2 x = unpackHalf2(a), y = unpackHalf2(b), z = unpackHalf2(c);
  return packHalf2(__builtin_fmaf(x.x, y.x, z.x), __builtin_fmaf(x.y, y.y, z.y));
}
template <int Table> RETORT_DEVICE uint32_t lop3(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t d = 0;
  for (int i = 0; i < 8; ++i)
    if (Table >> i & 1)
      d |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
  return d;
}
RETORT_DEVICE uint32_t prmt(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t bytes = uint64_t(b) << 32 | a;
  uint32_t d = 0;
  for (int i = 0; i < 4; ++i)
    d |= uint32_t(bytes >> (8 * (selector >> (4 * i) & 7)) & 0xff) << (8 * i);
  return d;
}
template <int Pair> RETORT_DEVICE uint32_t e4m3ToHalf2(uint32_t word) {
  return mulHalf2(e4m3ToSmallHalf2<Pair>(word), 0x5c005c00u); // 256
}
RETORT_DEVICE uint16_t packE4m3(float low, float high) {
  uint16_t packed = 0;
  for (int i = 0; i < 2; ++i) {
    const float x = i ? high : low;
    float magnitude = __builtin_fabsf(x);
    magnitude = magnitude < 448.0f ? magnitude : 448.0f;
    int exponent = int(asBits(magnitude) >> 23) - 127;
    exponent = exponent < -6 ? -6 : exponent;
    const float scaled = __builtin_rintf(magnitude * asFloat(uint32_t(127 + 3 - exponent) << 23));
    // The implicit bit, 8, adds one to the exponent's field; a rounding up to 16 adds another.
    const uint32_t code = uint32_t(scaled) + uint32_t(exponent + 6) * 8;
    packed |= uint16_t((code | (asBits(x) >> 31 << 7)) << (8 * i));
  }
  return packed;
}

RETORT_DEVICE float exp2Approx(float x) { return __builtin_exp2f(x); }
RETORT_DEVICE float expApprox(float x) { return __builtin_exp2f(x * 1.4426950408889634f); }
RETORT_DEVICE float rsqrtApprox(float x) { return 1.0f / __builtin_sqrtf(x); }
RETORT_DEVICE float rcpApprox(float x) { return 1.0f / x; }
RETORT_DEVICE float fmaF32(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
RETORT_DEVICE void sinCos(float x, float &sine, float &cosine) {
  sine = __builtin_sinf(x);
  cosine = __builtin_cosf(x);
}

RETORT_DEVICE void pdlWait() {
  if (RETORT_ARCH >= 900)
    retort_sim_pdl_wait();
}
RETORT_DEVICE void pdlLaunchDependents() {
  if (RETORT_ARCH >= 900)
    retort_sim_pdl_launch();
}
RETORT_DEVICE void countWait() { retort_sim_count_wait(); }
RETORT_DEVICE void countTile() { retort_sim_count_tile(); }

} // namespace retort::cuda
