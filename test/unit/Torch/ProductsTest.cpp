//===- ProductsTest.cpp - Products and roots, on any number of threads --------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Products.h"
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

namespace retort::exec {
namespace {
using at::Tensor;

/// Calls work() on 1, 2, 3 and 7 threads and expects the same bits of each.
Tensor onAnyThreads(const std::function<Tensor()> &work) {
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const Tensor one = work();
  for (const int threads : {2, 3, 7}) {
    at::set_num_threads(threads);
    EXPECT_TRUE(at::equal(work(), one)) << threads << " threads";
  }
  at::set_num_threads(before);
  return one;
}

void expectClose(const Tensor &result, const Tensor &reference, double tolerance) {
  ASSERT_EQ(result.sizes(), reference.sizes());
  EXPECT_LE((result.to(at::kDouble) - reference).abs().max().item<double>(),
            tolerance * reference.abs().max().item<double>());
}

// Sizes below, at and above those of tiles; each operand as it is and transposed; batches.
TEST(Products, AreThoseOfDoubles) {
  at::manual_seed(1);
  for (const auto type : {at::kFloat, at::kBFloat16, at::kDouble})
    for (const int64_t m : {1, 37, 256, 300})
      for (const int64_t n : {1, 100, 257, 530})
        for (const bool turned : {false, true}) {
          const int64_t k = 70;
          const Tensor a = (turned ? at::randn({k, m}).t() : at::randn({m, k})).to(type);
          const Tensor b = (turned ? at::randn({n, k}).t() : at::randn({k, n})).to(type);
          const double tolerance = type == at::kBFloat16 ? 1e-2 : 1e-5;
          const Tensor reference = at::mm(a.to(at::kDouble), b.to(at::kDouble));
          expectClose(onAnyThreads([&] { return product(a, b); }), reference, tolerance);
          const Tensor bias = at::randn({n}).to(type);
          expectClose(onAnyThreads([&] { return linearLayer(a, b.t(), bias); }), reference + bias,
                      tolerance);
        }
  const Tensor a = at::randn({3, 300, 65}), b = at::randn({3, 270, 65}).transpose(1, 2);
  expectClose(onAnyThreads([&] { return product(a, b); }),
              at::bmm(a.to(at::kDouble), b.to(at::kDouble)), 1e-5);
}

TEST(Products, TotalsAndRoots) {
  at::manual_seed(2);
  const Tensor many = at::randn({70000, 3});
  const Tensor sum = onAnyThreads([&] { return at::scalar_tensor(total(many), at::kDouble); });
  EXPECT_NEAR(sum.item<double>(), many.to(at::kDouble).sum().item<double>(), 1e-3);
  for (const int64_t n : {1, 5, 256, 257, 600}) {
    const Tensor x = at::randn({n, 2 * n}, at::kDouble);
    const Tensor matrix = at::mm(x, x.t()) + at::eye(n, at::kDouble);
    const Tensor root = onAnyThreads([&] { return *lowerRoot(matrix); });
    EXPECT_TRUE(at::equal(root, root.tril()));
    expectClose(at::mm(root, root.t()), matrix, 1e-12);
    const Tensor inverse = onAnyThreads([&] { return inverseOfLower(root); });
    expectClose(at::mm(inverse, root), at::eye(n, at::kDouble), 1e-10);
  }
  EXPECT_FALSE(lowerRoot(-at::eye(300, at::kDouble)));
}

} // namespace
} // namespace retort::exec
