//===- Scorer.h - Scoring bundles and teachers alike ----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Data/Scoring.h"
#include "compiler/Driver/Progress.h"
#include "compiler/Driver/Teacher.h"
#include "compiler/Torch/Executor.h"
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace retort {

/// A model whose next-token distributions can be asked for: a bundle, run by its own program, or a
/// checkpoint, run by the executor.
class Scorer {
public:
  virtual ~Scorer() = default;

  virtual TokenizeFn tokenize() const = 0;
  virtual int32_t startToken() const = 0;
  virtual uint32_t context() const = 0;
  /// Most tokens of a window to score: its start token has a position too.
  uint32_t windowTokens() const { return context() - 1; }
  /// Two models with the same identity have the same tokens for the same ids.
  virtual std::string vocabularyIdentity() const = 0;
  /// Corpus::identity() of the documents that the model was made from; empty if none is known.
  virtual std::string corpusIdentity() const { return {}; }

  /// The bytes that a token adds to a text.
  virtual std::string_view tokenBytes(int32_t token) const = 0;
  /// Whether a token ends a text.
  virtual bool isStop(int32_t token) const = 0;

  /// Gives the logits of every row of each sequence, in order: row r's [vocab] predict token r + 1.
  /// A checkpoint's weights are read once a call, so few long calls are faster than many short ones.
  using OnRow = std::function<void(size_t sequence, size_t row, std::span<const float> logits)>;
  virtual void logits(std::span<const std::vector<int32_t>> sequences, const OnRow &onRow) = 0;

  /// The negative log-likelihood of each window's tokens, in nats, in f32. Here by way of logits().
  virtual std::vector<double> nll(const EvalWindows &windows, Progress &progress);
};

/// A model of a compile: made from `teacher`, run by `executor`. All must outlive the scorer.
std::unique_ptr<Scorer> modelScorer(Teacher &teacher, lm::ModelOp model, exec::Executor &executor);

/// ln(sum(exp(logits))).
double logSumExp(std::span<const float> logits);

/// The rows that a window is run as: the start token and all its tokens but the last.
std::vector<int32_t> windowRows(const EvalWindows &windows, const EvalWindow &window);

/// Windows as the executor scores them: the start token, given, and all their tokens, predicted.
std::vector<exec::Sequence> windowSequences(const EvalWindows &windows);

/// Opens a bundle, a .gguf file or a Hugging Face folder. `threads` 0: one a core; `device` is a
/// bundle's, as in retort.h; `adapter` is a LoRA folder to merge into a checkpoint. Throws Error, and
/// for a bundle Failure (retort.hpp).
std::unique_ptr<Scorer> openScorer(const std::string &path, const Workspace &workspace,
                                   unsigned threads, const std::string &device,
                                   const std::string &adapter = "");

} // namespace retort
