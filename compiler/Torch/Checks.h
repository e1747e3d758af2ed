//===- Checks.h - What the executor asks of models ----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Without torch: the driver asks it while it plans, so that no work fails in the middle for what was known
// before; the executor asks it again before each call's work. All throw Error.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "compiler/Torch/Executor.h"

namespace retort::exec {

/// Unsupported unless the graph is blocks that read one another and ends in its only lm.logits.
void checkModel(const Graph &graph);

/// Usage unless Executor::fit() can solve for every one of `params`.
void checkFit(const Graph &student, const Graph &teacher, const std::vector<std::string> &params);

/// Usage unless Executor::train() can compute these losses; `teacher` may be null.
void checkTraining(const Graph &student, const Graph *teacher, const Losses &losses);

/// What Executor::probe() rounds together: the matrices of a block's linear layers that read the same
/// value, by block, then the logits' matrix; none that another node reads too.
std::vector<std::vector<ParamId>> probeGroups(const Graph &graph);

/// What the student's tokens are to the teacher: empty if they are the same. Throws Usage if the
/// teacher has not all of them.
std::vector<int32_t> teacherTokens(const Graph &student, const Graph &teacher);

/// The block of that label, or null.
const Block *blockOf(const Graph &graph, const std::string &label);

/// A layer's addition to the residual stream.
struct Addition {
  const Node *residual = nullptr; ///< null: it is not added
  size_t ofTeacher = 0;           ///< the addition of the teacher's block that it stands for
};
/// Additions are told apart from the last: a student without a block's attention still has the one
/// that ends the block. Throws Usage if the teacher's block has fewer.
Addition additionOf(const Graph &student, const Block &block, const Node &linear,
                    const Graph &teacher);

} // namespace retort::exec
