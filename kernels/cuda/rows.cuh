// Phases over rows alone, for what no product could take in: norms, gated activation, residual.
// SPDX-License-Identifier: Apache-2.0
//
// The same for decode and prefill.
#pragma once
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/cta.cuh"
namespace retort::cuda {

/// dest[r] = residual[r] + norm(source[r]), over each of `groups` slices of the row with the same
/// gain.
///   gain [features / groups] f32
///   source, residual, dest [rows][features] f32; dest may be either
/// A warp a slice: its lanes' sums in order, then over lanes. Traffic: the row twice (from L2),
/// once out.
template <NormShape P>
RETORT_PHASE void norm(Cta &cta, const float *source, const float *gain, const float *residual,
                       float *dest) {
  constexpr int kSize = P.features / P.groups;
  const int lane = int(laneIndex()), slices = cta.step.num_rows * P.groups;
  for (int s = int(ctaIndex() + warpIndex() * ctaCount()); s < slices;
       s += int(ctaCount()) * kWarps) {
    if (lane == 0)
      countTile();
    const int r = s / P.groups, at = s % P.groups * kSize;
    const float *x = source + int64_t(r) * P.features + at;
    float sum = 0;
    for (int i = lane; i < kSize; i += 32) {
      const float v = asFloat(ldGlobal32(x + i));
      sum = fmaF32(v, v, sum);
    }
    constexpr float kEps = P.eps;
    const float scale = rsqrtApprox(warpSum(sum) * (1.0f / kSize) + kEps);
    for (int i = lane; i < kSize; i += 32) {
      const int64_t to = int64_t(r) * P.features + at + i;
      float y = asFloat(ldGlobal32(x + i)) * scale *
                (asFloat(ldGlobalNc32(gain + i)) + float(P.normOffset));
      if constexpr (P.hasResidual)
        y += asFloat(ldGlobal32(residual + to));
      dest[to] = y;
    }
  }
}

/// dest[r][i] = gain[i] * (source[r][i] - m) / sqrt(v + eps) + bias[i], m being the row's mean and v
/// the mean of the squared distances from it.
///   gain, bias [features] f32
///   source, dest [rows][features] f32; they may be one
/// A warp a row: its lanes' sums in order, then over lanes. Traffic: the row three times (from L2),
/// once out.
template <LayerNormShape P>
RETORT_PHASE void layerNorm(Cta &cta, const float *source, const float *gain, const float *bias,
                            float *dest) {
  const int lane = int(laneIndex());
  constexpr float kInverse = 1.0f / P.features, kEps = P.eps;
  for (int r = int(ctaIndex() + warpIndex() * ctaCount()); r < int(cta.step.num_rows);
       r += int(ctaCount()) * kWarps) {
    if (lane == 0)
      countTile();
    const float *x = source + int64_t(r) * P.features;
    float sum = 0, squares = 0;
    for (int i = lane; i < P.features; i += 32)
      sum += asFloat(ldGlobal32(x + i));
    const float mean = warpSum(sum) * kInverse;
    for (int i = lane; i < P.features; i += 32) {
      const float v = asFloat(ldGlobal32(x + i)) - mean;
      squares = fmaF32(v, v, squares);
    }
    const float scale = rsqrtApprox(warpSum(squares) * kInverse + kEps);
    for (int i = lane; i < P.features; i += 32)
      dest[int64_t(r) * P.features + i] =
          (asFloat(ldGlobal32(x + i)) - mean) * scale * asFloat(ldGlobalNc32(gain + i)) +
          asFloat(ldGlobalNc32(bias + i));
  }
}

/// f(row, column) for each element of the step's rows, spread over the grid.
template <int Size, class F> RETORT_DEVICE void forElements(const Cta &cta, const F &f) {
  const int64_t count = int64_t(cta.step.num_rows) * Size;
  for (int64_t i = int64_t(ctaIndex()) * kThreads + threadIndex(); i < count;
       i += int64_t(ctaCount()) * kThreads) {
    if (threadIndex() == 0)
      countTile();
    f(int(i / Size), int(i % Size));
  }
}

/// dest[r][i] = act(gate[r][gateAt + i]) * up[r][upAt + i].
template <GluShape P>
RETORT_PHASE void glu(Cta &cta, const float *gate, const float *up, float *dest) {
  forElements<P.channels>(cta, [&](int r, int i) {
    const float g = asFloat(ldGlobal32(gate + int64_t(r) * P.gateStride + P.gateAt + i));
    const float u = asFloat(ldGlobal32(up + int64_t(r) * P.upStride + P.upAt + i));
    dest[int64_t(r) * P.channels + i] = activate<P.act>(g) * u;
  });
}

/// dest[r][i] = residual[r][i] + (first[r][i] + second[r][i]).
template <SumShape P>
RETORT_PHASE void sum(Cta &cta, const float *first, const float *second, const float *residual,
                      float *dest) {
  forElements<P.features>(cta, [&](int r, int i) {
    const int64_t at = int64_t(r) * P.features + i;
    float y = asFloat(ldGlobal32(first + at)) + asFloat(ldGlobal32(second + at));
    if constexpr (P.hasResidual)
      y = asFloat(ldGlobal32(residual + at)) + y;
    dest[at] = y;
  });
}

/// dest[r][i] = lhs[r][i] + rhs[r][i]; dest may be either.
template <SumShape P>
RETORT_PHASE void residual(Cta &cta, const float *lhs, const float *rhs, float *dest) {
  forElements<P.features>(cta, [&](int r, int i) {
    const int64_t at = int64_t(r) * P.features + i;
    dest[at] = asFloat(ldGlobal32(lhs + at)) + asFloat(ldGlobal32(rhs + at));
  });
}

} // namespace retort::cuda
