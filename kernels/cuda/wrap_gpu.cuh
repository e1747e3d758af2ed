// wrap.cuh's declarations on a GPU: PTX, sm_80 and later. SPDX-License-Identifier: Apache-2.0
#pragma once
namespace retort::cuda {

RETORT_DEVICE float halfBitsToFloat(uint16_t bits) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(bits));
  return f;
}
RETORT_DEVICE uint16_t floatToHalfBits(float value) {
  uint16_t h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(value));
  return h;
}
RETORT_DEVICE float bf16BitsToFloat(uint16_t bits) { return __uint_as_float(uint32_t(bits) << 16); }
RETORT_DEVICE uint16_t floatToBf16Bits(float value) {
  uint16_t h;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(value));
  return h;
}
RETORT_DEVICE u32x2 makeU32x2(uint32_t x, uint32_t y) { return make_uint2(x, y); }
RETORT_DEVICE u32x4 makeU32x4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) {
  return make_uint4(x, y, z, w);
}
RETORT_DEVICE f32x2 makeF32x2(float x, float y) { return make_float2(x, y); }
RETORT_DEVICE f32x4 makeF32x4(float x, float y, float z, float w) {
  return make_float4(x, y, z, w);
}
RETORT_DEVICE float asFloat(uint32_t bits) { return __uint_as_float(bits); }
RETORT_DEVICE uint32_t asBits(float value) { return __float_as_uint(value); }

//===- Where am I ------------------------------------------------------------===//

RETORT_DEVICE uint32_t threadIndex() { return threadIdx.x; }
RETORT_DEVICE uint32_t threadCount() { return blockDim.x; }
RETORT_DEVICE uint32_t laneIndex() { return threadIdx.x % 32; }
RETORT_DEVICE uint32_t warpIndex() { return threadIdx.x / 32; }
RETORT_DEVICE uint32_t ctaIndex() { return blockIdx.x; }
RETORT_DEVICE uint32_t ctaCount() { return gridDim.x; }

extern __shared__ __align__(1024) uint8_t retort_shared_arena[];
RETORT_DEVICE uint8_t *sharedArena() { return retort_shared_arena; }
RETORT_DEVICE uint32_t sharedAddress(const void *shared) {
  return uint32_t(__cvta_generic_to_shared(shared));
}

RETORT_DEVICE void trap() { asm volatile("trap;"); }

//===- Barriers and warps ----------------------------------------------------===//

RETORT_DEVICE void ctaSync() { __syncthreads(); }
RETORT_DEVICE void barSync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
RETORT_DEVICE void barArrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
RETORT_DEVICE void warpSync() { __syncwarp(); }
template <class T> RETORT_DEVICE T shfl(T value, int source) {
  return __shfl_sync(0xffffffffu, value, source);
}
template <class T> RETORT_DEVICE T shflXor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
RETORT_DEVICE uint32_t warpBallot(bool predicate) { return __ballot_sync(0xffffffffu, predicate); }

//===- Loads and stores ------------------------------------------------------===//

RETORT_DEVICE uint32_t ldGlobalNc32(const void *source) {
  uint32_t v;
  asm volatile("ld.global.nc.L1::no_allocate.u32 %0, [%1];" : "=r"(v) : "l"(source));
  return v;
}
RETORT_DEVICE u32x4 ldGlobalNc128(const void *source) {
  u32x4 v;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(source));
  return v;
}
RETORT_DEVICE uint32_t ldGlobal32(const void *source) {
  uint32_t v;
  asm volatile("ld.global.cg.u32 %0, [%1];" : "=r"(v) : "l"(source) : "memory");
  return v;
}
RETORT_DEVICE u32x2 ldGlobal64(const void *source) {
  u32x2 v;
  asm volatile("ld.global.cg.v2.u32 {%0, %1}, [%2];"
               : "=r"(v.x), "=r"(v.y)
               : "l"(source)
               : "memory");
  return v;
}
RETORT_DEVICE u32x4 ldGlobal128(const void *source) {
  u32x4 v;
  asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(source)
               : "memory");
  return v;
}
RETORT_DEVICE void stGlobal32(void *dest, uint32_t value) {
  asm volatile("st.global.u32 [%0], %1;" ::"l"(dest), "r"(value) : "memory");
}
RETORT_DEVICE void stGlobal64(void *dest, u32x2 value) {
  asm volatile("st.global.v2.u32 [%0], {%1, %2};" ::"l"(dest), "r"(value.x), "r"(value.y)
               : "memory");
}
RETORT_DEVICE void stGlobal128(void *dest, u32x4 value) {
  asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(dest), "r"(value.x), "r"(value.y),
               "r"(value.z), "r"(value.w)
               : "memory");
}
RETORT_DEVICE u32x4 ldShared128(const void *source) {
  u32x4 v;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(sharedAddress(source))
               : "memory");
  return v;
}
RETORT_DEVICE void prefetchL2(const void *source) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(source));
}
RETORT_DEVICE void prefetchL2Bulk(const void *source, uint32_t bytes) {
#if RETORT_ARCH >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(source), "r"(bytes));
#endif
}

