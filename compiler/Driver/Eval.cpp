//===- Eval.cpp - `retort eval` -------------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Numbers.h"
#include "compiler/Data/Scoring.h"
#include "compiler/Data/Tsv.h"
#include "compiler/Driver/Commands.h"
#include "compiler/Driver/Inputs.h"
#include "compiler/Driver/Progress.h"
#include "compiler/Driver/TaskScorer.h"
#include "runtime/base/Error.h"
#include "runtime/base/Output.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace retort {
namespace {

using nlohmann::json;

struct Scored {
  std::vector<EvalDocument> documents;
  std::vector<DocumentScore> scores; ///< of `documents`
  uint64_t textBytes = 0, tokens = 0;
  std::vector<float> kl; ///< of each row, nats
  uint64_t agreed = 0;
  double largestDifference = 0; ///< of any logit
};

class Evaluation {
public:
  Evaluation(const Corpus &corpus, const EvalOptions &options, Progress &progress)
      : documents_(corpus.require(Split::HeldOut)), options_(options), progress_(progress) {}

  /// Scores one model; with `reference` (of the same vocabulary) also the divergence from it and,
  /// in `referenceScored`, the reference itself: both models see each window once.
  Scored score(const std::string &name, Scorer &scorer, Scorer *reference,
               Scored *referenceScored) {
    const uint32_t most = reference ? std::min(scorer.windowTokens(), reference->windowTokens())
                                    : scorer.windowTokens();
    if (most == 0)
      fail(ExitCode::Unsupported,
           "'" + name + "' has a context of one token, so none can be predicted");
    const EvalWindows windows =
        evalWindows(documents_, scorer.tokenize(), scorer.startToken(), most, options_.textBytes);
    Scored scored = begin(windows);
    if (reference)
      *referenceScored = begin(windows);
    progress_.begin("score " + name);
    uint64_t done = 0;
    if (reference) {
      for (const EvalWindow &window : windows.windows) {
        if (Progress::interrupted())
          fail(ExitCode::Interrupted, "stopped");
        compareWindow(windows, window, scorer, scored, *reference, *referenceScored);
        requireFinite(scored.scores[window.document].nll +
                          referenceScored->scores[window.document].nll,
                      windows.documents[window.document].name);
        progress_.update(done += window.tokens.size(), windows.tokens);
      }
    } else {
      scored.scores = documentScores(windows, scorer.nll(windows, progress_));
    }
    char text[64];
    std::snprintf(text, sizeof text, "%.4f bits per byte", bitsPerByte(scored.scores).value);
    progress_.end(text);
    return scored;
  }

private:
  static Scored begin(const EvalWindows &windows) {
    Scored scored;
    scored.documents = windows.documents;
    scored.scores = documentScores(windows, std::vector<double>(windows.windows.size()));
    scored.textBytes = windows.totalBytes;
    scored.tokens = windows.tokens;
    return scored;
  }

  static void compareWindow(const EvalWindows &windows, const EvalWindow &window, Scorer &scorer,
                            Scored &scored, Scorer &reference, Scored &referenceScored) {
    const std::vector<int32_t> rows = windowRows(windows, window);
    std::vector<std::vector<float>> kept;
    reference.logits({&rows, 1}, [&](size_t, size_t r, std::span<const float> logits) {
      kept.emplace_back(logits.begin(), logits.end());
      referenceScored.scores[window.document].nll += logSumExp(logits) - logits[window.tokens[r]];
    });
    scorer.logits({&rows, 1}, [&](size_t, size_t r, std::span<const float> logits) {
      const double normaliser = logSumExp(logits);
      scored.scores[window.document].nll += normaliser - logits[window.tokens[r]];
      // KL(reference || model) of this row's next-token distributions.
      const std::vector<float> &other = kept[r];
      const size_t vocab = std::min(other.size(), logits.size());
      const double otherNormaliser = logSumExp(std::span(other).first(vocab));
      double kl = 0;
      for (size_t t = 0; t < vocab; ++t) {
        scored.largestDifference =
            std::max(scored.largestDifference, std::abs(double(logits[t]) - other[t]));
        const double logP = other[t] - otherNormaliser, p = std::exp(logP);
        if (p > 0)
          kl += p * (logP - (logits[t] - normaliser));
      }
      requireFinite(kl, windows.documents[window.document].name);
      scored.kl.push_back(static_cast<float>(std::max(0.0, kl)));
      auto top = [&](auto begin) { return std::max_element(begin, begin + vocab) - begin; };
      scored.agreed += top(other.begin()) == top(logits.begin());
    });
  }

