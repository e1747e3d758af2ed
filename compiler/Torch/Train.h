//===- Train.h - Training and distillation ----------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Torch/Executor.h"

namespace retort::exec {

/// Executor::train; throws Error.
void train(const Model &student, const Model *teacher, const std::vector<Sequence> &sequences,
           const TrainOptions &options, const OnProgress &progress, TrainResult &result);

/// The order of the sequences: a permutation by the seed.
std::vector<size_t> shuffled(size_t sequences, uint64_t seed);

/// Cuts the order into optimiser steps of at least options.batchTokens rows: positions
/// [steps[i], steps[i + 1]) are those of step i.
std::vector<int64_t> planSteps(const std::vector<size_t> &order,
                               const std::vector<Sequence> &sequences, const TrainOptions &options);

} // namespace retort::exec
