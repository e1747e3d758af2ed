//===- Collectives.cpp - What the lanes of a warp do together -------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Each lane leaves the addresses of its operands, which lie on its own stack, and gives way; the last to come does the work for
// all. So an operation costs one switch a lane and no copies.
#include "kernels/sim/Check.h"
#include <cstring>

#define RETORT_EXPORT extern "C" __attribute__((visibility("default")))
#define SITE __builtin_return_address(0)

namespace retort::sim {

namespace {
// Two tiles of f32 are multiplied; the element types differ only in how they are widened.
struct F16 {
  static float widen(uint16_t bits) { return float(__builtin_bit_cast(_Float16, bits)); }
};
struct Bf16 {
  static float widen(uint16_t bits) { return __builtin_bit_cast(float, uint32_t(bits) << 16); }
};

template <class T> __attribute__((always_inline)) inline void multiply(Warp *warp) {
  alignas(64) uint16_t a[16][16], bt[8][16];
  alignas(64) float d[16][8], af[16][16], bf[8][16], b[16][8];
  for (int l = 0; l < 32; ++l) {
    const int g = l / 4, t = l % 4;
    const auto *pa = static_cast<const uint32_t *>(warp->argA[l]), *pb = static_cast<const uint32_t *>(warp->argB[l]);
    const auto *pd = static_cast<const float *>(warp->argD[l]);
    memcpy(&a[g][2 * t], pa, 4);
    memcpy(&a[g + 8][2 * t], pa + 1, 4);
    memcpy(&a[g][2 * t + 8], pa + 2, 4);
    memcpy(&a[g + 8][2 * t + 8], pa + 3, 4);
    memcpy(&bt[g][2 * t], pb, 4);
    memcpy(&bt[g][2 * t + 8], pb + 1, 4);
    memcpy(&d[g][2 * t], pd, 8);
    memcpy(&d[g + 8][2 * t], pd + 2, 8);
  }
  for (int i = 0; i < 16; ++i)
    for (int k = 0; k < 16; ++k)
      af[i][k] = T::widen(a[i][k]);
  for (int j = 0; j < 8; ++j)
    for (int k = 0; k < 16; ++k)
      bf[j][k] = T::widen(bt[j][k]);
  for (int k = 0; k < 16; ++k)
    for (int j = 0; j < 8; ++j)
      b[k][j] = bf[j][k];
  typedef float v8 __attribute__((vector_size(32)));
  for (int i = 0; i < 16; ++i) {
    v8 sum;
    memcpy(&sum, d[i], 32);
    for (int k = 0; k < 16; ++k) {
      v8 row;
      memcpy(&row, b[k], 32);
      sum += af[i][k] * row;
    }
    memcpy(d[i], &sum, 32);
  }
  for (int l = 0; l < 32; ++l) {
    const int g = l / 4, t = l % 4;
    auto *pd = static_cast<float *>(warp->argD[l]);
    memcpy(pd, &d[g][2 * t], 8);
    memcpy(pd + 2, &d[g + 8][2 * t], 8);
  }
}
#if defined(__x86_64__)
#define RETORT_CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define RETORT_CLONES
#endif
RETORT_CLONES void multiplyF16(Warp *warp) { multiply<F16>(warp); }
RETORT_CLONES void multiplyBf16(Warp *warp) { multiply<Bf16>(warp); }

void multiplyS8(Warp *warp) {
  int8_t a[16][32], b[8][32];
  for (int l = 0; l < 32; ++l) {
    const int g = l / 4, t = l % 4;
    const auto *pa = static_cast<const uint32_t *>(warp->argA[l]), *pb = static_cast<const uint32_t *>(warp->argB[l]);
    memcpy(&a[g][4 * t], pa, 4);
    memcpy(&a[g + 8][4 * t], pa + 1, 4);
    memcpy(&a[g][4 * t + 16], pa + 2, 4);
    memcpy(&a[g + 8][4 * t + 16], pa + 3, 4);
    memcpy(&b[g][4 * t], pb, 4);
    memcpy(&b[g][4 * t + 16], pb + 1, 4);
  }
  for (int l = 0; l < 32; ++l) {
    auto *d = static_cast<int32_t *>(warp->argD[l]);
    for (int e = 0; e < 4; ++e) {
      const int8_t *row = a[l / 4 + e / 2 * 8], *column = b[l % 4 * 2 + e % 2];
      int32_t sum = 0;
      for (int k = 0; k < 32; ++k)
        sum += int32_t(row[k]) * column[k];
      d[e] = int32_t(uint32_t(d[e]) + uint32_t(sum));
    }
  }
}
} // namespace
} // namespace retort::sim

