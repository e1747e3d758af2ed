//===- Saliency.cpp - Which inputs a layer can do without ------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Saliency.h"
#include "compiler/Torch/Products.h"
#include "runtime/base/Error.h"
#include <algorithm>
#include <numeric>

namespace retort::exec {
namespace {
using at::Tensor;

/// Share of the inputs that go at a time, and the pull towards small solutions as in distill.fit.
constexpr int64_t kRounds = 48;
constexpr double kDamping = 1e-2;

Tensor inverseOf(const Tensor &matrix) {
  const std::optional<Tensor> root = lowerRoot(matrix);
  if (!root)
    fail(ExitCode::BadInput, "observe: the activations of a gated unit are not finite");
  const Tensor inverse = inverseOfLower(*root);
  return product(inverse.t(), inverse);
}

/// The inputs that are still there.
struct Rest {
  Tensor inverse; ///< of their damped X^T X, [n, n]
  Tensor weight;  ///< solved again, [outputs, n]
  std::vector<int64_t> inputs;

  /// Mean squares that the output loses if each goes alone, times rows.
  std::vector<double> losses() const {
    const Tensor loss = (weight.square().sum(0) / inverse.diagonal()).contiguous();
    return {loss.data_ptr<double>(), loss.data_ptr<double>() + loss.numel()};
  }

  /// Removes those at `gone` (ascending) and returns what the output loses by it.
  double remove(const std::vector<int64_t> &gone) {
    std::vector<int64_t> left, leftInputs;
    for (int64_t i = 0; i < int64_t(inputs.size()); ++i)
      if (!std::binary_search(gone.begin(), gone.end(), i))
        left.push_back(i), leftInputs.push_back(inputs[size_t(i)]);
    const Tensor out = at::tensor(gone, at::kLong), stay = at::tensor(left, at::kLong);
    const Tensor rows = inverse.index_select(0, out);
    const Tensor core = inverseOf(rows.index_select(1, out)); // of [H^-1]_SS
    const Tensor weights = weight.index_select(1, out);
    const double loss = total(product(weights, core) * weights);
    const Tensor across = rows.index_select(1, stay), pull = product(core, across);
    weight = weight.index_select(1, stay).sub_(product(weights, pull));
    inverse = inverse.index_select(0, stay).index_select(1, stay).sub_(product(across.t(), pull));
    inputs = std::move(leftInputs);
    return loss;
  }
};
} // namespace

std::vector<float> inputImportance(const Tensor &gram, const Tensor &weight, int64_t rows) {
  const int64_t count = gram.size(0);
  Tensor damped = gram.to(at::kDouble, /*non_blocking=*/false, /*copy=*/true);
  const double square = damped.diagonal().mean().item<double>();
  damped.diagonal().add_(square > 0 ? kDamping * square : 1.0);
  Rest rest{inverseOf(damped), weight.to(at::kDouble), std::vector<int64_t>(size_t(count))};
  std::iota(rest.inputs.begin(), rest.inputs.end(), 0);

  std::vector<float> importance(static_cast<size_t>(count));
  const int64_t step = std::max<int64_t>(1, count / kRounds);
  double lost = 0;
  while (!rest.inputs.empty()) {
    const std::vector<double> losses = rest.losses();
    std::vector<int64_t> order(losses.size());
    std::iota(order.begin(), order.end(), 0);
    std::ranges::stable_sort(
        order, [&](int64_t a, int64_t b) { return losses[size_t(a)] < losses[size_t(b)]; });
    order.resize(size_t(std::min<int64_t>(step, int64_t(order.size()))));
    // Within a round, in the order of their own losses.
    for (const int64_t i : order)
      importance[size_t(rest.inputs[size_t(i)])] =
          float((lost + losses[size_t(i)]) / double(std::max<int64_t>(1, rows)));
    std::ranges::sort(order);
    lost += rest.remove(order);
  }
  return importance;
}

} // namespace retort::exec
