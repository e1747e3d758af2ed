// Tiles of prefill's products on sm_90a: the tensor cores of a warpgroup.
// SPDX-License-Identifier: Apache-2.0
//
// They read the rows of the step from shared memory themselves.
//
// Weights, A, come from registers: 16 rows of a warpgroup's 64 are one warp's, in fragments just as
// mma.m16n8k16 has them, so the packed layout serves as it is, and which 16 rows a warp takes is
// free. A warp has two neighbouring blocks (of a gated product the gate and up of the same
// channels) times all 64 rows of the step: a tile is 256 weight rows, twice that of mma.sync
// (prefill_rows.cuh), which also halves the staging of rows.
//
// All weights become f16, integers exactly. Their rows of the step are two f16, hi + lo, 22 bits
// together down to 2^-14 and a multiple of 2^-24 below; both products go to the same sums. Integer
// tensor cores (m64nNk32 s8) need a scale for each row and group of columns, and so four
// instructions for each sum and group where f16 needs one; that is what counts here
// (docs/cuda-cost.md). Rows of float weights are one f16, as elsewhere.
//
// In a function that is called, as phases are, ptxas lets each wgmma finish before the next (its
// note C7510); the other warpgroup has the tensor cores meanwhile. In code inlined into a kernel
// they overlap as they are written here.
#pragma once
#include "kernels/cuda/prefill_rows.cuh"
#include "kernels/cuda/weights_float.cuh"
namespace retort::cuda::prefill {

/// As RowTile, and kAsync: multiply calls stageNext() while tensor cores work, and whoever stored
/// rows says fenceAsyncShared() before the barrier.
template <class W> struct WgmmaTile {
  static constexpr WeightLayout kLayout = W::kLayout;
  static constexpr bool kAsync = true, kFixed = W::kFixed;
  static constexpr int kTileBlocks = kWgmmaTile.blocks, kWarpRows = kRowTile;
  static constexpr int kCols = kLayout.pieceCols();
  static constexpr int kParts = kFixed ? 2 : 1; // f16 of a value
  // 64 columns of the rows, as wgmmaColumns wants them: [parts][columns / 64][rows][64] f16. Then
  // sums of the values of each group, if minima: [groups][rows] f32, so far apart that the groups
  // of a row are in different banks.
  static constexpr int kColumnsBytes = kRowTile * 128;
  static constexpr int kPartBytes = kCols / 64 * kColumnsBytes;
  static constexpr int kSumsAt = kParts * kPartBytes, kSumStride = kRowTile + 8;
  static constexpr int kSumBytes = kLayout.minima ? kLayout.groupsPerPiece() * kSumStride * 4 : 0;
  static constexpr int kBytes = ceilDiv(kSumsAt + kSumBytes, 1024) * 1024;
  static constexpr int kGroups = kLayout.quantised() ? kLayout.groupsPerPiece() : 1;
  static constexpr int kGroupSteps = kCols / 16 / kGroups;

  RETORT_DEVICE static int warpBlock() { return int(warpIndex()) * kWarpBlocks; }
  RETORT_DEVICE static int warpRow() { return 0; }

  RETORT_DEVICE static void store(uint8_t *to, int col, int r, f32x4 v) {
    if constexpr (!kFixed) {
      RowTile<W, false>::store(to, col, r, v); // mma.sync's layout is wgmma's
    } else {
      uint8_t *row = to + col / 64 * kColumnsBytes + r * 128;
      // Integers are made into f16 by pairs of even and of odd columns: these are values 2t, 2t + 1
      // and 2t + 8, 2t + 9 of the 16 of a step. A warp with two times 64 columns stores odd pairs
      // of the second first: the banks of all lanes are different.
      const bool odd = kCols > 64 && col % 128 >= 64;
      const int unit = (col % 64 / 16 * 2) ^ (r % 8);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const bool second = odd != (i == 1);
        const float low = second ? v.y : v.x, high = second ? v.w : v.z;
        uint8_t *at = row + (unit ^ int(second)) * 16 + col % 16;
        const uint32_t packed = packHalf2Finite(low, high);
        *reinterpret_cast<uint32_t *>(at) = packed;
        const f32x2 hi = unpackHalf2(packed);
        *reinterpret_cast<uint32_t *>(at + kPartBytes) = packHalf2Finite(low - hi.x, high - hi.y);
      }
      if constexpr (kLayout.minima) {
        const float sum = warpSum<kLayout.group / 4>(v.x + v.y + v.z + v.w);
        if (col % kLayout.group == 0)
          reinterpret_cast<float *>(to + kSumsAt)[col / kLayout.group * kSumStride + r] = sum;
      }
    }
  }

