//===- Eval.cpp - `retort eval` -------------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Scoring.h"
#include "compiler/Driver/Commands.h"
#include "compiler/Driver/Progress.h"
#include "compiler/Driver/Scorer.h"
#include "runtime/base/Error.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace retort {
namespace {

using nlohmann::json;

/// Rows of a scored window, its start token among them.
constexpr uint32_t kWindowTokens = 1024;

struct Scored {
  std::vector<DocumentScore> documents;
  Estimate bits;
  uint64_t textBytes = 0, tokens = 0;
  std::vector<float> kl; ///< of each row, nats
  uint64_t agreed = 0;
  double largestDifference = 0; ///< of any logit
};

class Evaluation {
public:
  Evaluation(const Corpus &corpus, const EvalOptions &options, Progress &progress)
      : documents_(corpus.require(Split::HeldOut)), options_(options), progress_(progress) {}

  EvalWindows windowsOf(const Scorer &scorer, uint32_t windowTokens) const {
    return evalWindows(documents_, scorer.tokenize(), scorer.startToken(), windowTokens,
                       options_.textBytes);
  }

  /// Scores one model; with `reference` (of the same vocabulary) also the divergence from it and,
  /// in `referenceScored`, the reference itself: both models see each window once.
  Scored score(const std::string &name, Scorer &scorer, Scorer *reference,
               Scored *referenceScored) {
    const uint32_t length = std::min(
        {kWindowTokens, scorer.context(), reference ? reference->context() : kWindowTokens});
    const EvalWindows windows = windowsOf(scorer, length - 1);
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
        progress_.update(done += window.tokens.size(), windows.tokens);
      }
    } else {
      const std::vector<double> nll = scorer.nll(windows, progress_);
      for (size_t w = 0; w < nll.size(); ++w)
        scored.documents[windows.windows[w].document].nll += nll[w];
    }
    scored.bits = bitsPerByte(scored.documents);
    if (reference)
      referenceScored->bits = bitsPerByte(referenceScored->documents);
    char text[64];
    std::snprintf(text, sizeof text, "%.4f bits per byte", scored.bits.value);
    progress_.end(text);
    return scored;
  }

private:
  static Scored begin(const EvalWindows &windows) {
    Scored scored;
    scored.documents.resize(windows.textBytes.size());
    for (size_t d = 0; d < windows.textBytes.size(); ++d)
      scored.documents[d].textBytes = windows.textBytes[d];
    scored.textBytes = windows.totalBytes;
    scored.tokens = windows.tokens;
    return scored;
  }

  static void compareWindow(const EvalWindows &windows, const EvalWindow &window, Scorer &scorer,
                            Scored &scored, Scorer &reference, Scored &referenceScored) {
    const std::vector<int32_t> rows = windowRows(windows, window);
    std::vector<std::vector<float>> kept;
    reference.logits(rows, [&](size_t r, std::span<const float> logits) {
      kept.emplace_back(logits.begin(), logits.end());
      referenceScored.documents[window.document].nll +=
          logSumExp(logits) - logits[window.tokens[r]];
    });
    scorer.logits(rows, [&](size_t r, std::span<const float> logits) {
      const double normaliser = logSumExp(logits);
      scored.documents[window.document].nll += normaliser - logits[window.tokens[r]];
      // KL(reference || model) of this row's next-token distributions.
      const std::vector<float> &other = kept[r];
      const size_t vocab = std::min(other.size(), logits.size());
      const double otherNormaliser = logSumExp(std::span(other).first(vocab));
      double kl = 0;
      for (size_t t = 0; t < vocab; ++t) {
        scored.largestDifference =
            std::max(scored.largestDifference, std::abs(double(logits[t]) - other[t]));
        const double logP = other[t] - otherNormaliser;
        kl += std::exp(logP) * (logP - (logits[t] - normaliser));
      }
      scored.kl.push_back(static_cast<float>(std::max(0.0, kl)));
      auto top = [&](auto begin) { return std::max_element(begin, begin + vocab) - begin; };
      scored.agreed += top(other.begin()) == top(logits.begin());
    });
  }

  std::vector<const Document *> documents_;
  const EvalOptions &options_;
  Progress &progress_;
};

json toJson(const Scored &scored) {
  json result = {{"bits_per_byte", scored.bits.value},
                 {"text_bytes", scored.textBytes},
                 {"tokens", scored.tokens},
                 {"documents", scored.documents.size()}};
  result["bits_per_byte_stderr"] =
      std::isnan(scored.bits.standardError) ? json() : json(scored.bits.standardError);
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

void printLine(const std::string &name, const json &figures) {
  const std::string error = figures["bits_per_byte_stderr"].is_number() ? [&] {
    char text[32];
    std::snprintf(text, sizeof text, " +- %.4f", figures["bits_per_byte_stderr"].get<double>());
    return std::string(text);
  }()
                                                                        : "";
  std::printf("%s: %.4f%s bits per byte on %s bytes of held-out text (%s tokens, %s documents)\n",
              name.c_str(), figures["bits_per_byte"].get<double>(), error.c_str(),
              formatCount(figures["text_bytes"].get<uint64_t>()).c_str(),
              formatCount(figures["tokens"].get<uint64_t>()).c_str(),
              formatCount(figures["documents"].get<uint64_t>()).c_str());
}

} // namespace

void evalCommand(const EvalOptions &options) {
  Progress::handleSignals();
  Progress progress(options.quiet || options.json);
  Workspace workspace(Workspace::defaultDir());
  std::unique_ptr<Scorer> scorer =
                              openScorer(options.model, workspace, options.threads, options.device),
                          against;
  if (!options.against.empty())
    against = openScorer(options.against, workspace, options.threads, options.device);
  const Corpus corpus = Corpus::read(options.corpus);
  // A document's split is a function of its text, so none that was trained on is held out here; but
  // near-duplicates are only dropped within a corpus.
  if (!scorer->corpusIdentity().empty() && scorer->corpusIdentity() != corpus.identity())
    std::fprintf(stderr,
                 "retort: note: %s was made from other documents than these; near-duplicates "
                 "of what it was trained on may be among them\n",
                 options.model.c_str());
  Evaluation evaluation(corpus, options, progress);
  const bool comparable = against && scorer->vocabularyIdentity() == against->vocabularyIdentity();
  Scored other;
  Scored scored =
      evaluation.score(options.model, *scorer, comparable ? against.get() : nullptr, &other);
  json result = toJson(scored);
  addDivergence(result, scored);
  if (against) {
    if (!comparable)
      other = evaluation.score(options.against, *against, nullptr, nullptr);
    result["against"] = toJson(other);
    const Estimate difference = bitsPerByteDifference(scored.documents, other.documents);
    result["bits_per_byte_difference"] = difference.value;
    result["bits_per_byte_difference_stderr"] =
        std::isnan(difference.standardError) ? json() : json(difference.standardError);
  }
  if (options.json) {
    std::printf("%s\n", result.dump(1).c_str());
    return;
  }
  printLine(options.model, result);
  if (against) {
    printLine(options.against, result["against"]);
    std::printf("difference: %+.4f bits per byte\n",
                result["bits_per_byte_difference"].get<double>());
  }
  if (result.contains("kl_mean"))
    std::printf(
        "KL to %s: mean %.5f, 99th percentile %.4f, largest %.3f; the likeliest token agrees "
        "on %.2f %%\n",
        options.against.c_str(), result["kl_mean"].get<double>(), result["kl_p99"].get<double>(),
        result["kl_max"].get<double>(), 100 * result["top1_agreement"].get<double>());
}

} // namespace retort
