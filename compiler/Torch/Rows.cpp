//===- Rows.cpp - The rows that one pass of a model works on ----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Rows.h"
#include <algorithm>

namespace retort::exec {

int32_t Rows::maxPosition() const {
  return positions.empty() ? 0 : *std::max_element(positions.begin(), positions.end());
}

void checkSequences(const std::vector<Sequence> &sequences, const Graph &graph) {
  for (size_t s = 0; s < sequences.size(); ++s) {
    const Sequence &sequence = sequences[s];
    const std::string where = "sequence " + std::to_string(s) + ": ";
    if (sequence.tokens.empty())
      fail(ExitCode::BadInput, where + "it has no tokens");
    for (const int32_t token : sequence.tokens)
      if (token < 0 || token >= graph.vocab)
        fail(ExitCode::BadInput, where + "token " + std::to_string(token) +
                                     " is not in the vocabulary of " + std::to_string(graph.vocab));
    int32_t last = 0;
    const int32_t size = int32_t(sequence.tokens.size());
    for (size_t d = 0; d <= sequence.documents.size(); ++d) {
      const int32_t start = d < sequence.documents.size() ? sequence.documents[d] : size;
      if (d == 0 ? start != 0 && !sequence.documents.empty() : start <= last)
        fail(ExitCode::BadInput, where + "document starts do not ascend from 0");
      if (start - last > graph.context)
        fail(ExitCode::BadInput, where + "a document of " + std::to_string(start - last) +
                                     " tokens is longer than the context of " +
                                     std::to_string(graph.context));
      last = start;
    }
  }
}

Rows layOut(std::span<const Sequence *const> sequences) {
  Rows rows;
  for (const Sequence *sequence : sequences) {
    const size_t size = sequence->tokens.size();
    size_t document = 0, start = 0;
    for (size_t i = 0; i < size; ++i) {
      if (document < sequence->documents.size() && size_t(sequence->documents[document]) == i) {
        start = i;
        ++document;
      }
      const bool last = i + 1 == size || (document < sequence->documents.size() &&
                                          size_t(sequence->documents[document]) == i + 1);
      rows.tokens.push_back(sequence->tokens[i]);
      rows.positions.push_back(int32_t(i - start));
      rows.targets.push_back(last ? kNone : sequence->tokens[i + 1]);
    }
  }
  return rows;
}

std::vector<size_t> cutIntoRuns(const std::vector<Sequence> &sequences, int64_t rows) {
  std::vector<size_t> starts;
  int64_t filled = 0;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const int64_t size = int64_t(sequences[s].tokens.size());
    if (starts.empty() || filled + size > rows) {
      starts.push_back(s);
      filled = 0;
    }
    filled += size;
  }
  starts.push_back(sequences.size());
  return starts;
}

std::vector<Rows> layOutRuns(const std::vector<Sequence> &sequences) {
  constexpr int64_t kRunRows = 2048;
  const std::vector<size_t> starts = cutIntoRuns(sequences, kRunRows);
  std::vector<Rows> runs;
  for (size_t i = 0; i + 1 < starts.size(); ++i) {
    std::vector<const Sequence *> together;
    for (size_t s = starts[i]; s < starts[i + 1]; ++s)
      together.push_back(&sequences[s]);
    runs.push_back(layOut(together));
  }
  return runs;
}

} // namespace retort::exec
