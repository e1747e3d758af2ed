//===- Products.h - Products and roots that any number of threads makes alike -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// libtorch's own share a sum out among threads where they see fit, and what is then computed depends on how
// many there are. These cut their results into tiles of fixed size, each made by one thread.
//
//===------------------------------------------------------------------------------------===//
#pragma once
#include <ATen/ATen.h>
#include <optional>

namespace retort::exec {

/// a b: of matrices, or of batches of them.
at::Tensor product(const at::Tensor &a, const at::Tensor &b);

/// a b^T + bias, with or without a bias, which has the type of `a`.
at::Tensor linearLayer(const at::Tensor &a, const at::Tensor &b, const at::Tensor &bias = {});

/// The sum of all elements of [rows, n].
double total(const at::Tensor &values);

/// The lower triangular L of L L^T = matrix, double; nothing if the matrix is not positive definite.
std::optional<at::Tensor> lowerRoot(const at::Tensor &matrix);

/// The inverse of a lower triangular matrix.
at::Tensor inverseOfLower(const at::Tensor &root);

} // namespace retort::exec
