//===- Wgmma.cpp - Products of a warpgroup, which read shared memory ------===//
// SPDX-License-Identifier: Apache-2.0
//
// A product is kept when it begins and made when its warp waits for it, as late as may be: a kernel
// that overwrites B before gets other numbers. B is read, for the checks, at both times: at the
// first it must have been written, at the second nobody may have written since. Each warp makes its
// own 16 rows; that the four of a group make the same calls is checked.
#include "kernels/sim/Check.h"
#include <cstring>

#define RETORT_EXPORT extern "C" __attribute__((visibility("default")))
#define SITE __builtin_return_address(0)

namespace retort::sim {
namespace {
constexpr int kColumns = 64, kValues = 16, kFailed = 719;

/// Where 16 bytes of a column of B are, from the start of shared memory: K-major, the 128-byte
/// swizzle, which exchanges bits 4 to 6 of an address by bits 7 to 9.
uint32_t placeOf(uint64_t b, int column, int half) {
  const uint32_t start = uint32_t(b & 0x3fff) << 4, stride = uint32_t(b >> 32 & 0x3fff) << 4;
  const uint32_t at =
      start + uint32_t(column / 8) * stride + uint32_t(column % 8) * 128 + uint32_t(half) * 16;
  return at ^ (at >> 3 & 0x70);
}

/// What descriptors this simulates: the swizzle, and columns whose pattern begins at 1024 bytes.
void checkDescriptor(uint64_t b, const void *site) {
  if (b >> 62 != 1 || (b >> 49 & 7) != 0)
    fail("misaligned",
         "a wgmma's descriptor of another swizzle than 128 bytes, or with a base offset", site,
         716);
  if ((b & 0x3fff) << 4 & 0x380)
    fail("misaligned", "a wgmma's columns do not begin at 1024 bytes of shared memory", site, 716);
}

/// The lane reads its share of B: two columns.
void readColumns(const Lane *lane, uint64_t b, bool begins, const void *site) {
  for (int i = 0; i < 4; ++i) {
    const uint8_t *p = lane->arena + placeOf(b, int(lane->lane) * 2 + i / 2, i % 2);
    access(p, 16, Read | Uncounted, site);
    if (begins && settings.check)
      asyncReads(p, 16, site);
  }
}

#if defined(__x86_64__)
#define RETORT_CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define RETORT_CLONES
#endif
RETORT_CLONES void multiply(const WarpProduct &product, const uint8_t *arena) {
  alignas(64) float b[kValues][kColumns], a[16][kValues], d[16][kColumns];
  for (int column = 0; column < kColumns; ++column)
    for (int half = 0; half < 2; ++half) {
      _Float16 values[8];
      memcpy(values, arena + placeOf(product.b, column, half), 16);
      for (int k = 0; k < 8; ++k)
        b[half * 8 + k][column] = float(values[k]);
    }
  for (int l = 0; l < 32; ++l)
    for (int i = 0; i < 4; ++i) {
      _Float16 pair[2];
      memcpy(pair, &product.a[l][i], 4);
      for (int e = 0; e < 2; ++e)
        a[l / 4 + i % 2 * 8][l % 4 * 2 + i / 2 * 8 + e] = float(pair[e]);
    }
  const auto each = [&](auto &&f) {
    for (int l = 0; l < 32; ++l)
      for (int i = 0; i < kColumns / 2; ++i)
        f(product.d[l][i], d[l / 4 + i / 2 % 2 * 8][i / 4 * 8 + l % 4 * 2 + i % 2]);
  };
  each([&](const float &from, float &to) { to = product.accumulate ? from : 0; });
  for (int row = 0; row < 16; ++row)
    for (int k = 0; k < kValues; ++k)
      for (int column = 0; column < kColumns; ++column)
        d[row][column] += a[row][k] * b[k][column];
  each([](float &to, const float &from) { to = from; });
}

/// The warps of a group make the same calls: the n-th of each has the same columns.
void checkGroup(Warp *warp, uint64_t b, const void *site) {
  Cta *cta = warp->cta;
  const size_t group = warp->index / 4;
  if (cta->warps.size() < group * 4 + 4)
    fail("divergence", "a wgmma of fewer than four warps", site, kFailed);
  cta->groups.resize(cta->warps.size() / 4);
  auto &[count, latest] = cta->groups[group];
  const uint64_t n = warp->products++;
  uint64_t &theirs = latest[n % std::size(latest)];
  if (n == count) {
    theirs = b;
    ++count;
  } else if (count - n <= std::size(latest) && theirs != b) {
    fail("divergence", "the warps of a group make different wgmmas", site, kFailed);
  }
}
} // namespace
} // namespace retort::sim

using namespace retort::sim;

RETORT_EXPORT void retort_sim_wgmma(float *d, const uint32_t *a, uint64_t b, int accumulate) {
  Lane *lane = self();
  Warp *warp = lane->warp;
  checkDescriptor(b, SITE);
  if (settings.instrumented())
    readColumns(lane, b, true, SITE);
  warp->argD[lane->lane] = d;
  warp->argA[lane->lane] = a;
  warp->argB[lane->lane] = &b;
  if (!meetLanes(Meet::Wgmma, SITE))
    return;
  checkGroup(warp, b, SITE);
  if (settings.check && !warp->registersFenced)
    report("missing-wgmma-fence",
           "a wgmma begins with no wgmmaFence since the warp last waited for one, by " +
               describe(lane),
           warp->cta->launch->function->name, SITE);
  WarpProduct &product = warp->pending.emplace_back();
  for (int l = 0; l < 32; ++l) {
    if (*static_cast<const uint64_t *>(warp->argB[l]) != b)
      fail("divergence", "lanes of one warp name different columns to a wgmma", SITE, kFailed);
    product.d[l] = static_cast<float *>(warp->argD[l]);
    memcpy(product.a[l], warp->argA[l], 16);
  }
  product.b = b;
  product.accumulate = accumulate != 0;
  runCounters.mma += kColumns / 8;
}
RETORT_EXPORT void retort_sim_wgmma_fence() {
  if (meetLanes(Meet::WgmmaFence, SITE))
    self()->warp->registersFenced = true;
}
RETORT_EXPORT void retort_sim_wgmma_commit() {
  Warp *warp = self()->warp;
  if (meetLanes(Meet::WgmmaCommit, SITE))
    warp->pendingGroups.push_back(uint32_t(warp->pending.size()));
}
RETORT_EXPORT void retort_sim_wgmma_wait(int pending) {
  Lane *lane = self();
  Warp *warp = lane->warp;
  const size_t groups = warp->pendingGroups.size();
  const size_t done = groups > size_t(pending) ? groups - size_t(pending) : 0;
  const uint32_t end = done ? warp->pendingGroups[done - 1] : 0;
  if (settings.instrumented())
    for (uint32_t i = 0; i < end; ++i)
      readColumns(lane, warp->pending[i].b, false, SITE);
  if (!meetLanes(Meet::WgmmaWait, SITE) || !done)
    return;
  for (uint32_t i = 0; i < end; ++i)
    multiply(warp->pending[i], lane->arena);
  warp->pending.erase(warp->pending.begin(), warp->pending.begin() + end);
  warp->pendingGroups.erase(warp->pendingGroups.begin(), warp->pendingGroups.begin() + long(done));
  for (uint32_t &group : warp->pendingGroups)
    group -= end;
  warp->registersFenced = false;
}