RETORT_DEVICE uint32_t loadAcquireGpu(const uint32_t *source) {
  uint32_t v;
  asm volatile("ld.acquire.gpu.u32 %0, [%1];" : "=r"(v) : "l"(source) : "memory");
  return v;
}
RETORT_DEVICE uint32_t loadAcquireSys(const uint32_t *source) {
  uint32_t v;
  asm volatile("ld.acquire.sys.u32 %0, [%1];" : "=r"(v) : "l"(source) : "memory");
  return v;
}
RETORT_DEVICE uint32_t loadRelaxedGpu(const uint32_t *source) {
  uint32_t v;
  asm volatile("ld.relaxed.gpu.u32 %0, [%1];" : "=r"(v) : "l"(source) : "memory");
  return v;
}
RETORT_DEVICE uint32_t loadRelaxedSys(const uint32_t *source) {
  uint32_t v;
  asm volatile("ld.relaxed.sys.u32 %0, [%1];" : "=r"(v) : "l"(source) : "memory");
  return v;
}
RETORT_DEVICE void storeReleaseGpu(uint32_t *dest, uint32_t value) {
  asm volatile("st.release.gpu.u32 [%0], %1;" ::"l"(dest), "r"(value) : "memory");
}
RETORT_DEVICE void storeReleaseSys(uint32_t *dest, uint32_t value) {
  asm volatile("st.release.sys.u32 [%0], %1;" ::"l"(dest), "r"(value) : "memory");
}
RETORT_DEVICE void storeRelaxedGpu(uint32_t *dest, uint32_t value) {
  asm volatile("st.relaxed.gpu.u32 [%0], %1;" ::"l"(dest), "r"(value) : "memory");
}
RETORT_DEVICE void storeRelaxedSys(uint32_t *dest, uint32_t value) {
  asm volatile("st.relaxed.sys.u32 [%0], %1;" ::"l"(dest), "r"(value) : "memory");
}
// In PTX a vector access is one of each element: 64-bit elements keep a value and its flag
// together.
RETORT_DEVICE u32x2 loadRelaxedSys64(const void *source) {
  uint64_t v;
  asm volatile("ld.relaxed.sys.b64 %0, [%1];" : "=l"(v) : "l"(source) : "memory");
  return makeU32x2(uint32_t(v), uint32_t(v >> 32));
}
RETORT_DEVICE u32x4 loadRelaxedSys128(const void *source) {
  uint64_t a, b;
  asm volatile("ld.relaxed.sys.v2.b64 {%0, %1}, [%2];" : "=l"(a), "=l"(b) : "l"(source) : "memory");
  return makeU32x4(uint32_t(a), uint32_t(a >> 32), uint32_t(b), uint32_t(b >> 32));
}
RETORT_DEVICE void storeRelaxedSys64(void *dest, u32x2 value) {
  asm volatile("st.relaxed.sys.b64 [%0], %1;" ::"l"(dest), "l"(uint64_t(value.y) << 32 | value.x)
               : "memory");
}
RETORT_DEVICE void storeRelaxedSys128(void *dest, u32x4 value) {
  asm volatile("st.relaxed.sys.v2.b64 [%0], {%1, %2};" ::"l"(dest),
               "l"(uint64_t(value.y) << 32 | value.x), "l"(uint64_t(value.w) << 32 | value.z)
               : "memory");
}
RETORT_DEVICE uint32_t atomicAddRelaxedGpu(uint32_t *dest, uint32_t value) {
  uint32_t old;
  asm volatile("atom.add.relaxed.gpu.u32 %0, [%1], %2;"
               : "=r"(old)
               : "l"(dest), "r"(value)
               : "memory");
  return old;
}
RETORT_DEVICE uint32_t atomicAddAcqRelGpu(uint32_t *dest, uint32_t value) {
  uint32_t old;
  asm volatile("atom.add.acq_rel.gpu.u32 %0, [%1], %2;"
               : "=r"(old)
               : "l"(dest), "r"(value)
               : "memory");
  return old;
}
RETORT_DEVICE void redAddReleaseSys(uint32_t *dest, uint32_t value) {
  asm volatile("red.release.sys.global.add.u32 [%0], %1;" ::"l"(dest), "r"(value) : "memory");
}
RETORT_DEVICE void redAddRelaxedGpu(uint32_t *dest, uint32_t value) {
  asm volatile("red.relaxed.gpu.global.add.u32 [%0], %1;" ::"l"(dest), "r"(value) : "memory");
}
RETORT_DEVICE void redMaxRelaxedGpu(uint64_t *dest, uint64_t value) {
  asm volatile("red.relaxed.gpu.global.max.u64 [%0], %1;" ::"l"(dest), "l"(value) : "memory");
}
RETORT_DEVICE uint32_t atomicAddShared(uint32_t *dest, uint32_t value) {
  uint32_t old;
  asm volatile("atom.add.relaxed.cta.shared.u32 %0, [%1], %2;"
               : "=r"(old)
               : "r"(sharedAddress(dest)), "r"(value)
               : "memory");
  return old;
}
RETORT_DEVICE void fenceGpu() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }
RETORT_DEVICE void fenceSys() { asm volatile("fence.acq_rel.sys;" ::: "memory"); }
RETORT_DEVICE void spinPause() { __nanosleep(20); }

