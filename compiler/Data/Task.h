//===- Task.h - Questions with answers ------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Data/Scoring.h"
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace retort {

/// How a question is judged, as lm-evaluation-harness judges its tasks.
enum class TaskKind : uint8_t {
  MultipleChoice, ///< the choice of the largest likelihood is the answer's
  ExactMatch,     ///< what the model generates, each token the likeliest, is the answer
  Cloze           ///< each token of the end of the text is the likeliest
};

/// One line of a task file; docs/eval.md is the manual.
struct TaskItem {
  TaskKind kind = TaskKind::MultipleChoice;
  std::string context;                    ///< what the model reads
  std::vector<std::string> continuations; ///< of the context: one a choice, or the answer alone
  std::vector<double> lengths;            ///< characters of each choice as it is written
  uint32_t answer = 0;                    ///< index of the right one
};

/// Parses a task file's content. Throws Error (BadInput), which begins with `name`, the number of the
/// line that is wrong and what is wrong with it.
std::vector<TaskItem> parseTask(std::string_view text, const std::string &name);

/// The content of the task file at `path`. Throws Error: Io, or BadInput if it is too large.
std::string readTaskFile(const std::string &path);

/// What a model made of a task: 1 or 0 a question.
struct TaskScore {
  std::vector<double> acc;     ///< by the summed likelihood
  std::vector<double> accNorm; ///< by the likelihood a character; as `acc` for other kinds
};

/// Whether the choice with the largest log-likelihood is `item.answer`, the first of several alike:
/// as it is, or divided by the choice's length.
bool isChosen(const TaskItem &item, const std::vector<double> &logLikelihoods, bool normalised);

/// The mean of `correct`, with the interval that ratioOfSums() gives it.
Estimate accuracy(const std::vector<double> &correct);
/// accuracy(a) - accuracy(b) of two models on the same questions, paired.
Estimate accuracyDifference(const std::vector<double> &a, const std::vector<double> &b);

} // namespace retort
