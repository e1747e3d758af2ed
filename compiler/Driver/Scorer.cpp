//===- Scorer.cpp - Scoring bundles and teachers alike ----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Scorer.h"
#include "compiler/Bundle/BundleWriter.h"
#include "compiler/Checkpoint/Cursor.h"
#include "compiler/Driver/Pipeline.h"
#include "compiler/Import/Import.h"
#include "compiler/Torch/FromIR.h"
#include "compiler/Torch/Loader.h"
#include "runtime/base/Sha256.h"
#include "runtime/include/retort.hpp"
#include "runtime/src/engine/Manifest.h"

#include <algorithm>
#include <cmath>

namespace retort {
namespace {

class BundleScorer : public Scorer {
public:
  BundleScorer(const std::string &path, unsigned threads, const std::string &device)
      : model_(path), session_(model_, {.threads = threads, .device = device}),
        info_(model_.info()), maxRows_(session_.info().max_rows), path_(path) {
    // The runtime has checked it; without the layout of a file it reads as a folder's.
    const engine::Manifest manifest = engine::parseManifest(model_.manifest(), path, std::nullopt);
    if (const engine::Manifest::Part *part = manifest.findPart("tokenizer.json"))
      identity_ = part->sha256;
    if (manifest.provenance)
      corpus_ = manifest.provenance->corpus;
  }

  TokenizeFn tokenize() const override {
    return [this](std::string_view text) { return model_.tokenize(text, RETORT_NO_SPECIAL); };
  }
  int32_t startToken() const override {
    const int32_t start = info_.bos_token >= 0 ? info_.bos_token : info_.eos_token;
    if (start < 0)
      fail(ExitCode::Unsupported,
           path_ + ": the vocabulary has neither a beginning nor an end token");
    return start;
  }
  uint32_t context() const override { return info_.context; }
  std::string vocabularyIdentity() const override { return identity_; }
  std::string corpusIdentity() const override { return corpus_; }

  std::string_view tokenBytes(int32_t token) const override { return model_.tokenBytes(token); }
  bool isStop(int32_t token) const override { return model_.isStop(token); }

  void logits(std::span<const std::vector<int32_t>> sequences, const OnRow &onRow) override {
    std::vector<retort_row> rows;
    std::vector<size_t> wanted;
    std::vector<float> out(maxRows_ * info_.vocab);
    for (size_t s = 0; s < sequences.size(); ++s) {
      const std::vector<int32_t> &tokens = sequences[s];
      session_.reset(0);
      for (size_t begin = 0; begin < tokens.size(); begin += rows.size()) {
        rows.clear();
        wanted.clear();
        for (size_t r = begin; r < tokens.size() && rows.size() < maxRows_; ++r) {
          wanted.push_back(rows.size());
          rows.push_back({tokens[r], 0, static_cast<int32_t>(r)});
        }
        session_.step(rows, wanted, out);
        for (size_t r = 0; r < rows.size(); ++r)
          onRow(s, begin + r, std::span(out).subspan(r * info_.vocab, info_.vocab));
      }
    }
  }

private:
  Model model_;
  Session session_;
  retort_model_info info_;
  size_t maxRows_;
  std::string path_, identity_, corpus_;
};

class ModelScorer : public Scorer {
public:
  ModelScorer(Teacher &teacher, lm::ModelOp model, exec::Executor &executor)
      : teacher_(teacher), model_(model), graph_(exec::graphFromModel(model)), executor_(executor),
        tokenizer_(teacher.tokenizerOf(model)) {}

  TokenizeFn tokenize() const override { return tokenizer_.tokenizeDocument(); }
  int32_t startToken() const override { return tokenizer_.startToken(); }
  uint32_t context() const override { return lm::ModelOp(model_).getContext(); }
  std::string vocabularyIdentity() const override {
    return sha256Hex(std::string_view(writeTokenizerJson(tokenizer_.spec)));
  }
  std::string_view tokenBytes(int32_t token) const override {
    return tokenizer_.tokenizer.tokenBytes(token);
  }
  bool isStop(int32_t token) const override { return tokenizer_.tokenizer.isStop(token); }

