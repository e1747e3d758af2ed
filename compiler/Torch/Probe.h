//===- Probe.h - What rounding each matrix costs ----------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Torch/Executor.h"

namespace retort::exec {

/// Executor::probe; throws Error.
void probe(const Model &model, const std::vector<Sequence> &sequences, const ProbeOptions &options,
           const OnProgress &progress, RoundingCosts &costs);

} // namespace retort::exec
