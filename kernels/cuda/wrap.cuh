// The machine layer: everything of a GPU that device code may use.
// SPDX-License-Identifier: Apache-2.0
//
// Device code contains no PTX, no CUDA intrinsic and no built-in variable; it calls what is
// declared here. wrap_gpu.cuh gives each function its PTX (nvcc, sm_80 and later),
// kernels/sim/wrap_sim.h its meaning on the simulated device (any C++20 host compiler,
// -DRETORT_SIM). The declarations are the reference for both.
//
// Words: a lane is a thread of a warp of 32. "All lanes" means that the 32 lanes of the warp call
// the function together; "all threads" means every thread of the CTA. Anything else may be called
// by any thread alone. Pointers are generic; "shared" says that it must point into sharedArena(),
// "global" that it must not.
#pragma once
#include <stddef.h>
#include <stdint.h>

#if defined(RETORT_SIM)
#include "kernels/sim/sim_types.h"
#else
// Inlined into its caller.
#define RETORT_DEVICE __device__ __forceinline__
// A function of its own, so that phases of equal shape share code and a profile names them.
#define RETORT_PHASE __device__ __noinline__
// RETORT_KERNEL(name, threads, ctasPerSm, parameters...) { body }: an entry that the driver finds
// by name.
#define RETORT_KERNEL(name, threads, ctasPerSm, ...)                                               \
  extern "C" __global__ void __launch_bounds__(threads, ctasPerSm) name(__VA_ARGS__)
// A table in constant memory, at namespace scope: RETORT_CONSTANT float table[3] = {...};
#define RETORT_CONSTANT __constant__
#ifdef __CUDA_ARCH__
#define RETORT_ARCH __CUDA_ARCH__
#else
#define RETORT_ARCH 1200 // nvcc's pass over host code: nothing here runs
#endif
// Code for sm_90a, which may use what only 9.0 has.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define RETORT_ARCH_90A 1
#else
#define RETORT_ARCH_90A 0
#endif
namespace retort::cuda {
using u32x2 = uint2; // .x .y; 8-byte aligned: one 64-bit access
using u32x4 = uint4; // .x .y .z .w; 16-byte aligned: one 128-bit access
using f32x2 = float2;
using f32x4 = float4;
} // namespace retort::cuda
#endif
// RETORT_ARCH: the architecture that is compiled for, 800, 860, 890, 900, 1000, 1200; also on the
// simulator.

