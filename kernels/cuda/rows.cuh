// Phases over rows alone, for what no product could take in: norm, gated activation, residual. For decode and prefill.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/cuda/activate.cuh"
#include "kernels/cuda/cta.cuh"
namespace retort::cuda {

/// dest[r] = residual[r] + norm(source[r]), over each of Groups slices of the row with the same gain.
///   P: Size (columns), Groups, SourceStride, DestStride, float NormOffset, eps, bool HasResidual
///   gain [Size / Groups] f32    residual [rows][DestStride] f32, may be dest
/// A warp a slice: its lanes' sums in order, then over lanes. Traffic: the row twice (from L2), once out.
template <class P>
RETORT_DEVICE void norm(Cta &cta, const float *source, const float *gain, float *dest,
                        const float *residual) {
  constexpr int kSize = P::Size / P::Groups;
  const int lane = int(laneIndex()), slices = cta.step.num_rows * P::Groups;
  for (int s = int(ctaIndex() + warpIndex() * ctaCount()); s < slices;
       s += int(ctaCount()) * kWarps) {
    const int r = s / P::Groups, at = s % P::Groups * kSize;
    const float *x = source + int64_t(r) * P::SourceStride + at;
    float sum = 0;
    for (int i = lane; i < kSize; i += 32) {
      const float v = asFloat(ldGlobal32(x + i));
      sum = fmaF32(v, v, sum);
    }
    const float scale = rsqrtApprox(warpSum(sum) * (1.0f / kSize) + P::eps);
    for (int i = lane; i < kSize; i += 32) {
      const int64_t to = int64_t(r) * P::DestStride + at + i;
      float y = asFloat(ldGlobal32(x + i)) * scale *
                (asFloat(ldGlobalNc32(gain + i)) + P::NormOffset);
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

/// dest[r][i] = act(gate[r][GateAt + i]) * up[r][UpAt + i]. P: Size, GateAt, GateStride, UpAt, UpStride, DestStride, Act.
template <class P>
RETORT_DEVICE void glu(Cta &cta, const float *gate, const float *up, float *dest) {
  forElements<P::Size>(cta, [&](int r, int i) {
    const float g = asFloat(ldGlobal32(gate + int64_t(r) * P::GateStride + P::GateAt + i));
    const float u = asFloat(ldGlobal32(up + int64_t(r) * P::UpStride + P::UpAt + i));
    dest[int64_t(r) * P::DestStride + i] = activate<P::Act>(g) * u;
  });
}

/// dest[r][i] = lhs[r][i] + rhs[r][i]; dest may be either. P: Size.
template <class P>
RETORT_DEVICE void residual(Cta &cta, const float *lhs, const float *rhs, float *dest) {
  forElements<P::Size>(cta, [&](int r, int i) {
    const int64_t at = int64_t(r) * P::Size + i;
    dest[at] = asFloat(ldGlobal32(lhs + at)) + asFloat(ldGlobal32(rhs + at));
  });
}

} // namespace retort::cuda
