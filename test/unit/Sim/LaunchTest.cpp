//===- LaunchTest.cpp - Kernels through the driver API --------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "test/unit/Sim/Sim.h"

namespace retort::test {
namespace {

TEST_F(Sim, AddsVectors) {
  start();
  CUfunction add = function(load(R"(
RETORT_KERNEL(add, 256, 1, const float *a, const float *b, float *c, int n) {
  const int i = int(ctaIndex() * threadCount() + threadIndex());
  if (i < n) c[i] = a[i] + b[i];
})"), "add");
  std::vector<float> a(1000), b(1000);
  for (int i = 0; i < 1000; ++i)
    a[size_t(i)] = float(i), b[size_t(i)] = float(3 * i);
  const CUdeviceptr pa = upload(a), pb = upload(b), pc = upload(a);
  ASSERT_EQ(launch(add, 4, 256, 0, false, pa, pb, pc, 1000), CUDA_SUCCESS);
  const auto c = download<float>(pc, 1000);
  for (int i = 0; i < 1000; ++i)
    ASSERT_EQ(c[size_t(i)], float(4 * i));
}

} // namespace
} // namespace retort::test
