// Shapes that the kernels are tested with: SmolLM2's, and odd ones.
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/cuda/matmul.cuh"
namespace retort::cuda::shapes {

template <int In_, int Out_, class W, bool Norm_ = false, bool Residual = false, int Rows = 16>
struct Mat {
  static constexpr int In = In_, Out = Out_, MaxRows = Rows;
  using Weights = W;
  static constexpr int SourceStride = In_, SourceAt = 0, DestStride = Out_;
  static constexpr bool Norm = Norm_, HasBias = false, HasResidual = Residual, Wanted = false;
  static constexpr bool NormOffset = false;
  static constexpr float eps = 1e-5f, softCap = 0;
  static constexpr Activation Act = Activation::Silu;
};

} // namespace retort::cuda::shapes
