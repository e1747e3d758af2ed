//===- Fit.h - Solving a student's layers by least squares ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Torch/Executor.h"

namespace retort::exec {

/// Executor::fit; throws Error.
void fit(const Model &student, const Model &teacher, const std::vector<Sequence> &sequences,
         const FitOptions &options, const OnProgress &progress, FitResult &result);

} // namespace retort::exec
