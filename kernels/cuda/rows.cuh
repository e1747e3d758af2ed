// Phases over rows alone, for what no product could take in: norm, gated activation, residual.
// SPDX-License-Identifier: Apache-2.0
//
// The same for decode and prefill.
#pragma once
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/cta.cuh"
namespace retort::cuda {

/// dest[r] = residual[r] + norm(source[r]), over each of Groups slices of the row with the same
/// gain.
///   P: Features, Groups, float eps, bool NormOffset, HasResidual
///   gain [Features / Groups] f32
///   source, residual, dest [rows][Features] f32; dest may be either
/// A warp a slice: its lanes' sums in order, then over lanes. Traffic: the row twice (from L2),
/// once out.
template <class P>
RETORT_PHASE void norm(Cta &cta, const float *source, const float *gain, const float *residual,
                       float *dest) {
  constexpr int kSize = P::Features / P::Groups;
  const int lane = int(laneIndex()), slices = cta.step.num_rows * P::Groups;
  for (int s = int(ctaIndex() + warpIndex() * ctaCount()); s < slices;
       s += int(ctaCount()) * kWarps) {
    const int r = s / P::Groups, at = s % P::Groups * kSize;
    const float *x = source + int64_t(r) * P::Features + at;
    float sum = 0;
    for (int i = lane; i < kSize; i += 32) {
      const float v = asFloat(ldGlobal32(x + i));
      sum = fmaF32(v, v, sum);
    }
    const float scale = rsqrtApprox(warpSum(sum) * (1.0f / kSize) + P::eps);
    for (int i = lane; i < kSize; i += 32) {
      const int64_t to = int64_t(r) * P::Features + at + i;
      float y = asFloat(ldGlobal32(x + i)) * scale *
                (asFloat(ldGlobalNc32(gain + i)) + float(P::NormOffset));
      if constexpr (P::HasResidual)
        y += asFloat(ldGlobal32(residual + to));
      dest[to] = y;
    }
  }
}

/// f(row, column) for each element of the step's rows, spread over the grid.
template <int Size, class F> RETORT_DEVICE void forElements(const Cta &cta, const F &f) {
  const int64_t count = int64_t(cta.step.num_rows) * Size;
  for (int64_t i = int64_t(ctaIndex()) * kThreads + threadIndex(); i < count;
       i += int64_t(ctaCount()) * kThreads)
    f(int(i / Size), int(i % Size));
}

/// dest[r][i] = act(gate[r][GateAt + i]) * up[r][UpAt + i]. P: Channels, GateAt,
/// GateStride, UpAt, UpStride, Act.
template <class P>
RETORT_PHASE void glu(Cta &cta, const float *gate, const float *up, float *dest) {
  forElements<P::Channels>(cta, [&](int r, int i) {
    const float g = asFloat(ldGlobal32(gate + int64_t(r) * P::GateStride + P::GateAt + i));
    const float u = asFloat(ldGlobal32(up + int64_t(r) * P::UpStride + P::UpAt + i));
    dest[int64_t(r) * P::Channels + i] = activate<P::Act>(g) * u;
  });
}

/// dest[r][i] = residual[r][i] + (first[r][i] + second[r][i]). P: Features, HasResidual.
template <class P>
RETORT_PHASE void sum(Cta &cta, const float *first, const float *second, const float *residual,
                      float *dest) {
  forElements<P::Features>(cta, [&](int r, int i) {
    const int64_t at = int64_t(r) * P::Features + i;
    float y = asFloat(ldGlobal32(first + at)) + asFloat(ldGlobal32(second + at));
    if constexpr (P::HasResidual)
      y = asFloat(ldGlobal32(residual + at)) + y;
    dest[at] = y;
  });
}

/// dest[r][i] = lhs[r][i] + rhs[r][i]; dest may be either. P: Features.
template <class P>
RETORT_PHASE void residual(Cta &cta, const float *lhs, const float *rhs, float *dest) {
  forElements<P::Features>(cta, [&](int r, int i) {
    const int64_t at = int64_t(r) * P::Features + i;
    dest[at] = asFloat(ldGlobal32(lhs + at)) + asFloat(ldGlobal32(rhs + at));
  });
}

} // namespace retort::cuda