  void logits(std::span<const std::vector<int32_t>> sequences, const OnRow &onRow) override {
    std::vector<exec::Sequence> given;
    for (const std::vector<int32_t> &tokens : sequences)
      given.push_back({tokens, {}});
    std::vector<std::vector<float>> rows;
    exec::check(executor_.logits(model(), given, exec::Precision::F32, rows));
    for (size_t s = 0; s < sequences.size(); ++s) {
      const size_t vocab = rows[s].size() / sequences[s].size();
      for (size_t r = 0; r < sequences[s].size(); ++r)
        onRow(s, r, std::span(rows[s]).subspan(r * vocab, vocab));
    }
  }

  /// Block by block over all windows, so that each weight is read once.
  std::vector<double> nll(const EvalWindows &windows, Progress &progress) override {
    exec::Scores scores;
    exec::check(executor_.score(
        model(), nullptr, windowSequences(windows), {.precision = exec::Precision::F32},
        [&](const exec::Progress &at) {
          progress.update(at.step, at.totalSteps);
          return !Progress::interrupted();
        },
        scores));
    std::vector<double> result;
    for (const exec::SequenceScore &score : scores.sequences)
      result.push_back(score.nll);
    return result;
  }

private:
  exec::Model model() const { return {&graph_, teacher_.readRows(model_, graph_)}; }

  Teacher &teacher_;
  lm::ModelOp model_;
  exec::Graph graph_;
  exec::Executor &executor_;
  const LoadedTokenizer &tokenizer_;
};

/// What a checkpoint's scorer lives on.
struct OpenTeacher {
  CompilerContext compiler;
  Teacher teacher;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  std::unique_ptr<exec::Executor> executor;

  OpenTeacher(const std::string &path, const std::string &adapter, const Workspace &workspace,
              unsigned threads)
      : compiler(workspace), teacher(path, workspace, {}, adapter),
        module(importModel(compiler.mlir(), teacher.checkpoint())),
        executor(exec::loadExecutor({.threads = static_cast<int>(threads)})) {}
};

class TeacherScorer : private OpenTeacher, public ModelScorer {
public:
  TeacherScorer(const std::string &path, const std::string &adapter, const Workspace &workspace,
                unsigned threads)
      : OpenTeacher(path, adapter, workspace, threads),
        ModelScorer(teacher, compiler.finalModel(*module), *executor) {}
};

} // namespace

double logSumExp(std::span<const float> logits) {
  const float largest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float logit : logits)
    sum += std::exp(logit - largest);
  return largest + std::log(sum);
}

std::vector<int32_t> windowRows(const EvalWindows &windows, const EvalWindow &window) {
  std::vector<int32_t> rows{windows.startToken};
  rows.insert(rows.end(), window.tokens.begin(), window.tokens.end() - 1);
  return rows;
}

std::vector<exec::Sequence> windowSequences(const EvalWindows &windows) {
  std::vector<exec::Sequence> sequences;
  for (const EvalWindow &window : windows.windows) {
    exec::Sequence sequence{{windows.startToken}, {}};
    sequence.tokens.insert(sequence.tokens.end(), window.tokens.begin(), window.tokens.end());
    sequences.push_back(std::move(sequence));
  }
  return sequences;
}

std::vector<double> Scorer::nll(const EvalWindows &windows, Progress &progress) {
  std::vector<double> result;
  uint64_t done = 0;
  for (const EvalWindow &window : windows.windows) {
    if (Progress::interrupted())
      fail(ExitCode::Interrupted, "stopped");
    double sum = 0;
    const std::vector<int32_t> rows = windowRows(windows, window);
    logits({&rows, 1}, [&](size_t, size_t r, std::span<const float> row) {
      sum += logSumExp(row) - row[window.tokens[r]];
    });
    result.push_back(sum);
    progress.update(done += window.tokens.size(), windows.tokens);
  }
  return result;
}

std::unique_ptr<Scorer> modelScorer(Teacher &teacher, lm::ModelOp model, exec::Executor &executor) {
  return std::make_unique<ModelScorer>(teacher, model, executor);
}

std::unique_ptr<Scorer> openScorer(const std::string &path, const Workspace &workspace,
                                   unsigned threads, const std::string &device,
                                   const std::string &adapter) {
  if (isBundle(path) && !adapter.empty())
    fail(ExitCode::Usage, "--adapter " + quote(adapter) + " is merged into a checkpoint, but " +
                              path + " is a bundle");
  if (isBundle(path))
    return std::make_unique<BundleScorer>(path, threads, device);
  return std::make_unique<TeacherScorer>(path, adapter, workspace, threads);
}

} // namespace retort
