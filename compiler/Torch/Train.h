//===- Train.h - Training and distillation ----------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Torch/Executor.h"

namespace retort::exec {

/// Executor::train; throws Error.
void train(const Model &student, const Model *teacher, const std::vector<Sequence> &sequences,
           const TrainOptions &options, const OnProgress &progress, TrainResult &result);

/// The order of the data: a permutation of the sequences for each time through them.
class Order {
public:
  Order(size_t sequences, uint64_t seed) : count_(sequences), seed_(seed) {}
  /// The sequence at `position` of the endless order.
  size_t at(int64_t position);

private:
  size_t count_;
  uint64_t seed_;
  int64_t epoch_ = -1;
  std::vector<size_t> shuffled_; ///< of epoch_
};

/// Cuts the order into optimiser steps: positions [steps[i], steps[i + 1]) are those of step i.
std::vector<int64_t> planSteps(Order &order, const std::vector<Sequence> &sequences,
                               const TrainOptions &options);

} // namespace retort::exec
