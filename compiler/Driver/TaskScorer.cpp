//===- TaskScorer.cpp - Answers of a model to a task's questions ----------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/TaskScorer.h"
#include "runtime/base/Error.h"

#include <algorithm>

namespace retort {
namespace {

/// Rows that are run together: their logits are in memory at once.
constexpr size_t kBatchRows = 2048;
/// Most tokens that are generated for an answer, as the harness's max_gen_toks.
constexpr size_t kMostGenerated = 256;

/// Calls `run` with sequences [begin, end), a batch at a time.
template <typename Run>
void inBatches(const std::vector<std::vector<int32_t>> &sequences, const Run &run) {
  for (size_t begin = 0, end; begin < sequences.size(); begin = end) {
    if (Progress::interrupted())
      fail(ExitCode::Interrupted, "stopped");
    size_t rows = 0;
    for (end = begin; end < sequences.size(); ++end) {
      rows += sequences[end].size();
      if (rows > kBatchRows && end > begin)
        break;
    }
    run(begin, end);
  }
}

/// A continuation whose likelihood is asked for.
struct Request {
  size_t item;
  std::vector<int32_t> targets; ///< its tokens: predicted by the sequence's last rows
  double logLikelihood = 0;
  bool greedy = true; ///< each token is the likeliest
};

int32_t likeliest(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

/// The requests of all items but those that are answered by generating, and the rows to run for each.
class Likelihoods {
public:
  Likelihoods(const std::vector<TaskItem> &items, const Scorer &scorer)
      : scorer_(scorer), tokenize_(scorer.tokenize()) {
    for (size_t i = 0; i < items.size(); ++i)
      if (items[i].kind != TaskKind::ExactMatch)
        for (const std::string &continuation : items[i].continuations)
          add(i, items[i].context, continuation);
  }

  std::vector<Request> run(Scorer &scorer, Progress &progress) {
    inBatches(sequences_, [&](size_t begin, size_t end) {
      scorer.logits(std::span(sequences_).subspan(begin, end - begin),
                    [&](size_t s, size_t row, std::span<const float> logits) {
                      const size_t first =
                          sequences_[begin + s].size() - requests_[begin + s].targets.size();
                      if (row >= first)
                        judge(requests_[begin + s], row - first, logits);
                    });
      progress.update(end, sequences_.size());
    });
    return std::move(requests_);
  }

private:
  /// The harness's _encode_pair: white space at the context's end belongs to the continuation, and
  /// the continuation's tokens are those of the whole text after as many as the context has alone.
  void add(size_t item, std::string context, std::string continuation) {
    const size_t kept = context.find_last_not_of(" \t\n\r\v\f") + 1;
    continuation = context.substr(kept) + continuation;
    context.resize(kept);
    std::vector<int32_t> tokens = tokenize_(context + continuation);
    if (tokens.empty())
      fail(ExitCode::BadInput, "question " + std::to_string(item + 1) + " has no tokens");
    const size_t before = std::min(tokenize_(context).size(), tokens.size() - 1);
    Request request{item, {tokens.begin() + static_cast<std::ptrdiff_t>(before), tokens.end()}};
    if (request.targets.size() > scorer_.windowTokens())
      fail(ExitCode::Resources, "question " + std::to_string(item + 1) + ": a continuation of " +
                                    std::to_string(request.targets.size()) +
                                    " tokens, but the model's context holds " +
                                    std::to_string(scorer_.windowTokens()));
    // What does not fit is cut off at the left.
    tokens.pop_back();
    tokens.insert(tokens.begin(), scorer_.startToken());
    const size_t excess = tokens.size() - std::min<size_t>(tokens.size(), scorer_.windowTokens());
    tokens.erase(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(excess));
    requests_.push_back(std::move(request));
    sequences_.push_back(std::move(tokens));
  }

  static void judge(Request &request, size_t at, std::span<const float> logits) {
    const auto target = static_cast<size_t>(request.targets[at]);
    const double normaliser = logSumExp(logits);
    requireFinite(normaliser, "question " + std::to_string(request.item + 1));
    request.logLikelihood += logits[target] - normaliser;
    request.greedy &= logits[target] == logits[static_cast<size_t>(likeliest(logits))];
  }

  const Scorer &scorer_;
  TokenizeFn tokenize_;
  std::vector<Request> requests_;
  std::vector<std::vector<int32_t>> sequences_; ///< of each request
};

std::string_view stripped(std::string_view text) {
  constexpr std::string_view space = " \t\n\r\v\f";
  const size_t begin = text.find_first_not_of(space);
  if (begin == std::string_view::npos)
    return {};
  return text.substr(begin, text.find_last_not_of(space) + 1 - begin);
}

/// An answer that is being generated, each token the likeliest.
struct Generation {
  size_t item;
  std::string answer, end; ///< what is expected; what ends the answer
  std::vector<int32_t> tokens;
  std::string text = {};
  size_t generated = 0;
  bool done = false, correct = false;

  void take(int32_t token, const Scorer &scorer) {
    tokens.push_back(token);
    const bool stops = scorer.isStop(token);
    if (!stops)
      text += scorer.tokenBytes(token);
    const size_t ended = text.find(end);
    done = stops || ended != std::string::npos || ++generated == kMostGenerated ||
           tokens.size() >= scorer.windowTokens() || !canMatch();
    correct = done && stripped(std::string_view(text).substr(0, ended)) == answer;
  }

  /// Whether more tokens may still make it the answer; most wrong ones show at once. White space at
  /// the end may be within the answer or after it.
  bool canMatch() const { return answer.starts_with(stripped(text)); }
};

std::vector<Generation> generate(const std::vector<TaskItem> &items, Scorer &scorer,
                                 Progress &progress) {
  std::vector<Generation> all;
  const TokenizeFn tokenize = scorer.tokenize();
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].kind != TaskKind::ExactMatch)
      continue;
    const std::string answer(stripped(items[i].continuations[0]));
    Generation one{i, answer, answer.find('\n') == std::string::npos ? "\n" : "\n\n", {}};
    one.tokens = tokenize(items[i].context);
    one.tokens.insert(one.tokens.begin(), scorer.startToken());
    // Room for the answer: what does not fit is cut off at the left.
    const size_t most = scorer.windowTokens() - std::min<size_t>(scorer.windowTokens() / 2, 64);
    if (one.tokens.size() > most)
      one.tokens.erase(one.tokens.begin(), one.tokens.end() - static_cast<std::ptrdiff_t>(most));
    all.push_back(std::move(one));
  }
  for (size_t left = all.size(); left > 0;) {
    std::vector<std::vector<int32_t>> sequences;
    std::vector<Generation *> of;
    for (Generation &one : all)
      if (!one.done) {
        sequences.push_back(one.tokens);
        of.push_back(&one);
      }
    left = of.size();
    inBatches(sequences, [&](size_t begin, size_t end) {
      scorer.logits(std::span(sequences).subspan(begin, end - begin),
                    [&](size_t s, size_t row, std::span<const float> logits) {
                      if (row + 1 != sequences[begin + s].size())
                        return;
                      requireFinite(logSumExp(logits),
                                    "question " + std::to_string(of[begin + s]->item + 1));
                      of[begin + s]->take(likeliest(logits), scorer);
                    });
      progress.update(all.size() - left, all.size());
    });
  }
  return all;
}
} // namespace

TaskScore scoreTask(const std::vector<TaskItem> &items, Scorer &scorer, Progress &progress) {
  TaskScore score{std::vector<double>(items.size()), std::vector<double>(items.size())};
  std::vector<std::vector<double>> choices(items.size());
  for (const Request &request : Likelihoods(items, scorer).run(scorer, progress)) {
    choices[request.item].push_back(request.logLikelihood);
    if (items[request.item].kind == TaskKind::Cloze)
      score.acc[request.item] = score.accNorm[request.item] = request.greedy;
  }
  for (size_t i = 0; i < items.size(); ++i)
    if (items[i].kind == TaskKind::MultipleChoice) {
      score.acc[i] = isChosen(items[i], choices[i], false);
      score.accNorm[i] = isChosen(items[i], choices[i], true);
    }
  for (const Generation &one : generate(items, scorer, progress))
    score.acc[one.item] = score.accNorm[one.item] = one.correct;
  return score;
}

} // namespace retort
