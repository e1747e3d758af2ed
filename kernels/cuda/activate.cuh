// Activations and soft caps. SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/cuda/shapes.h"
#include "kernels/cuda/wrap.cuh"
#include "runtime/base/Activation.h"
namespace retort::cuda {

/// 1 - 2 / (1 + e^2x): exact at both ends, absolute error 2^-21.
RETORT_DEVICE float tanhOf(float x) {
  const float clamped = x > 15.0f ? 15.0f : x < -15.0f ? -15.0f : x;
  return 1.0f - 2.0f * rcpApprox(1.0f + expApprox(2.0f * clamped));
}
/// Abramowitz and Stegun 7.1.26: absolute error 2e-7.
RETORT_DEVICE float erfOf(float x) {
  const float z = x < 0 ? -x : x, t = rcpApprox(fmaF32(0.3275911f, z, 1.0f));
  float p = fmaF32(1.061405429f, t, -1.453152027f);
  p = fmaF32(p, t, 1.421413741f);
  p = fmaF32(p, t, -0.284496736f);
  p = fmaF32(p, t, 0.254829592f);
  const float e = 1.0f - p * t * expApprox(-z * z);
  return x < 0 ? -e : e;
}
template <Activation A> RETORT_DEVICE float activate(float x) {
  if constexpr (A == Activation::Silu)
    return x * rcpApprox(1.0f + expApprox(-x));
  else if constexpr (A == Activation::Sigmoid)
    return rcpApprox(1.0f + expApprox(-x));
  else if constexpr (A == Activation::GeluTanh)
    return 0.5f * x * (1.0f + tanhOf(0.7978845608f * (x + 0.044715f * x * x * x)));
  else
    return 0.5f * x * (1.0f + erfOf(x * 0.7071067812f));
}
/// cap * tanh(x / cap) (Gemma 2, arXiv:2408.00118).
RETORT_DEVICE float softCapped(float x, float cap) { return cap * tanhOf(x / cap); }
/// A product's sum of weight row n with its bias [out], then capped, as far as P says.
template <ProductShape P> RETORT_DEVICE float biasedAndCapped(float y, const float *bias, int n) {
  if constexpr (P.hasBias)
    y += asFloat(ldGlobalNc32(bias + n));
  if constexpr (constexpr float kCap = P.softCap; kCap != 0)
    y = softCapped(y, kCap);
  return y;
}

} // namespace retort::cuda
