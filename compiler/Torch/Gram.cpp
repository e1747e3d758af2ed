//===- Gram.cpp - A layer's normal equations -------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Gram.h"
#include "compiler/Torch/Parallel.h"
#include "compiler/Torch/Products.h"
#include "compiler/Weights/Pack.h"
#include "runtime/base/Error.h"
#include <algorithm>
#include <cmath>

namespace retort::exec {
using at::Tensor;

Gram::Gram(const std::vector<Tensor> &inputs, double damping, const std::string &name)
    : name_(name) {
  for (const Tensor &x : inputs) {
    const Tensor more = product(x.t(), x).to(at::kDouble);
    damped_ = damped_.defined() ? damped_.add_(more) : more;
  }
  const double square = damped_.diagonal().mean().item<double>();
  damped_.diagonal().add_(square > 0 ? square * damping : 1.0); // a layer that reads zeros: any
}

Tensor Gram::solve(const Tensor &right) {
  if (!inverse_.defined())
    inverse_ = inverseOfRoot(damped_);
  return product(product(inverse_, right).t(), inverse_);
}

void Gram::round(const Tensor &matrix, const NumberFormat &format) {
  if (!factor_.defined())
    factorise();
  const int64_t cols = matrix.size(1);
  parallel(matrix.size(0), 8, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      weight::gptqRow(format, {data<float>(matrix) + row * cols, size_t(cols)},
                      {data<int32_t>(order_), size_t(cols)}, data<float>(factor_));
  });
}

double Gram::changeOf(const Tensor &change) const {
  const Tensor wide = change.to(at::kDouble);
  return total(product(wide, damped_) * wide);
}

/// Makes what gptqRow asks for, once for all layers that read these inputs. Columns are rounded by
/// falling square: early ones are made up for by all that follow (act-order of the GPTQ authors'
/// code).
void Gram::factorise() {
  const Tensor order =
      at::argsort(damped_.diagonal(), /*stable=*/true, /*dim=*/0, /*descending=*/true);
  // The upper root of the inverse of A is, last row and column first, the inverse of the lower root of
  // A, last row and column first.
  const Tensor last = order.flip(0);
  factor_ = inverseOfRoot(damped_.index_select(0, last).index_select(1, last))
                .flip({0, 1})
                .to(at::kFloat)
                .contiguous();
  order_ = order.to(at::kInt);
}

Tensor Gram::inverseOfRoot(const Tensor &matrix) const {
  const std::optional<Tensor> root = lowerRoot(matrix);
  if (!root)
    fail(ExitCode::BadInput,
         "the equations of '" + name_ + "' cannot be solved: raise the damping");
  return inverseOfLower(*root);
}

std::vector<Tensor> rowFactors(const std::vector<Rows> &runs) {
  int64_t starts = 0;
  for (const Rows &rows : runs)
    starts += std::ranges::count(rows.positions, 0);
  std::vector<Tensor> factors;
  for (const Rows &rows : runs) {
    std::vector<float> values;
    for (const int32_t position : rows.positions)
      values.push_back(position == 0 ? 1 / std::sqrt(float(starts)) : 1);
    factors.push_back(at::tensor(values).unsqueeze(1));
  }
  return factors;
}

} // namespace retort::exec