  using Sums = FloatSums<kRowTile / 8>;
  template <class StageNext>
  RETORT_DEVICE static void multiply(Sums &sums, const uint8_t *const (&pieces)[kWarpBlocks],
                                     const uint8_t *from, const StageNext &stageNext) {
    const uint64_t b = wgmmaColumns(from);
    if constexpr (!kLayout.quantised()) {
#pragma unroll
      for (int i = 0; i < kWarpBlocks; ++i)
        begin(sums.v[i], pieces[i], 0, b, true);
      stageNext();
      wgmmaWait<0>();
    } else {
      // One block's group is scaled while the tensor cores have the next.
      constexpr int kUnits = kWarpBlocks * kGroups;
      float part[2][8][4];
#pragma unroll
      for (int unit = 0; unit <= kUnits; ++unit) {
        if (unit < kUnits)
          begin(part[unit % 2], pieces[unit % 2], unit / 2, b, false);
        if (unit == kUnits - 1)
          stageNext();
        if (unit == 0)
          continue;
        if (unit < kUnits)
          wgmmaWait<1>();
        else
          wgmmaWait<0>();
        addScaled(sums.v[(unit - 1) % 2], part[(unit - 1) % 2], pieces[(unit - 1) % 2],
                  (unit - 1) / 2, from);
      }
    }
  }
  template <class F> RETORT_DEVICE static void forSums(const Sums &sums, const F &f) {
    sums.forEach(f);
  }

private:
  /// Begins d (+)= a group of columns of the piece times the rows, a group of products.
  RETORT_DEVICE static void begin(float (&d)[8][4], const uint8_t *piece, int group, uint64_t b,
                                  bool accumulate) {
    constexpr int kRequestSteps = kLayout.requestSteps();
    uint32_t a[kGroupSteps][4];
    u32x4 codes;
#pragma unroll
    for (int s = 0; s < kGroupSteps; ++s) {
      const int step = group * kGroupSteps + s;
      if (step % kRequestSteps == 0 || s == 0)
        codes = loadCodes<kLayout>(piece, step / kRequestSteps);
      W::halves(a[s], codes, step);
    }
    wgmmaFence();
#pragma unroll
    for (int s = 0; s < kGroupSteps; ++s)
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        const int step = group * kGroupSteps + s;
        const int at = part * kPartBytes + step / 4 * kColumnsBytes;
        wgmmaF16(d, a[s], b + uint64_t(at / 16 + step % 4 * 2), accumulate || s > 0 || part > 0);
      }
    wgmmaCommit();
  }
  /// sums += d * part, and of minima (m + 8 d) * the sum of the group's values.
  RETORT_DEVICE static void addScaled(float (&sums)[8][4], const float (&part)[8][4],
                                      const uint8_t *piece, int group, const uint8_t *from) {
    const f32x2 d = loadScale<kLayout>(piece, group);
    f32x2 m;
    if constexpr (kLayout.minima) {
      const f32x2 least = loadScale<kLayout>(piece, group, true);
      m = makeF32x2(fmaF32(8.0f, d.x, least.x), fmaF32(8.0f, d.y, least.y));
    }
#pragma unroll
    for (int n = 0; n < 8; ++n) {
      sums[n][0] = fmaF32(d.x, part[n][0], sums[n][0]);
      sums[n][1] = fmaF32(d.x, part[n][1], sums[n][1]);
      sums[n][2] = fmaF32(d.y, part[n][2], sums[n][2]);
      sums[n][3] = fmaF32(d.y, part[n][3], sums[n][3]);
      if constexpr (kLayout.minima) {
        const f32x2 x = *reinterpret_cast<const f32x2 *>(
            from + kSumsAt + (group * kSumStride + n * 8 + int(laneIndex() % 4) * 2) * 4);
        sums[n][0] = fmaF32(m.x, x.x, sums[n][0]);
        sums[n][1] = fmaF32(m.x, x.y, sums[n][1]);
        sums[n][2] = fmaF32(m.y, x.x, sums[n][2]);
        sums[n][3] = fmaF32(m.y, x.y, sums[n][3]);
      }
    }
  }
};

} // namespace retort::cuda::prefill
