//===- TaskScorer.h - Answers of a model to a task's questions -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Data/Task.h"
#include "compiler/Driver/Scorer.h"

namespace retort {

/// Asks `scorer` all questions, by the definitions of lm-evaluation-harness (docs/eval.md). Throws
/// Error (Resources) for a continuation that the model's context does not hold; Interrupted.
TaskScore scoreTask(const std::vector<TaskItem> &items, Scorer &scorer, Progress &progress);

} // namespace retort
