//===- Rows.h - The rows that one pass of a model works on ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Torch/Executor.h"
#include <cstdint>
#include <span>
#include <vector>

namespace retort::exec {

/// Sequences laid end to end.
struct Rows {
  std::vector<int32_t> tokens;
  std::vector<int32_t> positions; ///< within the row's document
  /// The next token of the row's document; kNone for a document's last row.
  std::vector<int32_t> targets;
  int64_t count() const { return int64_t(tokens.size()); }
  /// The first row of the row's document.
  int64_t documentStart(int64_t row) const { return row - positions[size_t(row)]; }
  int32_t maxPosition() const;
};

/// Throws BadInput if a sequence is empty, a token is out of the vocabulary, document starts do not
/// ascend from 0, or a document is longer than the context.
void checkSequences(const std::vector<Sequence> &sequences, const Graph &graph);

Rows layOut(std::span<const Sequence *const> sequences);

/// Cuts [0, sequences) into runs of at most `rows` rows, of at least one sequence each: the index
/// of each run's first sequence, and the number of sequences.
std::vector<size_t> cutIntoRuns(const std::vector<Sequence> &sequences, int64_t rows);

/// All sequences in runs of enough rows for matrix products to be efficient.
std::vector<Rows> layOutRuns(const std::vector<Sequence> &sequences);

} // namespace retort::exec
