//===- Gram.h - A layer's normal equations ----------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Torch/Rows.h"
#include "runtime/base/NumberFormat.h"
#include <ATen/ATen.h>
#include <string>
#include <vector>

namespace retort::exec {

/// X^T X of a layer's inputs, damped, and what is made of it; double. Throws Error (BadInput) where the
/// equations of the layer `name`, whose string must outlive the object, cannot be solved.
class Gram {
public:
  /// `inputs` are the rows of each run, [rows, features] float; `damping`, above 0, is the ridge, as a
  /// share of the mean square of a feature.
  Gram(const std::vector<at::Tensor> &inputs, double damping, const std::string &name);

  /// The D of D X^T X = right^T; right is [features, outputs], D [outputs, features].
  at::Tensor solve(const at::Tensor &right);
  /// Rounds the rows of a matrix that reads these inputs, [outputs, features] float, by
  /// weight::gptqRow.
  void round(const at::Tensor &matrix, const NumberFormat &format);
  /// What the layer's output changes by where its matrix changes by `change`: the sum of squares over
  /// rows and outputs, the ridge included.
  double changeOf(const at::Tensor &change) const;

private:
  void factorise();
  at::Tensor inverseOfRoot(const at::Tensor &matrix) const;

  const std::string &name_;
  at::Tensor damped_, inverse_, order_, factor_;
};

/// Factors of the rows of each run, [rows, 1], by which equations are multiplied. The first tokens of
/// all documents count as one row together: they are the same vector, many times as large as any
/// other (massive activations, arXiv:2402.17762), and would outweigh the text.
std::vector<at::Tensor> rowFactors(const std::vector<Rows> &runs);

} // namespace retort::exec
