// All that an emitted program calls. SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/cuda/argmax.cuh"
#include "kernels/cuda/attend.cuh"
#include "kernels/cuda/embed.cuh"
#include "kernels/cuda/matmul.cuh"
#include "kernels/cuda/prefill_attention.cuh"
#include "kernels/cuda/prefill_matmul.cuh"
#include "kernels/cuda/rows.cuh"
#include "kernels/cuda/sample.cuh"
namespace retort::cuda::prefill { // the same in both
using cuda::angles;
using cuda::embed;
using cuda::glu;
using cuda::layerNorm;
using cuda::norm;
using cuda::residual;
using cuda::sum;
} // namespace retort::cuda::prefill
