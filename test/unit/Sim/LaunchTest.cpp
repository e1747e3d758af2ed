//===- LaunchTest.cpp - Kernels through the driver API --------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "test/unit/Sim/Sim.h"
#include <ctime>

namespace retort::test {
namespace {

TEST_F(Sim, AddsVectors) {
  start();
  CUfunction add = function(load(R"(
RETORT_KERNEL(add, 256, 1, const float *a, const float *b, float *c, int n) {
  const int i = int(ctaIndex() * threadCount() + threadIndex());
  if (i < n) c[i] = a[i] + b[i];
})"),
                            "add");
  std::vector<float> a(1000), b(1000);
  for (int i = 0; i < 1000; ++i)
    a[size_t(i)] = float(i), b[size_t(i)] = float(3 * i);
  const CUdeviceptr pa = upload(a), pb = upload(b), pc = upload(a);
  ASSERT_EQ(launch(add, 4, 256, 0, false, pa, pb, pc, 1000), CUDA_SUCCESS);
  const auto c = download<float>(pc, 1000);
  for (int i = 0; i < 1000; ++i)
    ASSERT_EQ(c[size_t(i)], float(4 * i));
}

TEST_F(Sim, HasEveryFunctionThatTheRuntimeUses){
#define RETORT_PRESENT(field, symbol, parameters) EXPECT_NE(cuda.field, nullptr) << #symbol;
    RETORT_CUDA_API(RETORT_PRESENT)
#undef RETORT_PRESENT
}

// Every wrapper against its definition, on one warp or CTA; each check is a bit of the result.
TEST_F(Sim, WrappersMeanWhatTheySay) {
  for (const int checked : {0, 1}) {
    set("check", checked);
    start();
    CUfunction f = function(load(R"(
RETORT_DEVICE uint32_t halves(float a, float b) { return packHalf2(a, b); }
RETORT_KERNEL(all, 128, 1, uint32_t *bad, const uint8_t *in, uint32_t *words) {
  uint8_t *s = sharedArena();
  const uint32_t t = threadIndex(), l = laneIndex();
  auto expect = [&](int test, bool ok) { if (!ok) atomicAddRelaxedGpu(bad + test, 1); };
  expect(0, t == warpIndex() * 32 + l && threadCount() == 128 && ctaCount() == 2);
  expect(1, shfl(int(l) * 3, 5) == 15 && shflXor(int(l), 1) == int(l ^ 1));
  expect(2, warpBallot(l % 3 == 0) == 0x49249249u);
  expect(3, warpSum(float(l)) == 496.0f && warpSum<8>(1.0f) == 8.0f && warpMax(float(l ^ 13)) == 31.0f);
  // int4, fp8 to halves
  expect(4, nibblesToHalf2(0x12f9340au) == halves(10 - 8, 9 - 8));
  expect(7, e4m3ToHalf2<0>(0x00007e38u) == halves(1, 448) && e4m3ToHalf2<1>(0x81080000u) == halves(0.015625f, -0.001953125f));
  expect(8, packE4m3(1, -448) == 0xfe38 && packE4m3(0.001953125f, 1000) == 0x7e01 && packE4m3(1.0625f, 1.1875f) == 0x3a38);
  expect(9, fmaHalf2(halves(2, 3), halves(4, 5), halves(1, -1)) == halves(9, 14) && mulHalf2(halves(2, -3), halves(2, 2)) == halves(4, -6));
  expect(10, subHalf2(halves(1, 2), halves(3, 5)) == halves(-2, -3) && unpackHalf2(halves(1, -2)).y == -2 && unpackBf162(packBf162(7, 8)).x == 7);
  expect(11, lop3<0x96>(5, 9, 12) == (5 ^ 9 ^ 12) && prmt(0x33221100u, 0x77665544u, 0x7012u) == 0x77001122u);
  expect(12, float(half(0.1f)) == 0.0999755859375f && float(bf16(1.00390625f)) == 1.0f && float(bf16(1.01171875f)) == 1.015625f);
  // mma: a[i][k] = i + 2k (exact in f16), b[k][j] = k - j
  uint32_t a[4], b[2]; const uint32_t g = l / 4, q = l % 4;
  for (int r = 0; r < 4; ++r) { const int i = int(g) + r % 2 * 8, k = int(2 * q) + r / 2 * 8; a[r] = halves(float(i + 2 * k), float(i + 2 * k + 2)); }
  for (int r = 0; r < 2; ++r) { const int k = int(2 * q) + r * 8; b[r] = halves(float(k - int(g)), float(k + 1 - int(g))); }
  float d[4] = {1, 2, 3, 4};
  mmaF16(d, a, b);
  for (int e = 0; e < 4; ++e) {
    const int i = int(g) + e / 2 * 8, j = int(2 * q) + e % 2; int sum = e + 1;
    for (int k = 0; k < 16; ++k) sum += (i + 2 * k) * (k - j);
    expect(13, d[e] == float(sum));
  }
  uint32_t ab[4], bb[2]; for (int r = 0; r < 4; ++r) { const f32x2 v = unpackHalf2(a[r]); ab[r] = packBf162(v.x, v.y); }
  for (int r = 0; r < 2; ++r) { const f32x2 v = unpackHalf2(b[r]); bb[r] = packBf162(v.x, v.y); }
  float db[4] = {1, 2, 3, 4}; mmaBf16(db, ab, bb);
  for (int e = 0; e < 4; ++e) expect(14, db[e] == d[e]);
  uint32_t a8[4], b8[2]; int32_t d8[4] = {0, 0, 0, 0};
  for (int r = 0; r < 4; ++r) { a8[r] = 0; for (int x = 0; x < 4; ++x) a8[r] |= uint32_t(uint8_t(int(g) + r % 2 * 8 - int(4 * q) - r / 2 * 16 - x)) << (8 * x); }
  for (int r = 0; r < 2; ++r) { b8[r] = 0; for (int x = 0; x < 4; ++x) b8[r] |= uint32_t(uint8_t(int(4 * q) + r * 16 + x - int(g) * 3)) << (8 * x); }
  mmaS8(d8, a8, b8);
  for (int e = 0; e < 4; ++e) {
    const int i = int(g) + e / 2 * 8, j = int(2 * q) + e % 2; int sum = 0;
    for (int k = 0; k < 32; ++k) sum += (i - k) * (k - 3 * j);
    expect(15, d8[e] == sum);
  }
  // ldmatrix: element (row, column) of matrix m is 256 m + 16 row + column
  auto *h = reinterpret_cast<uint16_t *>(s);
  if (t < 32) for (int c = 0; c < 8; ++c) h[t * 8 + c] = uint16_t(256 * (t / 8) + 16 * (t % 8) + c);
  ctaSync();
  uint32_t m4[4], x4[4];
  ldmatrixX4(m4, h + l * 8); ldmatrixX4Trans(x4, h + l * 8);
  for (uint32_t m = 0; m < 4; ++m) {
    const uint32_t low = 256 * m + 16 * (l / 4) + 2 * (l % 4), tlow = 256 * m + 16 * (2 * (l % 4)) + l / 4;
    expect(16, m4[m] == (low | (low + 1) << 16) && x4[m] == (tlow | (tlow + 16) << 16));
  }
  ctaSync();
  // wgmma: rows i of all four warps, columns j, two steps of k: a[i][k] = i + k, b[k][j] = k - j
  if constexpr (kHasWgmma) {
    for (uint32_t i = t; i < 64 * 32; i += 128) {
      const uint32_t j = i / 32, k = i % 32 * 2;
      reinterpret_cast<uint32_t *>(s)[j * 32 + ((k / 8) ^ (j % 8)) * 4 + k % 8 / 2] = halves(float(int(k) - int(j)), float(int(k) + 1 - int(j)));
    }
    fenceAsyncShared();
    ctaSync();
    float d64[8][4]; uint32_t a64[2][4];
    for (int n = 0; n < 8; ++n) for (int e = 0; e < 4; ++e) d64[n][e] = 7;
    for (int step = 0; step < 2; ++step)
      for (int r = 0; r < 4; ++r) { const int i = int(warpIndex() * 16 + g) + r % 2 * 8, k = 32 + 16 * step + int(2 * q) + r / 2 * 8; a64[step][r] = halves(float(i + k), float(i + k + 1)); }
    wgmmaFence();
    wgmmaF16(d64, a64[0], wgmmaColumns(s) + 4, t > 128);
    wgmmaF16(d64, a64[1], wgmmaColumns(s) + 6, true);
    wgmmaCommit();
    wgmmaWait<0>();
    for (int n = 0; n < 8; ++n) for (int e = 0; e < 4; ++e) {
      const int i = int(warpIndex() * 16 + g) + e / 2 * 8, j = n * 8 + int(2 * q) + e % 2; int sum = 0;
      for (int k = 32; k < 64; ++k) sum += (i + k) * (k - j);
      expect(25, d64[n][e] == float(sum));
    }
    ctaSync();
  }
  expect(26, packHalf2Finite(1e9f, -70000.0f) == halves(65504, -65504) && packHalf2Finite(3, 0.1f) == halves(3, 0.1f));
  // asynchronous copies
  cpAsync16(s + 16 * t, in + 16 * t); cpAsyncCommit();
  cpAsync16Zero(s + 2048 + 16 * t, in, false); cpAsyncCommit();
  cpAsyncWait<1>(); expect(17, s[16 * t] == in[16 * t] && s[16 * t + 15] == in[16 * t + 15]);
  cpAsyncWait<0>(); expect(18, s[2048 + 16 * t] == 0);
  auto *bar = reinterpret_cast<uint64_t *>(s + 8192);
  if (t == 0) { mbarInit(bar, 1); mbarInit(bar + 1, 128); fenceMbarInit(); }
  ctaSync();
  for (uint32_t phase = 0; phase < 3; ++phase) {
    if (t == 0) { mbarArriveExpect(bar, 2048); bulkCopy(s + 4096, in + 64, 1024, bar); bulkCopyStream(s + 5120, in + 64 + 1024, 1024, bar); }
    mbarWait(bar, phase & 1);
    for (uint32_t i = t; i < 2048; i += 128) expect(19, s[4096 + i] == in[64 + i]);
    fenceAsyncShared(); mbarArrive(bar + 1); mbarWait(bar + 1, phase & 1);
  }
  // producers and consumers at a named barrier
  auto *w = reinterpret_cast<uint32_t *>(s + 9000 / 8 * 8);
  if (warpIndex() < 2) { w[t] = t * 7; barArrive(3, 128); } else { barSync(3, 128); expect(20, w[t - 64] == (t - 64) * 7); }
  ctaSync();
  expect(21, ldGlobalNc32(in + 4 * t) == ldGlobal32(in + 4 * t) && ldGlobal64(in + 8 * t).y == ldGlobal32(in + 8 * t + 4) && ldGlobalNc128(in + 16 * t).w == ldGlobal128(in + 16 * t).w);
  // grid barriers, reused
  for (uint32_t round = 1; round < 4; ++round) {
    if (t == 0) storeRelaxedGpu(words + 8 + ctaIndex(), round);
    gridSync(words);
    expect(22, loadRelaxedGpu(words + 8 + (1 - ctaIndex())) == round);
    gridSync(words);
  }
  atomicAddAcqRelGpu(words + 1, 1); redAddRelaxedGpu(words + 1, 1); redAddRelaxedGpu(words + 1, 1); redMaxRelaxedGpu(reinterpret_cast<uint64_t *>(words + 4), 1ull << 40 | t);
  if (t == 0) { stGlobal32(words + 20 + ctaIndex(), 5); storeReleaseSys(words + 24 + ctaIndex(), 6); storeRelaxedSys128(words + 28 + 4 * ctaIndex(), makeU32x4(1, 2, 3, 4)); expect(23, loadRelaxedSys128(words + 28 + 4 * ctaIndex()).z == 3); }
  float si, co; sinCos(0.5f, si, co);
  expect(24, si > 0.4794f && si < 0.4795f && co > 0.8775f && co < 0.8776f && expApprox(1) > 2.71828f && expApprox(1) < 2.71829f && rsqrtApprox(4) == 0.5f);
})"),
                            "all");
    std::vector<uint8_t> in(4096);
    for (size_t i = 0; i < in.size(); ++i)
      in[i] = uint8_t(i * 37 + i / 256);
    const CUdeviceptr bad = upload(std::vector<uint32_t>(32)), pin = upload(in),
                      words = upload(std::vector<uint32_t>(64));
    ASSERT_EQ(launch(f, 2, 128, 16384, true, bad, pin, words), CUDA_SUCCESS);
    const auto result = download<uint32_t>(bad, 32);
    for (size_t i = 0; i < 32; ++i)
      EXPECT_EQ(result[i], 0u) << "check " << i << (checked ? " (checked)" : "");
    const auto after = download<uint32_t>(words, 36);
    EXPECT_EQ(after[1], 3u * 256);
    EXPECT_EQ(after[4], 127u);
    EXPECT_EQ(after[5], 256u);
    EXPECT_EQ(after[21], 5u);
    EXPECT_EQ(after[25], 6u);
    EXPECT_EQ(after[33], 2u);
    EXPECT_EQ(kinds(), std::vector<std::string>()) << report().dump(1);
    TearDown();
  }
}

// Not a test of speed, but its figures are those of docs/cuda-sim.md:
// --gtest_also_run_disabled_tests --gtest_filter=*Speed*
TEST_F(Sim, DISABLED_SpeedOfTensorCores) {
  for (const int mode : {0, 1, 2}) {
    set("check", mode == 1);
    set("count", mode == 2);
    start();
    CUfunction f = function(load(R"(
RETORT_KERNEL(many, 256, 1, float *out, const uint8_t *weights, int rounds) {
  uint8_t *s = sharedArena();
  reinterpret_cast<u32x4 *>(s)[threadIndex()] = makeU32x4(0, 0, 0, 0);
  ctaSync();
  float d[4] = {0, 0, 0, 0};
  for (int i = 0; i < rounds; ++i) {
    const u32x4 w = ldGlobalNc128(weights + 16 * (threadIndex() + 256 * (i % 64)));
    for (int j = 0; j < 4; ++j) {
      const uint32_t a[4] = {nibblesToHalf2(w[j]), nibblesToHalf2(w[j] >> 4), nibblesToHalf2(w[j] >> 8), nibblesToHalf2(w[j] >> 12)};
      uint32_t b[2];
      b[0] = *reinterpret_cast<uint32_t *>(s + 4 * laneIndex() + 128 * j); b[1] = *reinterpret_cast<uint32_t *>(s + 4 * laneIndex() + 2048 + 128 * j);
      mmaF16(d, a, b);
    }
  }
  out[ctaIndex() * 256 + threadIndex()] = d[0] + d[1] + d[2] + d[3];
})"),
                            "many");
    const CUdeviceptr out = upload(std::vector<float>(1024)),
                      weights = upload(std::vector<uint8_t>(16 * 256 * 64));
    const int rounds = mode ? 400 : 4000;
    const std::clock_t begin = std::clock(); // processor time: the machine may be shared
    ASSERT_EQ(launch(f, 4, 256, 8192, true, out, weights, rounds), CUDA_SUCCESS);
    ASSERT_EQ(cuda.cuCtxSynchronize(), CUDA_SUCCESS);
    const double seconds = double(std::clock() - begin) / CLOCKS_PER_SEC;
    printf("%s: %.0f mma a second, with a 128-bit load for 4 and two 32-bit loads of shared memory "
           "for each\n",
           mode == 0   ? "plain"
           : mode == 1 ? "checked"
                       : "counted",
           rounds * 4.0 * 32 / seconds);
    TearDown();
  }
}
} // namespace
} // namespace retort::test