  std::vector<const Document *> documents_;
  const EvalOptions &options_;
  Progress &progress_;
};

/// NAME, NAME_stderr and NAME_interval, as in a report.
void addEstimate(json &result, const std::string &name, const Estimate &estimate) {
  const bool known = std::isfinite(estimate.low);
  result[name] = estimate.value;
  result[name + "_stderr"] = known ? json(estimate.standardError) : json();
  result[name + "_interval"] = known ? json({estimate.low, estimate.high}) : json();
}

json toJson(const Scored &scored) {
  json result = {{"text_bytes", scored.textBytes},
                 {"tokens", scored.tokens},
                 {"documents", scored.documents.size()},
                 {"effective_documents", effectiveDocuments(scored.scores)}};
  addEstimate(result, "bits_per_byte", bitsPerByte(scored.scores));
  return result;
}

void addDivergence(json &result, Scored &scored) {
  if (scored.kl.empty())
    return;
  double sum = 0;
  for (float kl : scored.kl)
    sum += kl;
  std::sort(scored.kl.begin(), scored.kl.end());
  const size_t rows = scored.kl.size();
  result["kl_mean"] = sum / rows;
  result["kl_p99"] = scored.kl[std::min(rows - 1, rows * 99 / 100)];
  result["kl_max"] = scored.kl.back();
  result["logits_max_difference"] = scored.largestDifference;
  result["top1_agreement"] = static_cast<double>(scored.agreed) / rows;
}

/// " (95 %: 0.7120 to 0.7540)", each end less `offset` and times `scale`; empty if unknown.
std::string intervalText(const json &interval, int decimals, double offset = 0, double scale = 1) {
  if (!interval.is_array())
    return {};
  const auto end = [&](size_t i) {
    return fixedDecimals((interval[i].get<double>() - offset) * scale, decimals);
  };
  return " (95 %: " + end(0) + " to " + end(1) + ")";
}

void printLine(const std::string &name, const json &figures) {
  output::print("%s: %.4f bits per byte%s on %s bytes of held-out text (%s tokens; %s documents, "
                "which tell as much as %.1f of equal size)\n",
                name.c_str(), figures["bits_per_byte"].get<double>(),
                intervalText(figures["bits_per_byte_interval"], 4).c_str(),
                formatCount(figures["text_bytes"].get<uint64_t>()).c_str(),
                formatCount(figures["tokens"].get<uint64_t>()).c_str(),
                formatCount(figures["documents"].get<uint64_t>()).c_str(),
                figures["effective_documents"].get<double>());
}

void printComparison(const EvalOptions &options, const json &result) {
  printLine(options.against, result["against"]);
  output::print("difference: %+.4f bits per byte%s, %+.1f %%%s\n",
                result["bits_per_byte_difference"].get<double>(),
                intervalText(result["bits_per_byte_difference_interval"], 4).c_str(),
                100 * (result["bits_per_byte_ratio"].get<double>() - 1),
                intervalText(result["bits_per_byte_ratio_interval"], 1, 1, 100).c_str());
  if (result.contains("kl_mean"))
    output::print(
        "KL to %s: mean %.5f, 99th percentile %.4f, largest %.3f; the likeliest token agrees "
        "on %.2f %%\n",
        options.against.c_str(), result["kl_mean"].get<double>(), result["kl_p99"].get<double>(),
        result["kl_max"].get<double>(), 100 * result["top1_agreement"].get<double>());
}

/// A line a document: what was scored and how many bits each model took.
void writeDocuments(const std::string &path, const Scored &scored, const Scored *against) {
  std::string text = "document\tsha256\ttext_bytes\tbits";
  text += against ? "\tagainst_bits\n" : "\n";
  for (size_t d = 0; d < scored.documents.size(); ++d) {
    const EvalDocument &document = scored.documents[d];
    text += tsvField(document.name) + "\t" + document.sha256 + "\t" +
            std::to_string(document.textBytes) + "\t" + fixedDecimals(scored.scores[d].bits(), 3);
    if (against)
      text += "\t" + fixedDecimals(against->scores[d].bits(), 3);
    text += "\n";
  }
  writeFileAtomically(path, text);
}

/// Scores held-out documents into `result`.
void evalDocuments(const EvalOptions &options, Scorer &scorer, Scorer *against, Progress &progress,
                   json &result) {
  const Corpus corpus = Corpus::read(options.corpus);
  // A document's split is a function of its text, so none that was trained on is held out here; but
  // near-duplicates are only dropped within a corpus.
  if (!scorer.corpusIdentity().empty() && scorer.corpusIdentity() != corpus.identity())
    std::fprintf(stderr,
                 "retort: note: %s was made from other documents than these; near-duplicates "
                 "of what it was trained on may be among them\n",
                 options.model.c_str());
  Evaluation evaluation(corpus, options, progress);
  const bool comparable = against && scorer.vocabularyIdentity() == against->vocabularyIdentity();
  Scored other;
  Scored scored = evaluation.score(options.model, scorer, comparable ? against : nullptr, &other);
  result = toJson(scored);
  addDivergence(result, scored);
  if (against) {
    if (!comparable)
      other = evaluation.score(options.against, *against, nullptr, nullptr);
    result["against"] = toJson(other);
    addEstimate(result, "bits_per_byte_difference",
                bitsPerByteDifference(scored.scores, other.scores));
    addEstimate(result, "bits_per_byte_ratio", bitsPerByteRatio(scored.scores, other.scores));
  }
  if (!options.documents.empty())
    writeDocuments(options.documents, scored, against ? &other : nullptr);
}

/// A task file whose lines are in order.
struct Task {
  std::string path;
  std::vector<TaskItem> items;
};

TaskScore answer(const Task &task, const std::string &model, Scorer &scorer, Progress &progress) {
  progress.begin("ask " + model + ": " + task.path);
  const TaskScore score = scoreTask(task.items, scorer, progress);
  progress.end(fixedDecimals(100 * accuracy(score.acc).value, 1) + " %");
  return score;
}

json evalTask(const Task &task, const EvalOptions &options, Scorer &scorer, Scorer *against,
              Progress &progress) {
  json result = {{"task", task.path}, {"questions", task.items.size()}};
  const auto add = [](json &figures, const TaskScore &score) {
    addEstimate(figures, "acc", accuracy(score.acc));
    addEstimate(figures, "acc_norm", accuracy(score.accNorm));
  };
  const TaskScore score = answer(task, options.model, scorer, progress);
  add(result, score);
  if (against) {
    const TaskScore other = answer(task, options.against, *against, progress);
    add(result["against"], other);
    addEstimate(result, "acc_difference", accuracyDifference(score.acc, other.acc));
    addEstimate(result, "acc_norm_difference", accuracyDifference(score.accNorm, other.accNorm));
  }
  return result;
}

void printTask(const json &task, const EvalOptions &options) {
  const auto figures = [](const std::string &model, const json &of) {
    output::print("  %s: acc %.4f%s, acc_norm %.4f%s\n", model.c_str(), of["acc"].get<double>(),
                  intervalText(of["acc_interval"], 4).c_str(), of["acc_norm"].get<double>(),
                  intervalText(of["acc_norm_interval"], 4).c_str());
  };
  output::print("%s, %s questions\n", task["task"].get<std::string>().c_str(),
                formatCount(task["questions"].get<uint64_t>()).c_str());
  figures(options.model, task);
  if (!task.contains("against"))
    return;
  figures(options.against, task["against"]);
  output::print("  difference: acc %+.4f%s, acc_norm %+.4f%s\n",
                task["acc_difference"].get<double>(),
                intervalText(task["acc_difference_interval"], 4).c_str(),
                task["acc_norm_difference"].get<double>(),
                intervalText(task["acc_norm_difference_interval"], 4).c_str());
}

} // namespace