//===- Asynchronous copies to shared memory ----------------------------------===//

RETORT_DEVICE void cpAsync16(void *dest, const void *source) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(sharedAddress(dest)),
               "l"(source)
               : "memory");
}
RETORT_DEVICE void cpAsync16Zero(void *dest, const void *source, bool valid) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(sharedAddress(dest)),
               "l"(source), "r"(valid ? 16 : 0)
               : "memory");
}
RETORT_DEVICE void cpAsyncCommit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int Pending> RETORT_DEVICE void cpAsyncWait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

RETORT_DEVICE void mbarInit(uint64_t *bar, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(sharedAddress(bar)), "r"(arrivals)
               : "memory");
}
RETORT_DEVICE void fenceMbarInit() {
#if RETORT_ARCH >= 900
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}
RETORT_DEVICE void mbarArrive(uint64_t *bar) {
  asm volatile(
      "{\n.reg .b64 state;\nmbarrier.arrive.shared.b64 state, [%0];\n}" ::"r"(sharedAddress(bar))
      : "memory");
}
RETORT_DEVICE bool mbarTryWait(uint64_t *bar, uint32_t parity) {
  uint32_t done;
#if RETORT_ARCH >= 900
  asm volatile(
      "{\n.reg .pred p;\nmbarrier.try_wait.parity.shared.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}"
      : "=r"(done)
      : "r"(sharedAddress(bar)), "r"(parity)
      : "memory");
#else
  asm volatile("{\n.reg .pred p;\nmbarrier.test_wait.parity.shared.b64 p, [%1], %2;\nselp.u32 %0, "
               "1, 0, p;\n}"
               : "=r"(done)
               : "r"(sharedAddress(bar)), "r"(parity)
               : "memory");
#endif
  return done != 0;
}
RETORT_DEVICE void mbarArriveExpect(uint64_t *bar, uint32_t bytes) {
#if RETORT_ARCH >= 900
  asm volatile(
      "{\n.reg .b64 state;\nmbarrier.arrive.expect_tx.shared.b64 state, [%0], %1;\n}" ::"r"(
          sharedAddress(bar)),
      "r"(bytes)
      : "memory");
#else
  trap();
#endif
}
RETORT_DEVICE void bulkCopy(void *dest, const void *source, uint32_t bytes, uint64_t *bar) {
#if RETORT_ARCH >= 900
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(sharedAddress(dest)),
      "l"(source), "r"(bytes), "r"(sharedAddress(bar))
      : "memory");