namespace retort::cuda {

//===- Types -----------------------------------------------------------------===//

RETORT_DEVICE float halfBitsToFloat(uint16_t bits);  // exact
RETORT_DEVICE uint16_t floatToHalfBits(float value); // to nearest even
RETORT_DEVICE float bf16BitsToFloat(uint16_t bits);
RETORT_DEVICE uint16_t floatToBf16Bits(float value);

/// IEEE half and bfloat16: storage and conversion only. Arithmetic is on packed pairs, below.
struct half {
  uint16_t bits;
  half() = default;
  RETORT_DEVICE explicit half(float value) : bits(floatToHalfBits(value)) {}
  RETORT_DEVICE explicit operator float() const { return halfBitsToFloat(bits); }
};
struct bf16 {
  uint16_t bits;
  bf16() = default;
  RETORT_DEVICE explicit bf16(float value) : bits(floatToBf16Bits(value)) {}
  RETORT_DEVICE explicit operator float() const { return bf16BitsToFloat(bits); }
};
/// fp8 e4m3 (arXiv:2209.05433), saturating: what is beyond 448 becomes 448. Read in fours, by
/// e4m3ToHalf2.
struct e4m3 {
  uint8_t bits;
  e4m3() = default;
  RETORT_DEVICE explicit e4m3(float value);
};

RETORT_DEVICE u32x2 makeU32x2(uint32_t x, uint32_t y);
RETORT_DEVICE u32x4 makeU32x4(uint32_t x, uint32_t y, uint32_t z, uint32_t w);
RETORT_DEVICE f32x2 makeF32x2(float x, float y);
RETORT_DEVICE f32x4 makeF32x4(float x, float y, float z, float w);
RETORT_DEVICE float asFloat(uint32_t bits);
RETORT_DEVICE uint32_t asBits(float value);

//===- Where am I ------------------------------------------------------------===//

RETORT_DEVICE uint32_t threadIndex(); // in the CTA
RETORT_DEVICE uint32_t threadCount();
RETORT_DEVICE uint32_t laneIndex(); // threadIndex() % 32
RETORT_DEVICE uint32_t warpIndex(); // threadIndex() / 32
RETORT_DEVICE uint32_t ctaIndex();  // in the grid; grids are one-dimensional, CTAs too
RETORT_DEVICE uint32_t ctaCount();

/// The CTA's dynamic shared memory, 1024-byte aligned; the only shared memory there is.
/// Uninitialised at the start.
RETORT_DEVICE uint8_t *sharedArena();

/// Ends the launch with an error (a bug was found).
RETORT_DEVICE void trap();

//===- Barriers and warps ----------------------------------------------------===//

/// All threads: waits for all; what each wrote before, all may read after.
RETORT_DEVICE void ctaSync();
/// `threads` threads (whole warps) meet at barrier `id`, 1 to 15. arrive does not wait, sync does.
RETORT_DEVICE void barSync(int id, int threads);
RETORT_DEVICE void barArrive(int id, int threads);
/// All lanes: waits for all lanes; orders their accesses among them.
RETORT_DEVICE void warpSync();
/// All lanes: the value of lane `source` (each lane may name another), of lane ^ mask. T is any
/// 4-byte type.
template <class T> RETORT_DEVICE T shfl(T value, int source);
template <class T> RETORT_DEVICE T shflXor(T value, int mask);
/// All lanes: bit l is lane l's predicate.
RETORT_DEVICE uint32_t warpBallot(bool predicate);
/// All lanes: sum or maximum over groups of Width neighbouring lanes (a power of two), the same
/// bits in each lane.
template <int Width = 32> RETORT_DEVICE float warpSum(float value);
template <int Width = 32> RETORT_DEVICE float warpMax(float value);

//===- Loads and stores ------------------------------------------------------===//
// A plain *p is ordered by barriers only. Vector types make one access each.

/// Global, never written while the kernel runs (weights): through the read-only path, not kept in
/// L1. Aligned to its size.
RETORT_DEVICE uint32_t ldGlobalNc32(const void *source);
RETORT_DEVICE u32x4 ldGlobalNc128(const void *source);
/// Global, written by another CTA before the last grid barrier or launch: not through the read-only
/// path, not kept in L1.
RETORT_DEVICE uint32_t ldGlobal32(const void *source);
RETORT_DEVICE u32x2 ldGlobal64(const void *source);
RETORT_DEVICE u32x4 ldGlobal128(const void *source);
RETORT_DEVICE void stGlobal32(void *dest, uint32_t value);
RETORT_DEVICE void stGlobal64(void *dest, u32x2 value);
RETORT_DEVICE void stGlobal128(void *dest, u32x4 value);
/// 16 bytes of shared memory in one request, 16-byte aligned: a compiler may take a plain load
/// apart.
RETORT_DEVICE u32x4 ldShared128(const void *source);
/// Brings the 128-byte line, or `bytes` bytes (a multiple of 16), to L2. A hint; bulk needs sm_90
/// and is nothing before.
RETORT_DEVICE void prefetchL2(const void *source);
RETORT_DEVICE void prefetchL2Bulk(const void *source, uint32_t bytes);

// Synchronisation between CTAs (Gpu) and between devices and the host (Sys). A release makes what
// this thread wrote, or read after a barrier from threads that wrote, visible to whoever acquires
// the value at a scope that includes both.
RETORT_DEVICE uint32_t loadAcquireGpu(const uint32_t *source);
RETORT_DEVICE uint32_t loadAcquireSys(const uint32_t *source);
RETORT_DEVICE uint32_t loadRelaxedGpu(const uint32_t *source);
RETORT_DEVICE uint32_t loadRelaxedSys(const uint32_t *source);
RETORT_DEVICE void storeReleaseGpu(uint32_t *dest, uint32_t value);
RETORT_DEVICE void storeReleaseSys(uint32_t *dest, uint32_t value);
RETORT_DEVICE void storeRelaxedGpu(uint32_t *dest, uint32_t value);
RETORT_DEVICE void storeRelaxedSys(uint32_t *dest, uint32_t value);
/// Data pushed to a peer beside its flags, relaxed at system scope: 8 bytes that are never torn; 16
/// that may be torn between the two halves.
RETORT_DEVICE u32x2 loadRelaxedSys64(const void *source);
RETORT_DEVICE u32x4 loadRelaxedSys128(const void *source);
RETORT_DEVICE void storeRelaxedSys64(void *dest, u32x2 value);
RETORT_DEVICE void storeRelaxedSys128(void *dest, u32x4 value);
/// Adds and returns what was there before. Relaxed orders nothing, Release and AcqRel as above.
RETORT_DEVICE uint32_t atomicAddRelaxedGpu(uint32_t *dest, uint32_t value);
RETORT_DEVICE uint32_t atomicAddAcqRelGpu(uint32_t *dest, uint32_t value);
/// Adds without returning.
RETORT_DEVICE void redAddReleaseSys(uint32_t *dest, uint32_t value);
RETORT_DEVICE void redAddRelaxedGpu(uint32_t *dest, uint32_t value);
/// Maximum of unsigned 64-bit values (arg-max: order-preserving bits of the score above the
/// complement of the index).
RETORT_DEVICE void redMaxRelaxedGpu(uint64_t *dest, uint64_t value);
/// In shared memory, relaxed; returns what was there before.
RETORT_DEVICE uint32_t atomicAddShared(uint32_t *dest, uint32_t value);
/// Orders this thread's accesses before it before those after it, as seen by the device, by
/// everybody.
RETORT_DEVICE void fenceGpu();
RETORT_DEVICE void fenceSys();
/// In a loop that waits for memory to change: gives way a moment.
RETORT_DEVICE void spinPause();

//===- Asynchronous copies to shared memory ----------------------------------===//

/// 16 bytes, global -> shared, both 16-byte aligned, past L1. Zero: with `valid` false writes zeros
/// and reads nothing. Readable by this thread after cpAsyncWait, by others after a barrier that
/// follows it.
RETORT_DEVICE void cpAsync16(void *dest, const void *source);
RETORT_DEVICE void cpAsync16Zero(void *dest, const void *source, bool valid);
/// Ends a group of this thread's copies; waits until at most Pending of its latest groups are
/// unfinished.
RETORT_DEVICE void cpAsyncCommit();
template <int Pending> RETORT_DEVICE void cpAsyncWait();

/// An mbarrier in shared memory, 8-byte aligned. init by one thread, then fenceMbarInit and
/// ctaSync. A phase ends when `arrivals` arrivals and all expected bytes have come; mbarWait waits
/// for the end of the phase of parity `parity` (0 for the first), acquiring what was released by
/// arrivals and brought by copies.
RETORT_DEVICE void mbarInit(uint64_t *bar, uint32_t arrivals);
RETORT_DEVICE void fenceMbarInit();
RETORT_DEVICE void mbarArrive(uint64_t *bar);
RETORT_DEVICE bool mbarTryWait(uint64_t *bar, uint32_t parity);
RETORT_DEVICE void mbarWait(uint64_t *bar, uint32_t parity);
/// sm_90: one arrival that also announces `bytes` bytes of bulk copies.
RETORT_DEVICE void mbarArriveExpect(uint64_t *bar, uint32_t bytes);
/// sm_90 (kHasBulkCopy): `bytes` bytes, a multiple of 16, 16-byte aligned, global -> shared, by one
/// thread; counts them at `bar`. Stream: the lines are the first to leave L2 (weights, read once a
/// step). Traps before sm_90.
constexpr bool kHasBulkCopy = RETORT_ARCH >= 900;
RETORT_DEVICE void bulkCopy(void *dest, const void *source, uint32_t bytes, uint64_t *bar);
RETORT_DEVICE void bulkCopyStream(void *dest, const void *source, uint32_t bytes, uint64_t *bar);
/// Before a bulk copy overwrites shared memory that threads read or wrote, or wgmma reads what they
/// wrote: each orders its accesses before those, then a barrier, then the copy or the product.
RETORT_DEVICE void fenceAsyncShared();

//===- Tensor cores ----------------------------------------------------------===//
// Fragments as in the PTX manual. With g = lane / 4 and t = lane % 4, f16 and bf16 m16n8k16:
//   a[0] row g, columns 2t and 2t+1       a[1] row g+8, the same
//   a[2] row g, columns 2t+8 and 2t+9     a[3] row g+8, the same
//
//   b[0] rows 2t and 2t+1 of column g     b[1] rows 2t+8 and 2t+9 of column g
//
//   d[0] row g, column 2t                 d[1] row g, column 2t+1
//   d[2] row g+8, column 2t               d[3] row g+8, column 2t+1
//
// s8 m16n8k32: the same, with four bytes in the place of two halves: a[0] row g, columns 4t to
// 4t+3, a[2] columns 4t+16 to 4t+19.

/// All lanes: d += a b.
RETORT_DEVICE void mmaF16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
RETORT_DEVICE void mmaBf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);
RETORT_DEVICE void mmaS8(int32_t (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

/// sm_90a (kHasWgmma): products of a warpgroup, four warps from a multiple of four on, whose lanes
/// all make the same calls. Each warp has 16 of 64 rows of A and D, in fragments as above; d[n] is
/// that of columns 8 n to 8 n + 7 of B, which all share.
constexpr bool kHasWgmma = RETORT_ARCH_90A;
/// The 64-bit descriptor of B: 64 columns of B, each 64 values of k in 128 bytes of shared memory,
/// 1024-byte aligned. The j-th 16 bytes of column r lie at j ^ (r % 8) of its 128 (K-major,
/// 128-byte swizzle). Plus 2 s: the same from value 16 s of k on.
RETORT_DEVICE uint64_t wgmmaColumns(const void *columns);
/// d (+)= a b, m64n64k16, begun: until a wgmmaWait has seen its group finished, d and a may not be
/// touched and B not be written.
RETORT_DEVICE void wgmmaF16(float (&d)[8][4], const uint32_t (&a)[4], uint64_t b, bool accumulate);
/// Before the first product, and between other accesses to registers of d or a and a product that
/// has them.
RETORT_DEVICE void wgmmaFence();
/// Ends a group of products; waits until at most Pending of the latest groups are unfinished.
RETORT_DEVICE void wgmmaCommit();
template <int Pending> RETORT_DEVICE void wgmmaWait();

/// All lanes: 8x8 matrices of 16-bit values from shared memory. Lane l passes the address of row l
/// % 8 (16 bytes, aligned) of matrix l / 8. Lane l gets columns 2(l%4), +1 of row l / 4 of each matrix; Trans: of its
/// transpose.
RETORT_DEVICE void ldmatrixX4(uint32_t (&d)[4], const void *row);
RETORT_DEVICE void ldmatrixX4Trans(uint32_t (&d)[4], const void *row);

//===- Packed arithmetic and dequantisation ----------------------------------===//
// Pairs in a u32: the low half is the first element.

RETORT_DEVICE uint32_t packHalf2(float low, float high);
RETORT_DEVICE uint32_t packHalf2Finite(float low, float high); // at most 65504 in magnitude, or NaN
RETORT_DEVICE uint32_t packBf162(float low, float high);
RETORT_DEVICE f32x2 unpackHalf2(uint32_t pair);
RETORT_DEVICE f32x2 unpackBf162(uint32_t pair);
RETORT_DEVICE uint32_t subHalf2(uint32_t a, uint32_t b);
RETORT_DEVICE uint32_t mulHalf2(uint32_t a, uint32_t b);
RETORT_DEVICE uint32_t fmaHalf2(uint32_t a, uint32_t b, uint32_t c); // a b + c, rounded once
/// Any function of three bits at each position; Table is its value for a = 0xf0, b = 0xcc, c =
/// 0xaa.
template <int Table> RETORT_DEVICE uint32_t lop3(uint32_t a, uint32_t b, uint32_t c);
/// Byte i of the result is byte (selector >> 4i) & 7 of b:a (a holds bytes 0 to 3).
RETORT_DEVICE uint32_t prmt(uint32_t a, uint32_t b, uint32_t selector);

/// Nibbles 0 and 4 of `word`, as unsigned values less 8, exact, as the halves of a pair.
RETORT_DEVICE uint32_t nibblesToHalf2(uint32_t word);
/// fp8 e4m3 bytes 2i and 2i + 1 of `word`, exact, as a pair (a NaN becomes 480, or from sm_89 on
/// stays one). Small: of their values / 256, by the same few instructions on all architectures.
template <int Pair> RETORT_DEVICE uint32_t e4m3ToHalf2(uint32_t word);
template <int Pair> RETORT_DEVICE uint32_t e4m3ToSmallHalf2(uint32_t word);
/// Two floats as e4m3 bytes, to nearest even, at most 448 in magnitude; `low` in the low byte.
RETORT_DEVICE uint16_t packE4m3(float low, float high);

//===- Fast functions --------------------------------------------------------===//

RETORT_DEVICE float exp2Approx(float x); // relative error 2^-22
RETORT_DEVICE float expApprox(float x);  // e^x by exp2Approx
RETORT_DEVICE float rsqrtApprox(float x);
RETORT_DEVICE float rcpApprox(float x);
RETORT_DEVICE float fmaF32(float a, float b, float c);
/// Sine and cosine to float accuracy, any finite argument.
RETORT_DEVICE void sinCos(float x, float &sine, float &cosine);

//===- The grid --------------------------------------------------------------===//

/// The grid barrier of a cooperative launch, in two parts so that loads that depend on nothing may
/// go out between them. `sync` is one word, zero before its first use and never again: the top bit
/// flips each time (as cooperative groups do it). All threads; gridArrive releases what all threads
/// of the CTA wrote, gridWait acquires what all CTAs wrote.
RETORT_DEVICE uint32_t gridArrive(uint32_t *sync);
RETORT_DEVICE void gridWait(const uint32_t *sync, uint32_t ticket);
RETORT_DEVICE void gridSync(uint32_t *sync);

/// Programmatic dependent launch. pdlWait: until all launches that this one follows have finished
/// and their writes are visible; before it, only memory that none of them writes may be read.
/// pdlLaunchDependents: the next launch may start (once all CTAs have said so or ended). Before
/// sm_90, or launched without the attribute, neither does anything.
RETORT_DEVICE void pdlWait();
RETORT_DEVICE void pdlLaunchDependents();

/// Counts a wait of the step in the simulator's report (gridWait and pdlWait do it themselves), or a
/// tile of a kernel. Nothing on a GPU.
RETORT_DEVICE void countWait();
RETORT_DEVICE void countTile();

} // namespace retort::cuda

#if defined(RETORT_SIM)
#include "kernels/sim/wrap_sim.h"
#else
#include "kernels/cuda/wrap_gpu.cuh"
#endif

namespace retort::cuda {

//===- The same on both ------------------------------------------------------===//

template <int Width> RETORT_DEVICE float warpSum(float value) {
#pragma unroll
  for (int mask = Width / 2; mask > 0; mask /= 2)
    value += shflXor(value, mask);
  return value;
}
template <int Width> RETORT_DEVICE float warpMax(float value) {
#pragma unroll
  for (int mask = Width / 2; mask > 0; mask /= 2) {
    const float other = shflXor(value, mask);
    value = value > other ? value : other;
  }
  return value;
}

// 0x6400 is 1024 as a half, whose last place is 1: 0x6400 | n is 1024 + n.
RETORT_DEVICE uint32_t nibblesToHalf2(uint32_t word) {
  // (word & mask) | 0x64006400 in one instruction: table (0xf0 & 0xcc) | 0xaa.
  return subHalf2(lop3<0xea>(word, 0x000f000fu, 0x64006400u), 0x64086408u);
}
// Sign, exponent and mantissa go to their places in a half, whose exponent's bias is 8 more.
template <int Pair> RETORT_DEVICE uint32_t e4m3ToSmallHalf2(uint32_t word) {
  static_assert(Pair == 0 || Pair == 1);
  const uint32_t spread = prmt(word, 0, Pair ? 0x3424u : 0x1404u); // bytes in the high halves
  return (spread & 0x80008000u) | ((spread & 0x7f007f00u) >> 1);
}

RETORT_DEVICE e4m3::e4m3(float value) : bits(uint8_t(packE4m3(value, 0))) {}

RETORT_DEVICE void mbarWait(uint64_t *bar, uint32_t parity) {
  while (!mbarTryWait(bar, parity))
    spinPause();
}

RETORT_DEVICE uint32_t gridArrive(uint32_t *sync) {
  ctaSync();
  if (threadIndex() != 0)
    return 0;
  // The CTAs' additions sum to 2^31, so the last one flips the top bit and leaves the low bits as
  // they were.
  const uint32_t mine = ctaIndex() == 0 ? 0x80000000u - (ctaCount() - 1) : 1u;
  return atomicAddAcqRelGpu(sync, mine);
}
RETORT_DEVICE void gridWait(const uint32_t *sync, uint32_t ticket) {
  if (threadIndex() == 0) {
    countWait();
    while (((loadAcquireGpu(sync) ^ ticket) & 0x80000000u) == 0)
      spinPause();
  }
  ctaSync();
}
RETORT_DEVICE void gridSync(uint32_t *sync) { gridWait(sync, gridArrive(sync)); }

} // namespace retort::cuda
