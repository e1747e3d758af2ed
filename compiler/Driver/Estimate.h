//===- Estimate.h - What data work will take ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Driver/DataWork.h"

namespace retort {

/// Estimates count multiplications with weights (2 flops a parameter and token forward, 6 forward
/// and backward) at the rate that libtorch reaches on this kind of core; attention over short
/// sequences is small beside them. docs/recipes.md says how far they were off when measured.
PlannedWork estimateObserve(lm::ModelOp model, int64_t tokens, const std::string &name,
                            bool cached);
PlannedWork estimateProbe(lm::ModelOp model, distill::ProbeOp op, size_t groups,
                          const std::string &name, bool cached);
/// `tokens` 0: unknown until the corpus is cut; counted as 50,000.
PlannedWork estimateScore(lm::ModelOp model, int64_t tokens, const std::string &name, bool cached);
PlannedWork estimateFit(lm::ModelOp student, lm::ModelOp teacher, distill::FitOp op,
                        const std::string &name, bool cached);
/// Plans to compute activations again where `memory` bytes do not hold them all.
PlannedWork estimateTrain(lm::ModelOp student, lm::ModelOp teacher, distill::TrainOp op,
                          const std::string &name, bool cached, uint64_t memory);

/// Elements of all parameters.
int64_t parameterCount(lm::ModelOp model);

/// Statistics that find every channel and block equally important.
Statistics plannedStatistics(lm::ModelOp model);

/// Costs of rounding by which every weight is as sensitive as another.
RoundingCosts plannedCosts(lm::ModelOp model, distill::ProbeOp op,
                           const std::vector<std::vector<std::string>> &groups);

/// The executor's options for a distill.train, but for paths and seed.
exec::TrainOptions trainOptions(distill::TrainOp op);

} // namespace retort
