//===- Dispatch.cpp - Picks the loops for this CPU ------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Kernels.h"
#include "runtime/base/Error.h"

namespace retort::exec {
namespace {
bool hasV4() {
  static const bool has = __builtin_cpu_supports("x86-64-v4");
  return has;
}
void needV3() {
  if (!__builtin_cpu_supports("x86-64-v3"))
    fail(ExitCode::Unsupported, "the executor needs a CPU with AVX2 and FMA (x86-64-v3)");
}
} // namespace

template <typename T> const KernelTable<T> &kernels() {
  static const KernelTable<T> &chosen = (needV3(), hasV4() ? v4::table<T>() : v3::table<T>());
  return chosen;
}
template const KernelTable<float> &kernels<float>();
template const KernelTable<Bf16> &kernels<Bf16>();

double sumOfSquares(const float *values, int64_t begin, int64_t end) {
  return hasV4() ? v4::sumOfSquares(values, begin, end) : v3::sumOfSquares(values, begin, end);
}

} // namespace retort::exec
