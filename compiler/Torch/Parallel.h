//===- Parallel.h - Sharing kernels out among threads ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Torch/Kernels.h"
#include <ATen/ATen.h>
#include <c10/util/BFloat16.h>
#include <c10/util/FunctionRef.h>

namespace retort::exec {

/// The elements of a contiguous tensor as the kernels want them: float or Bf16.
template <typename T> T *data(const at::Tensor &tensor) {
  TORCH_INTERNAL_ASSERT(tensor.is_contiguous() && tensor.element_size() == sizeof(T));
  return static_cast<T *>(tensor.data_ptr());
}

/// Calls work(T()) with the element type of activations of `type`.
template <typename Work> auto withType(at::ScalarType type, Work &&work) {
  return type == at::kBFloat16 ? work(Bf16{}) : work(float{});
}

/// Calls work(begin, end) for chunks of [0, count), of at least `grain` but the last, in any order,
/// on the threads that libtorch itself computes with. Throws what a chunk throws, of several one.
void parallel(int64_t count, int64_t grain, c10::function_ref<void(int64_t, int64_t)> work);

/// Calls work(i) for each i of [0, count), in any order, on the same threads. What libtorch computes in
/// it has that one thread, and no gradients: its bits do not depend on how many threads there are.
void shareOut(int64_t count, c10::function_ref<void(int64_t)> work);

/// Elements a thread should have at least, so that starting it pays.
constexpr int64_t kGrain = 16384;

} // namespace retort::exec