#else
  trap();
#endif
}
RETORT_DEVICE void bulkCopyStream(void *dest, const void *source, uint32_t bytes, uint64_t *bar) {
#if RETORT_ARCH >= 900
  uint64_t policy;
  asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
               "[%0], [%1], %2, [%3], "
               "%4;" ::"r"(sharedAddress(dest)),
               "l"(source), "r"(bytes), "r"(sharedAddress(bar)), "l"(policy)
               : "memory");
#else
  trap();
#endif
}
RETORT_DEVICE void fenceAsyncShared() {
#if RETORT_ARCH >= 900
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

//===- Tensor cores ----------------------------------------------------------===//

RETORT_DEVICE void mmaF16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, "
      "%9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
RETORT_DEVICE void mmaBf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, "
      "%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
RETORT_DEVICE void mmaS8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, "
      "%9}, {%0, %1, %2, %3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
RETORT_DEVICE uint64_t wgmmaColumns(const void *columns) {
  // Start / 16, a leading offset that this swizzle does not use, 1024 / 16 from eight columns to
  // the next, and the swizzle.
  return uint64_t(sharedAddress(columns) >> 4) | uint64_t(1) << 16 | uint64_t(64) << 32 |
         uint64_t(1) << 62;
}
RETORT_DEVICE void wgmmaF16(float (&d)[8][4], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
#if RETORT_ARCH_90A
  asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
               "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {"
               "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
               "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
               "{%32, %33, %34, %35}, %36, p, 1, 1, 0;\n}"
               : "+f"(d[0][0]), "+f"(d[0][1]), "+f"(d[0][2]), "+f"(d[0][3]), "+f"(d[1][0]),
                 "+f"(d[1][1]), "+f"(d[1][2]), "+f"(d[1][3]), "+f"(d[2][0]), "+f"(d[2][1]),
                 "+f"(d[2][2]), "+f"(d[2][3]), "+f"(d[3][0]), "+f"(d[3][1]), "+f"(d[3][2]),
                 "+f"(d[3][3]), "+f"(d[4][0]), "+f"(d[4][1]), "+f"(d[4][2]), "+f"(d[4][3]),
                 "+f"(d[5][0]), "+f"(d[5][1]), "+f"(d[5][2]), "+f"(d[5][3]), "+f"(d[6][0]),
                 "+f"(d[6][1]), "+f"(d[6][2]), "+f"(d[6][3]), "+f"(d[7][0]), "+f"(d[7][1]),
                 "+f"(d[7][2]), "+f"(d[7][3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(int(accumulate))
               : "memory");
#else
  trap();
#endif
}
RETORT_DEVICE void wgmmaFence() {
#if RETORT_ARCH_90A
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
RETORT_DEVICE void wgmmaCommit() {
#if RETORT_ARCH_90A
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
template <int Pending> RETORT_DEVICE void wgmmaWait() {
#if RETORT_ARCH_90A
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Pending) : "memory");
#endif
}
RETORT_DEVICE void ldmatrixX4(uint32_t (&d)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(sharedAddress(row))
               : "memory");
}
RETORT_DEVICE void ldmatrixX4Trans(uint32_t (&d)[4], const void *row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(sharedAddress(row))
               : "memory");
}

//===- Packed arithmetic -----------------------------------------------------===//