using namespace retort::sim;

RETORT_EXPORT void retort_sim_warp_sync() {
  if (meetLanes(Meet::WarpSync, SITE) && settings.instrumented())
    warpSynced(self()->warp);
}

RETORT_EXPORT uint32_t retort_sim_shfl(uint32_t value, int source) {
  Lane *lane = self();
  Warp *warp = lane->warp;
  warp->argA[lane->lane] = &value;
  uint32_t result;
  warp->argD[lane->lane] = &result;
  warp->source[lane->lane] = source & 31;
  if (meetLanes(Meet::Shuffle, SITE)) {
    uint32_t values[32];
    for (int l = 0; l < 32; ++l)
      values[l] = *static_cast<const uint32_t *>(warp->argA[l]);
    for (int l = 0; l < 32; ++l)
      *static_cast<uint32_t *>(warp->argD[l]) = values[warp->source[l]];
  }
  return *static_cast<volatile uint32_t *>(&result);
}

RETORT_EXPORT uint32_t retort_sim_ballot(uint32_t predicate) {
  Lane *lane = self();
  Warp *warp = lane->warp;
  uint32_t result;
  warp->argD[lane->lane] = &result;
  warp->value[lane->lane] = predicate;
  if (meetLanes(Meet::Ballot, SITE)) {
    uint32_t bits = 0;
    for (int l = 0; l < 32; ++l)
      bits |= uint32_t(warp->value[l] != 0) << l;
    for (void *d : warp->argD)
      *static_cast<uint32_t *>(d) = bits;
  }
  return *static_cast<volatile uint32_t *>(&result);
}

RETORT_EXPORT void retort_sim_mma(void *d, const uint32_t *a, const uint32_t *b, int kind) {
  Lane *lane = self();
  Warp *warp = lane->warp;
  warp->argD[lane->lane] = d;
  warp->argA[lane->lane] = a;
  warp->argB[lane->lane] = b;
  if (!meetLanes(Meet(int(Meet::MmaF16) + kind), SITE))
    return;
  ++runCounters.mma;
  if (kind == 0)
    multiplyF16(warp);
  else if (kind == 1)
    multiplyBf16(warp);
  else
    multiplyS8(warp);
}

RETORT_EXPORT void retort_sim_ldmatrix(uint32_t *d, const void *row, int matrices, int transposed) {
  Lane *lane = self();
  Warp *warp = lane->warp;
  warp->argD[lane->lane] = d;
  warp->argA[lane->lane] = row;
  warp->source[lane->lane] = matrices * 2 + transposed;
  if (settings.instrumented() && int(lane->lane) < matrices * 8)
    access(row, 16, Read | Uncounted, SITE);
  if (!meetLanes(Meet::Ldmatrix, SITE))
    return;
  for (int l = 1; l < 32; ++l)
    if (warp->source[l] != warp->source[0])
      fail("divergence", "lanes of one warp load different kinds of matrices", SITE, 719);
  for (int l = 0; l < matrices * 8; ++l)
    if (spaceOf(warp->argA[l]) != kArenaSpace || reinterpret_cast<uint64_t>(warp->argA[l]) % 16)
      fail("out-of-bounds", "ldmatrix of a row that is not in shared memory or not aligned to 16 bytes", SITE, 716);
  ++runCounters.ldmatrix;
  if (settings.instrumented())
    countLdmatrix(warp, warp->argA, matrices, SITE);
  for (int m = 0; m < matrices; ++m)
    for (int l = 0; l < 32; ++l) {
      uint32_t value;
      if (transposed) {
        uint16_t low, high;
        memcpy(&low, static_cast<const uint8_t *>(warp->argA[m * 8 + l % 4 * 2]) + l / 4 * 2, 2);
        memcpy(&high, static_cast<const uint8_t *>(warp->argA[m * 8 + l % 4 * 2 + 1]) + l / 4 * 2, 2);
        value = low | uint32_t(high) << 16;
      } else {
        memcpy(&value, static_cast<const uint8_t *>(warp->argA[m * 8 + l / 4]) + l % 4 * 4, 4);
      }
      static_cast<uint32_t *>(warp->argD[l])[m] = value;
    }
}
