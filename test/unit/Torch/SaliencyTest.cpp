//===- SaliencyTest.cpp - Which inputs a layer can do without -------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Saliency.h"
#include <gtest/gtest.h>
#include <numeric>

namespace retort::exec {
namespace {
using at::Tensor;

/// Inputs of which many are nearly sums of others, as those of a gated unit are.
Tensor correlated(int64_t rows, int64_t inputs, int64_t sources) {
  at::manual_seed(3);
  const Tensor x = at::mm(at::randn({rows, sources}), at::randn({sources, inputs}));
  return x + 0.1 * at::randn({rows, inputs});
}

std::vector<int64_t> top(const std::vector<float> &importance, int64_t count) {
  std::vector<int64_t> order(importance.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return importance[size_t(a)] > importance[size_t(b)];
  });
  order.resize(size_t(count));
  return order;
}

/// The mean square that the layer's output loses with only these inputs, solved for again.
double lossOf(const Tensor &x, const Tensor &weight, const std::vector<int64_t> &kept) {
  const Tensor few = x.index_select(1, at::tensor(kept, at::kLong));
  const Tensor wanted = at::mm(x, weight.t());
  const Tensor gram = at::mm(few.t(), few) + 1e-3 * at::eye(few.size(1));
  const Tensor solved = at::linalg_solve(gram, at::mm(few.t(), wanted));
  return (at::mm(few, solved) - wanted).square().mean().item<double>();
}

// Inputs kept by importance lose less than those of the largest contribution.
TEST(Saliency, BeatsMagnitude) {
  const Tensor x = correlated(400, 64, 20), weight = at::randn({24, 64});
  const std::vector<float> importance = inputImportance(at::mm(x.t(), x), weight, 400);
  const Tensor size = (x.abs().mean(0) * weight.norm(2, 0)).contiguous();
  const std::vector<float> magnitude(size.data_ptr<float>(), size.data_ptr<float>() + 64);
  EXPECT_LT(lossOf(x, weight, top(importance, 24)), 0.8 * lossOf(x, weight, top(magnitude, 24)));
}

// Of two equal inputs one is worth nothing; an input that nothing reads, or that is always 0, too.
TEST(Saliency, FindsWhatIsFree) {
  Tensor x = at::randn({300, 8}), weight = at::randn({5, 8});
  x.select(1, 6).copy_(x.select(1, 2));
  x.select(1, 1).zero_();
  weight.select(1, 4).zero_();
  const std::vector<float> importance = inputImportance(at::mm(x.t(), x), weight, 300);
  const std::vector<int64_t> kept = top(importance, 5);
  for (const int64_t free : {1, 4})
    EXPECT_EQ(std::ranges::count(kept, free), 0) << free;
  EXPECT_EQ(std::ranges::count(kept, 2) + std::ranges::count(kept, 6), 1);
  EXPECT_LT(lossOf(x, weight, kept), 1e-3);
}

TEST(Saliency, ZerosAreAllEqual) {
  const std::vector<float> importance = inputImportance(at::zeros({6, 6}), at::zeros({3, 6}), 10);
  EXPECT_EQ(importance, std::vector<float>(6, 0.0f));
}

} // namespace
} // namespace retort::exec
