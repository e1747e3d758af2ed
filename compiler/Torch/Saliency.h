//===- Saliency.h - Which inputs a layer can do without ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <ATen/ATen.h>
#include <vector>

namespace retort::exec {

/// How much each input of a linear layer matters, when the inputs that are kept make up for those
/// that go: inputs are removed, the least harmful first, a few at a time, and the rest solved for
/// again by least squares (Optimal Brain Surgeon for columns as in ZipLM, arXiv:2302.04089,
/// algorithm 1). An input's importance is the mean square that the layer's output has lost, over
/// `rows`, when it goes: the k inputs to keep are the k most important ones.
///
/// `gram` is X^T X, [inputs, inputs]; `weight` [outputs, inputs]; `rows` those of X.
std::vector<float> inputImportance(const at::Tensor &gram, const at::Tensor &weight, int64_t rows);

} // namespace retort::exec
