//===- Weights.h - A model's parameters as tensors ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Torch/Executor.h"
#include <ATen/ATen.h>
#include <vector>

namespace retort::exec {

/// The type of activations and matrices.
inline at::ScalarType typeOf(Precision precision) {
  return precision == Precision::Bf16 ? at::kBFloat16 : at::kFloat;
}

/// A parameter in memory. Matrices [rows, cols] have the type of activations, vectors are float.
struct Weight {
  at::Tensor value;
  at::Tensor grad;      ///< float, the shape of `value`; defined if the parameter is trained
  bool hasGrad = false; ///< whether `grad` holds something since it was last cleared
  /// Adds to the gradient.
  void accumulate(const at::Tensor &more);
};

/// The parameters of a model, each read when it is first asked for.
class Weights {
public:
  Weights(const Model &model, at::ScalarType type);
  Weight &get(ParamId param);
  /// The place of a parameter, read or not.
  Weight &slot(ParamId param) { return weights_[size_t(param)]; }
  void drop(ParamId param) { weights_[size_t(param)] = {}; }
  const Graph &graph() const { return *model_.graph; }
  at::ScalarType type() const { return type_; }

private:
  const Model &model_;
  at::ScalarType type_;
  std::vector<Weight> weights_;
};

/// Reads a parameter as float32: [rows, cols], or [cols] if it is a vector. Throws what `read`
/// returns, and BadInput if a value is not finite.
at::Tensor readParam(const Model &model, ParamId param);

} // namespace retort::exec
