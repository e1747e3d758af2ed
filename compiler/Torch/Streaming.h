//===- Streaming.h - Scoring and observing, block by block -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Torch/Executor.h"

namespace retort::exec {

/// The calls of Executor by these names; they throw Error.
void logits(const Model &model, const std::vector<Sequence> &sequences, Precision precision,
            std::vector<std::vector<float>> &logits);
void interpret(const Model &model, const Sequence &sequence,
               std::vector<std::vector<float>> &values);
void score(const Model &model, const Model *reference, const std::vector<Sequence> &sequences,
           const ScoreOptions &options, const OnProgress &progress, Scores &scores);
void observe(const Model &model, const std::vector<Sequence> &sequences, const OnProgress &progress,
             Statistics &statistics);

} // namespace retort::exec
