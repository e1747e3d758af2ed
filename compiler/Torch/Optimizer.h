//===- Optimizer.h - AdamW over float32 weights ---------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Torch/Executor.h"
#include "compiler/Torch/ScaledCodes.h"
#include "compiler/Torch/Weights.h"
#include "compiler/Weights/Pack.h"

namespace retort::exec {

/// A trained parameter: what is trained of it, Adam's moments, and where the model reads it.
struct Trained {
  /// Float; what is trained: the weights, [rows, cols] or [cols], or the factors of `codes`, and its
  /// gradient.
  at::Tensor master, grad, mean, variance;
  Weight *weight = nullptr;
  const Param *param = nullptr;
  bool fakeQuantised = false;       ///< the model sees what quantisation leaves of `master`
  std::optional<ScaledCodes> codes; ///< the codes stay, and `master` multiplies their scales

  /// The weights as they are now: float, [rows, cols] or [cols].
  at::Tensor values() const;
};

/// Replaces each value of a matrix by the one that packing to `format` would store.
void fakeQuantise(const NumberFormat &format, const at::Tensor &matrix);

class Optimizer {
public:
  /// Reads all parameters of `model` and points `weights` at them. Keeps state for those that are
  /// not frozen.
  Optimizer(const Model &model, Weights &weights, const TrainOptions &options);

  std::vector<Trained> &params() { return params_; }
  /// Makes what the model reads from the float32 weights, after they were loaded.
  void publish();
  void clearGradients();
  /// Back to the parameters of `model`, without moments.
  void restart(const Model &model);
  /// One update by the gradients' sum over `predicted` tokens, at `rate`; clears them. Updates
  /// nothing and returns false if their norm is not finite. `step` counts from 0.
  bool update(int64_t step, int64_t predicted, double rate);

private:
  void train(const Model &model, ParamId param, Weights &weights);
  double gradientNorm();
  void publish(Trained &trained);
  void apply(Trained &trained, double rate, double scale, int64_t step);

  const TrainOptions &options_;
  std::vector<Trained> params_;
};

/// The learning rate of a step: linear warm-up, then as options.schedule says.
double learningRate(const TrainOptions &options, int64_t step, int64_t totalSteps);

} // namespace retort::exec