void evalCommand(const EvalOptions &options) {
  if (options.corpus.empty() && options.tasks.empty())
    fail(ExitCode::Usage, "name documents with --corpus or a task with --task");
  std::vector<std::string> inputs = options.corpus;
  inputs.insert(inputs.end(), options.tasks.begin(), options.tasks.end());
  inputs.insert(inputs.end(), {options.model, options.against, options.adapter});
  checkNotInput(options.documents, inputs);
  Progress::handleSignals();
  Progress progress(options.quiet || options.json);
  std::vector<Task> tasks;
  for (const std::string &path : options.tasks)
    tasks.push_back({path, parseTask(readTaskFile(path), path)});
  Workspace workspace(Workspace::defaultDir());
  std::unique_ptr<Scorer> scorer = openScorer(options.model, workspace, options.threads,
                                              options.device, options.adapter),
                          against;
  if (!options.against.empty())
    against = openScorer(options.against, workspace, options.threads, options.device);
  json result = json::object();
  if (!options.corpus.empty())
    evalDocuments(options, *scorer, against.get(), progress, result);
  for (const Task &task : tasks)
    result["tasks"].push_back(evalTask(task, options, *scorer, against.get(), progress));
  if (options.json) {
    output::writeJson(result);
    return;
  }
  if (!options.corpus.empty()) {
    printLine(options.model, result);
    if (against)
      printComparison(options, result);
  }
  for (const json &task : result.value("tasks", json::array()))
    printTask(task, options);
}

} // namespace retort