RETORT_DEVICE uint32_t packHalf2(float low, float high) {
  uint32_t d;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(high), "f"(low));
  return d;
}
RETORT_DEVICE uint32_t packHalf2Finite(float low, float high) {
  uint32_t d;
  asm("cvt.rn.satfinite.f16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(high), "f"(low));
  return d;
}
RETORT_DEVICE uint32_t packBf162(float low, float high) {
  uint32_t d;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(d) : "f"(high), "f"(low));
  return d;
}
RETORT_DEVICE f32x2 unpackHalf2(uint32_t pair) {
  f32x2 f;
  asm("{\n.reg .f16 l, h;\nmov.b32 {l, h}, %2;\ncvt.f32.f16 %0, l;\ncvt.f32.f16 %1, h;\n}"
      : "=f"(f.x), "=f"(f.y)
      : "r"(pair));
  return f;
}
RETORT_DEVICE f32x2 unpackBf162(uint32_t pair) {
  return make_float2(__uint_as_float(pair << 16), __uint_as_float(pair & 0xffff0000u));
}
RETORT_DEVICE uint32_t subHalf2(uint32_t a, uint32_t b) {
  uint32_t d;
  asm("sub.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}
RETORT_DEVICE uint32_t mulHalf2(uint32_t a, uint32_t b) {
  uint32_t d;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(d) : "r"(a), "r"(b));
  return d;
}
RETORT_DEVICE uint32_t fmaHalf2(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t d;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
template <int Table> RETORT_DEVICE uint32_t lop3(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t d;
  asm("lop3.b32 %0, %1, %2, %3, %4;" : "=r"(d) : "r"(a), "r"(b), "r"(c), "n"(Table));
  return d;
}
RETORT_DEVICE uint32_t prmt(uint32_t a, uint32_t b, uint32_t selector) {
  return __byte_perm(a, b, selector);
}
template <int Pair> RETORT_DEVICE uint32_t e4m3ToHalf2(uint32_t word) {
#if RETORT_ARCH >= 890
  uint32_t d;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(d) : "h"(uint16_t(word >> (16 * Pair))));
  return d;
#else
  return mulHalf2(e4m3ToSmallHalf2<Pair>(word), 0x5c005c00u); // 256
#endif
}
RETORT_DEVICE uint16_t packE4m3(float low, float high) {
#if RETORT_ARCH >= 890
  uint16_t d;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(d) : "f"(high), "f"(low));
  return d;
#else
  // Adding 2^k leaves a float whose last place is e4m3's: round to nearest even at that place, by
  // hand.
  uint16_t packed = 0;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float x = i ? high : low, magnitude = fminf(fabsf(x), 448.0f);
    const int exponent =
        max(int(__float_as_uint(magnitude) >> 23) - 127, -6); // of the result, before rounding
    const float scaled = rintf(magnitude * __uint_as_float(uint32_t(127 + 3 - exponent) << 23));
    const uint32_t code =
        uint32_t(scaled) + uint32_t(exponent + 6) * 8; // 8..16 carries into the exponent
    packed |= uint16_t((code | (__float_as_uint(x) >> 31 << 7)) << (8 * i));
  }
  return packed;
#endif
}

//===- Fast functions --------------------------------------------------------===//

RETORT_DEVICE float exp2Approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
RETORT_DEVICE float expApprox(float x) { return exp2Approx(x * 1.4426950408889634f); }
RETORT_DEVICE float rsqrtApprox(float x) {
  float y;
  asm("rsqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
RETORT_DEVICE float rcpApprox(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
RETORT_DEVICE float fmaF32(float a, float b, float c) { return __fmaf_rn(a, b, c); }
RETORT_DEVICE void sinCos(float x, float &sine, float &cosine) { sincosf(x, &sine, &cosine); }

//===- The grid --------------------------------------------------------------===//

RETORT_DEVICE void pdlWait() {
#if RETORT_ARCH >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
RETORT_DEVICE void pdlLaunchDependents() {
#if RETORT_ARCH >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
RETORT_DEVICE void countWait() {}
RETORT_DEVICE void countTile() {}

} // namespace retort::cuda
