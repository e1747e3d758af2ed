//===- CheckTest.cpp - Each detector and the mistake that it finds --------===//
// SPDX-License-Identifier: Apache-2.0
//
// For each detector a kernel that is wrong in just that way, and its twin that is right: the wrong
// one has that finding and no other, the right one none, with several seeds.
#include "test/unit/Sim/Sim.h"

namespace retort::test {
namespace {

// a and b: 1024 words of global memory each, zero; sync: 64 words, zero. 4 CTAs of 128 threads on 4
// multiprocessors, cooperative, 4096 bytes of shared memory (8192 for wgmma).
const char *const kKernels = R"(
#define KERNEL(name) RETORT_KERNEL(name, 128, 1, uint32_t *a, uint32_t *b, uint32_t *sync, const uint32_t *host)
#define SHARED(T) reinterpret_cast<T *>(sharedArena())
#define T threadIndex()
#define C ctaIndex()

KERNEL(GlobalBounds_right) { if (T == 0) b[C] = a[1020 + C]; }
KERNEL(GlobalBounds_wrong) { if (T == 0) b[C] = a[1021 + C]; }

KERNEL(GlobalBoundsWide_right) { if (T == 0) stGlobal128(b + 4 * C, ldGlobal128(a + 1020)); }
KERNEL(GlobalBoundsWide_wrong) { if (T == 0) stGlobal128(b + 4 * C, ldGlobal128(a + 1024)); }

KERNEL(CopyBounds_right) { cpAsync16(sharedArena() + 16 * T, a + 4 * T); cpAsyncCommit(); cpAsyncWait<0>(); b[C * 128 + T] = SHARED(uint32_t)[4 * T]; }
KERNEL(CopyBounds_wrong) { cpAsync16(sharedArena() + 16 * T, a + 516 + 4 * T); cpAsyncCommit(); cpAsyncWait<0>(); b[C * 128 + T] = SHARED(uint32_t)[4 * T]; }

KERNEL(PrefetchBounds_right) { if (T == 0) prefetchL2Bulk(a + 64 * C, 256); }
KERNEL(PrefetchBounds_wrong) { if (T == 0) prefetchL2Bulk(a + 1000, 256); }

KERNEL(SharedBounds_right) { SHARED(uint32_t)[1023 - T] = 1; }
KERNEL(SharedBounds_wrong) { SHARED(uint32_t)[1024 - T] = 1; }

KERNEL(HostMemory_right) { if (T == 0) b[C] = a[C]; }
KERNEL(HostMemory_wrong) { if (T == 0) b[C] = host[C]; }

KERNEL(Misaligned_right) { if (T == 0) b[C] = ldGlobal128(a + 4).x; }
KERNEL(Misaligned_wrong) { if (T == 0) b[C] = ldGlobal128(a + 2).x; }

KERNEL(MisalignedCopy_right) { cpAsync16(sharedArena() + 16 * T, a); cpAsyncCommit(); cpAsyncWait<0>(); }
KERNEL(MisalignedCopy_wrong) { cpAsync16(sharedArena() + 16 * T + 8, a); cpAsyncCommit(); cpAsyncWait<0>(); }

KERNEL(Uninitialised_right) { SHARED(uint32_t)[T] = T; b[C * 128 + T] = SHARED(uint32_t)[T]; }
KERNEL(Uninitialised_wrong) { if (T != 77) SHARED(uint32_t)[T] = T; b[C * 128 + T] = SHARED(uint32_t)[T]; }

KERNEL(UninitialisedMatrix_right) { SHARED(u32x4)[T] = makeU32x4(T, T, T, T); warpSync(); uint32_t d[4]; ldmatrixX4(d, SHARED(u32x4) + T); b[C * 128 + T] = d[3]; }
KERNEL(UninitialisedMatrix_wrong) { if (T < 127) SHARED(u32x4)[T] = makeU32x4(T, T, T, T); warpSync(); uint32_t d[4]; ldmatrixX4(d, SHARED(u32x4) + T); b[C * 128 + T] = d[3]; }

// No barrier between a write and a read of another warp's word.
KERNEL(SharedRace_right) { SHARED(uint32_t)[T] = T; ctaSync(); b[C * 128 + T] = SHARED(uint32_t)[T ^ 64]; ctaSync(); SHARED(uint32_t)[T] = 1; }
KERNEL(SharedRace_wrong) { SHARED(uint32_t)[T] = T; ctaSync(); b[C * 128 + T] = SHARED(uint32_t)[T ^ 64]; SHARED(uint32_t)[T] = 1; }

// A shuffle brings a value across but orders no memory.
KERNEL(WarpRace_right) { SHARED(uint32_t)[T] = T; warpSync(); b[C * 128 + T] = SHARED(uint32_t)[T ^ 1]; }
KERNEL(WarpRace_wrong) { SHARED(uint32_t)[T] = T; const uint32_t x = shflXor(T, 1); b[C * 128 + x] = SHARED(uint32_t)[T ^ 1]; }

// Halves beside each other are not the same bytes.
KERNEL(NarrowRace_right) { SHARED(uint16_t)[T] = uint16_t(T); SHARED(uint8_t)[2048 + T] = uint8_t(T); }
KERNEL(NarrowRace_wrong) { SHARED(uint16_t)[T / 2 * 2] = uint16_t(T); SHARED(uint8_t)[2048 + T] = uint8_t(T); }

// The stage is overwritten by a copy while another warp may still read it.
KERNEL(CopyRace_right) { SHARED(u32x4)[T] = makeU32x4(T, T, T, T); ctaSync(); b[C * 128 + T] = SHARED(uint32_t)[T]; ctaSync(); cpAsync16(sharedArena() + 16 * T, a); cpAsyncCommit(); cpAsyncWait<0>(); }
KERNEL(CopyRace_wrong) { SHARED(u32x4)[T] = makeU32x4(T, T, T, T); ctaSync(); b[C * 128 + T] = SHARED(uint32_t)[T]; cpAsync16(sharedArena() + 16 * T, a); cpAsyncCommit(); cpAsyncWait<0>(); }

// Waited for by the lane that copied, but read by others without a barrier.
KERNEL(CopyBarrier_right) { cpAsync16(sharedArena() + 16 * T, a + 4 * T); cpAsyncCommit(); cpAsyncWait<0>(); ctaSync(); b[C * 128 + T] = SHARED(uint32_t)[4 * (T ^ 32)]; }
KERNEL(CopyBarrier_wrong) { cpAsync16(sharedArena() + 16 * T, a + 4 * T); cpAsyncCommit(); cpAsyncWait<0>(); shflXor(T, 1); b[C * 128 + T] = SHARED(uint32_t)[4 * (T ^ 1)]; }

KERNEL(InFlight_right) { cpAsync16(sharedArena() + 16 * T, a); cpAsyncCommit(); cpAsyncWait<0>(); b[C * 128 + T] = SHARED(uint32_t)[4 * T]; }
KERNEL(InFlight_wrong) { cpAsync16(sharedArena() + 16 * T, a); cpAsyncCommit(); cpAsyncWait<1>(); b[C * 128 + T] = SHARED(uint32_t)[4 * T]; cpAsyncWait<0>(); }

RETORT_DEVICE void bulk(uint32_t *a, uint32_t *b, bool wait) {
  auto *bar = reinterpret_cast<uint64_t *>(sharedArena() + 2048);
  if (T == 0) { mbarInit(bar, 1); fenceMbarInit(); }
  ctaSync();
  if (T == 0) { mbarArriveExpect(bar, 512); bulkCopy(sharedArena(), a, 512, bar); }
  if (wait) mbarWait(bar, 0);
  b[C * 128 + T] = SHARED(uint32_t)[T];
  mbarWait(bar, 0);
}
KERNEL(BulkInFlight_right) { bulk(a, b, true); }
KERNEL(BulkInFlight_wrong) { bulk(a, b, threadIndex() != 64 || ctaIndex() != 2); }

// A ring of one stage: the consumer's arrival at the second mbarrier frees it for the next copy.
RETORT_DEVICE void ring(uint32_t *a, uint32_t *b, bool early) {
  auto *bar = reinterpret_cast<uint64_t *>(sharedArena() + 2048);
  if (T == 0) { mbarInit(bar, 1); mbarInit(bar + 1, 128); fenceMbarInit(); }
  ctaSync();
  uint32_t sum = 0;
  for (uint32_t i = 0; i < 4; ++i) {
    if (T == 0) {
      if (i > 0) mbarWait(bar + 1, (i - 1) & 1);
      mbarArriveExpect(bar, 512);
      bulkCopy(sharedArena(), a + 128 * i, 512, bar);
    }
    mbarWait(bar, i & 1);
    if (!early) sum += SHARED(uint32_t)[T];
    fenceAsyncShared();
    mbarArrive(bar + 1);
    if (early) sum += SHARED(uint32_t)[T];
  }
  b[C * 128 + T] = sum;
}
KERNEL(RingRace_right) { ring(a, b, false); }
KERNEL(RingRace_wrong) { ring(a, b, true); }

KERNEL(NamedBarrier_right) { if (warpIndex() < 2) { SHARED(uint32_t)[T] = T; barArrive(2, 128); } else { barSync(2, 128); b[C * 128 + T] = SHARED(uint32_t)[T - 64]; } }
KERNEL(NamedBarrier_wrong) { if (warpIndex() < 2) { barArrive(2, 128); SHARED(uint32_t)[T] = T; } else { barSync(2, 128); if (T == 64) SHARED(uint32_t)[0] = 1; } }

// What another CTA wrote, before the grid barrier.
KERNEL(GridRace_right) { a[C * 128 + T] = T; gridSync(sync); b[C * 128 + T] = a[(C ^ 1) * 128 + T]; }
KERNEL(GridRace_wrong) { a[C * 128 + T] = T; const uint32_t ticket = gridArrive(sync); b[C * 128 + T] = a[(C ^ 1) * 128 + T]; gridWait(sync, ticket); }

// The last CTA to come combines: the counter must release and acquire.
RETORT_DEVICE void combine(uint32_t *a, uint32_t *b, uint32_t *sync, bool ordered) {
  a[C * 128 + T] = T;
  ctaSync();
  if (T == 0) SHARED(uint32_t)[0] = ordered ? atomicAddAcqRelGpu(sync, 1) : atomicAddRelaxedGpu(sync, 1);
  ctaSync();
  if (SHARED(uint32_t)[0] == 3) { uint32_t sum = 0; for (uint32_t c = 0; c < 4; ++c) sum += a[c * 128 + T]; b[T] = sum; }
}
KERNEL(RelaxedCounter_right) { combine(a, b, sync, true); }
KERNEL(RelaxedCounter_wrong) { combine(a, b, sync, false); }

// A flag with a fence on each side, and with one side's missing.
RETORT_DEVICE void flag(uint32_t *a, uint32_t *b, uint32_t *sync, bool writer, bool reader) {
  if (C == 0) { a[T] = T; ctaSync(); if (T == 0) { if (writer) fenceGpu(); storeRelaxedGpu(sync, 1); } }
  if (C == 1) { if (T == 0) { while (loadRelaxedGpu(sync) == 0) spinPause(); if (reader) fenceGpu(); } ctaSync(); b[T] = a[T]; }
}
KERNEL(WriterFence_right) { flag(a, b, sync, true, true); }
KERNEL(WriterFence_wrong) { flag(a, b, sync, false, true); }
KERNEL(ReaderFence_right) { flag(a, b, sync, true, true); }
KERNEL(ReaderFence_wrong) { flag(a, b, sync, true, false); }

// An atomic and a plain access of one word.
KERNEL(PlainAndAtomic_right) { if (T == 0) { redAddRelaxedGpu(sync, 1); b[C] = loadRelaxedGpu(sync); } }
KERNEL(PlainAndAtomic_wrong) { if (T == 0) { redAddRelaxedGpu(sync, 1); b[C] = sync[0]; } }

KERNEL(StaleLoad_right) { if (T == 0) a[C] = 1; gridSync(sync); b[C * 128 + T] = ldGlobal32(a + (C ^ 1)); }
KERNEL(StaleLoad_wrong) { if (T == 0) a[C] = 1; gridSync(sync); b[C * 128 + T] = ldGlobalNc32(a + (C ^ 1)); }

KERNEL(BranchBarrier_right) { if (C < 2) ctaSync(); }
KERNEL(BranchBarrier_wrong) { if (T < 96) ctaSync(); }

KERNEL(TwoBarriers_right) { if (C < 2) { ctaSync(); b[C * 128 + T] = 1; } else { ctaSync(); b[C * 128 + T] = 2; } }
KERNEL(TwoBarriers_wrong) { if (T < 64) { ctaSync(); b[C * 128 + T] = 1; } else { ctaSync(); b[C * 128 + T] = 2; } }

KERNEL(BranchShuffle_right) { uint32_t x = T; if (warpIndex() == 1) x = shfl(x, 3); b[C * 128 + T] = x; }
KERNEL(BranchShuffle_wrong) { uint32_t x = T; if (laneIndex() < 31) x = shfl(x, 3); b[C * 128 + T] = x; }

KERNEL(BranchMma_right) { float d[4] = {0, 0, 0, 0}; const uint32_t m[4] = {0, 0, 0, 0}, n[2] = {0, 0}; mmaF16(d, m, n); b[C * 128 + T] = uint32_t(d[0]); }
KERNEL(BranchMma_wrong) { float d[4] = {0, 0, 0, 0}; const uint32_t m[4] = {0, 0, 0, 0}, n[2] = {0, 0}; if (laneIndex() == 9) warpSync(); else mmaF16(d, m, n); b[C * 128 + T] = uint32_t(d[0]); }

// A product of a warpgroup, of zeros, with one of its steps left out or misplaced.
enum Slip { None, AsyncFence, Barrier, RegisterFence, Columns, Wait };
RETORT_DEVICE void product(uint32_t *b, Slip slip) {
  for (uint32_t i = 0; i < 4; ++i) SHARED(u32x4)[i * 128 + T] = makeU32x4(0, 0, 0, 0);
  if (slip != AsyncFence) fenceAsyncShared();
  if (slip != Barrier) ctaSync();
  float d[8][4] = {};
  const uint32_t zeros[4] = {0, 0, 0, 0};
  if (slip != RegisterFence) wgmmaFence();
  wgmmaF16(d, zeros, wgmmaColumns(sharedArena()) + (slip == Columns && warpIndex() == 2 ? 2 : 0), true);
  wgmmaCommit();
  if (slip == Wait) {
    ctaSync();
    if (warpIndex() == 1) SHARED(uint32_t)[T] = 1; // the others' products may not have read it
  }
  wgmmaWait<0>();
  ctaSync();
  SHARED(uint32_t)[T] = 1;
  b[C * 128 + T] = asBits(d[7][3]);
}
KERNEL(WgmmaAsyncFence_right) { product(b, None); }
KERNEL(WgmmaAsyncFence_wrong) { product(b, AsyncFence); }
KERNEL(WgmmaBarrier_right) { product(b, None); }
KERNEL(WgmmaBarrier_wrong) { product(b, Barrier); }
KERNEL(WgmmaRegisterFence_right) { product(b, None); }
KERNEL(WgmmaRegisterFence_wrong) { product(b, RegisterFence); }
KERNEL(WgmmaColumns_right) { product(b, None); }
KERNEL(WgmmaColumns_wrong) { product(b, Columns); }
KERNEL(WgmmaWait_right) { product(b, None); }
KERNEL(WgmmaWait_wrong) { product(b, Wait); }

KERNEL(BarrierCount_right) { if (warpIndex() < 2) barSync(1, 64); }
KERNEL(BarrierCount_wrong) { if (warpIndex() < 2) barSync(1, warpIndex() ? 64 : 96); }

KERNEL(Arrivals_right) { auto *bar = SHARED(uint64_t); if (T == 0) mbarInit(bar, 128); ctaSync(); mbarArrive(bar); mbarWait(bar, 0); }
KERNEL(Arrivals_wrong) { auto *bar = SHARED(uint64_t); if (T == 0) mbarInit(bar, 129); ctaSync(); mbarArrive(bar); mbarWait(bar, 0); }

KERNEL(FlagNeverSet_right) { if (T == 0) { if (C == 0) storeReleaseGpu(sync, 1); else while (loadAcquireGpu(sync) == 0) spinPause(); } }
KERNEL(FlagNeverSet_wrong) { if (T == 0) { if (C == 0) storeReleaseGpu(sync, 1); else while (loadAcquireGpu(sync) < 2) spinPause(); } }

// Two CTAs that wait for each other's flag, without a pause in the loop.
KERNEL(Circle_right) { if (T == 0 && C < 2) { storeReleaseGpu(sync + C, 1); while (loadAcquireGpu(sync + 1 - C) == 0) {} } }
KERNEL(Circle_wrong) { if (T == 0 && C < 2) { while (loadAcquireGpu(sync + 1 - C) == 0) {} storeReleaseGpu(sync + C, 1); } }

KERNEL(BarrierNeverMet_right) { if (warpIndex() < 2) barSync(1, 64); ctaSync(); }
KERNEL(BarrierNeverMet_wrong) { if (warpIndex() < 2) barSync(1, 128); else barSync(2, 64); }

KERNEL(Trap_right) { if (a[T] != 0) trap(); }
KERNEL(Trap_wrong) { if (a[T] == 0) trap(); }
)";

struct Case {
  const char *name, *kind; // or kinds, where it depends on the schedule which is seen
  CUresult error;          // of the wrong kernel's launch
};
void PrintTo(const Case &c, std::ostream *out) { *out << c.name; }

class Check : public Sim, public ::testing::WithParamInterface<Case> {
protected:
  CUresult run(const std::string &kernel, uint64_t seed) {
    set("seed", int64_t(seed));
    set("check", 1);
    library().clear();
    start();
    CUfunction f = function(load(kKernels), kernel.c_str());
    const CUdeviceptr a = upload(std::vector<uint32_t>(1024)),
                      b = upload(std::vector<uint32_t>(1024)),
                      sync = upload(std::vector<uint32_t>(64));
    static const std::vector<uint32_t> heap(4);
    const unsigned shared = kernel.starts_with("Wgmma") ? 8192 : 4096;
    EXPECT_EQ(launch(f, 4, 128, shared, true, a, b, sync, heap.data()), CUDA_SUCCESS);
    const CUresult result = cuda.cuCtxSynchronize();
    TearDown();
    return result;
  }
};

TEST_P(Check, FindsTheMistakeAndOnlyIt) {
  for (const uint64_t seed : {0, 1, 2}) {
    EXPECT_EQ(run(GetParam().name + std::string("_wrong"), seed), GetParam().error)
        << "seed " << seed;
    EXPECT_FALSE(kinds().empty()) << "seed " << seed;
    for (const std::string &kind : kinds())
      EXPECT_NE(std::string(GetParam().kind).find(kind), std::string::npos)
          << "seed " << seed << report()["findings"].dump(1);
    EXPECT_EQ(run(GetParam().name + std::string("_right"), seed), CUDA_SUCCESS) << "seed " << seed;
    EXPECT_EQ(kinds(), std::vector<std::string>{})
        << "seed " << seed << report()["findings"].dump(1);
  }
}

constexpr CUresult kBounds = CUDA_ERROR_ILLEGAL_ADDRESS, kAlign = CUDA_ERROR_MISALIGNED_ADDRESS,
                   kFine = CUDA_SUCCESS, kFailed = CUDA_ERROR_LAUNCH_FAILED,
                   kTimeout = CUDA_ERROR_LAUNCH_TIMEOUT;
INSTANTIATE_TEST_SUITE_P(
    Detectors, Check,
    ::testing::Values(
        Case{"GlobalBounds", "out-of-bounds", kBounds},
        Case{"GlobalBoundsWide", "out-of-bounds", kBounds},
        Case{"CopyBounds", "out-of-bounds", kBounds},
        Case{"PrefetchBounds", "out-of-bounds", kBounds},
        Case{"SharedBounds", "out-of-bounds", kBounds},
        Case{"HostMemory", "out-of-bounds", kBounds}, Case{"Misaligned", "misaligned", kAlign},
        Case{"MisalignedCopy", "misaligned", kAlign},
        Case{"Uninitialised", "uninitialised-shared", kFine},
        Case{"UninitialisedMatrix", "uninitialised-shared", kFine},
        Case{"SharedRace", "race-shared", kFine}, Case{"WarpRace", "race-shared", kFine},
        Case{"NarrowRace", "race-shared", kFine}, Case{"CopyRace", "race-shared", kFine},
        Case{"CopyBarrier", "race-shared", kFine}, Case{"InFlight", "read-in-flight", kFine},
        Case{"BulkInFlight", "read-in-flight race-shared uninitialised-shared", kFine},
        Case{"RingRace", "race-shared read-in-flight", kFine},
        Case{"NamedBarrier", "race-shared", kFine}, Case{"GridRace", "race-global", kFine},
        Case{"RelaxedCounter", "race-global", kFine}, Case{"WriterFence", "race-global", kFine},
        Case{"ReaderFence", "race-global", kFine}, Case{"PlainAndAtomic", "race-global", kFine},
        Case{"StaleLoad", "stale-load", kFine}, Case{"BranchBarrier", "divergence", kFailed},
        Case{"TwoBarriers", "divergence", kFailed}, Case{"BranchShuffle", "divergence", kFailed},
        Case{"BranchMma", "divergence", kFailed},
        Case{"WgmmaAsyncFence", "missing-async-fence", kFine},
        Case{"WgmmaBarrier", "race-shared uninitialised-shared missing-async-fence", kFine},
        Case{"WgmmaRegisterFence", "missing-wgmma-fence", kFine},
        Case{"WgmmaColumns", "divergence", kFailed}, Case{"WgmmaWait", "race-shared", kFine},
        Case{"BarrierCount", "divergence", kFailed}, Case{"Arrivals", "deadlock", kTimeout},
        Case{"FlagNeverSet", "deadlock", kTimeout}, Case{"Circle", "deadlock", kTimeout},
        Case{"BarrierNeverMet", "deadlock", kTimeout}, Case{"Trap", "trap", kFailed}),
    [](const auto &info) { return std::string(info.param.name); });

} // namespace
} // namespace retort::test
