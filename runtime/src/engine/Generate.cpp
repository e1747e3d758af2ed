//===- Generate.cpp - Answering a prompt ----------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/Generate.h"
#include "runtime/base/Error.h"
#include "runtime/base/Utf8.h"
#include "runtime/src/engine/Drafter.h"

#include <algorithm>
#include <chrono>
#include <optional>

namespace retort::engine {
namespace {

using Clock = std::chrono::steady_clock;

double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The answer's text on its way to the caller.
class TextOutput {
public:
  TextOutput(const Model &model, const GenerateOptions &options, std::span<const int32_t> prompt)
      : options_(options) {
    if (!model.hasTokenizer()) {
      StopFinder check(options.stops);
      return;
    }
    text_.emplace(model.tokenizer(), options.stops);
    text_->follow(prompt);
  }
  bool isStop(int32_t token) const { return text_ && text_->isStop(token); }
  /// False if the answer ends here: a stop string (stopped()), or the caller does not want more.
  bool push(int32_t token) {
    if (options_.onToken && options_.onToken(options_.user, token) != 0)
      return false;
    return !text_ || (show(text_->push(token)) && !text_->stopped());
  }
  bool finish() { return !text_ || show(text_->finish()); }
  bool stopped() const { return text_ && text_->stopped(); }

private:
  bool show(const std::string &text) {
    return text.empty() || !options_.onText ||
           options_.onText(options_.user, text.c_str(), text.size()) == 0;
  }
  const GenerateOptions &options_;
  std::optional<AnswerText> text_;
};

/// One generation: prompt, then token after token.
class Generation {
public:
  Generation(Session &session, int32_t slot, std::span<const int32_t> prompt,
             const GenerateOptions &options, retort_generation &result)
      : session_(session), slot_(slot), options_(options), result_(result),
        sampler_(options.sampling), output_(session.model(), options, prompt),
        picked_(1, RETORT_TOKEN_NONE), pickers_(1, &sampler_) {
    sampler_.constrain(options.grammar, prompt);
  }

  void run(std::span<const int32_t> prompt) {
    auto start = Clock::now();
    sampler_.see(prompt);
    if (options_.speculate)
      drafter_.see(prompt);
    result_.prompt_tokens = result_.cached_tokens;
    if (!prefill(prompt.subspan(result_.cached_tokens)))
      return void(end(RETORT_FINISH_CANCELLED));
    result_.prefill_seconds = secondsSince(start);
    start = Clock::now();
    struct Timer { // also when a step throws
      Clock::time_point start;
      double &seconds;
      ~Timer() { seconds = secondsSince(start); }
    } timer{start, result_.decode_seconds};
    try {
      decode();
    } catch (...) { // what was held back is known, too
      output_.finish();
      throw;
    }
  }

private:
  bool cancelled() const {
    return options_.cancel && __atomic_load_n(options_.cancel, __ATOMIC_RELAXED) != 0;
  }

  /// Steps give tokens: the device picks them itself, if it can.
  StepOutputs outputs() {
    return {.tokens = picked_.data(), .samplers = pickers_, .verifies = true};
  }
  static void require(int32_t token) {
    if (token < 0)
      fail(ExitCode::BadInput, "the model gives no token a finite probability: its weights are "
                               "damaged, or its arithmetic overflows");
  }

  /// In steps of max_rows, so that cancelling does not wait for a long prompt.
  bool prefill(std::span<const int32_t> prompt) {
    const size_t maxRows = session_.maxRows();
    for (size_t begin = 0; begin < prompt.size(); begin += maxRows) {
      if (cancelled())
        return false;
      const size_t rows = std::min(maxRows, prompt.size() - begin);
      const bool last = begin + rows == prompt.size();
      session_.prefill(slot_, prompt.subspan(begin, rows), last ? outputs() : StepOutputs{});
      result_.prompt_tokens += rows;
    }
    return true;
  }

  void decode() {
    while (true) {
      for (size_t i = 0; i < picked_.size(); ++i)
        if (!take(picked_[i], i + 1 == picked_.size())) {
          // What was guessed behind the answer's end leaves the slot.
          session_.truncate(slot_, session_.length(slot_) - (picked_.size() - 1 - i));
          return;
        }
      step(picked_.back());
    }
  }

  /// Takes the answer's next token, the last that is picked so far or not. False: the answer ends.
  bool take(int32_t token, bool last) {
    require(token);
    if (output_.isStop(token) || (!options_.ignoreStopTokens && session_.model().isStop(token)))
      return end(RETORT_FINISH_STOP);
    ++result_.tokens;
    if (!output_.push(token))
      return end(output_.stopped() ? RETORT_FINISH_STOP : RETORT_FINISH_CANCELLED);
    if (!last)
      return true;
    if (sampler_.done())
      return end(RETORT_FINISH_STOP);
    if (result_.tokens == options_.maxTokens) {
      keep(token);
      return end(RETORT_FINISH_LENGTH);
    }
    if (session_.length(slot_) == session_.cache().maxContext())
      return end(RETORT_FINISH_CONTEXT);
    if (cancelled())
      return end(RETORT_FINISH_CANCELLED);
    return true;
  }

  /// Runs the answer's last token, and behind it what may follow.
  void step(int32_t token) {
    rows_ = {{token, slot_, int32_t(session_.length(slot_))}};
    wanted_ = {0};
    for (const int32_t next : guess()) {
      wanted_.push_back(rows_.size());
      rows_.push_back({next, slot_, rows_.back().position + 1});
    }
    picked_.resize(rows_.size());
    pickers_.resize(rows_.size(), &sampler_);
    session_.step(rows_, wanted_, outputs());
    std::erase(picked_, RETORT_TOKEN_UNPICKED);
    if (options_.speculate)
      drafter_.see(picked_);
    result_.guessed_tokens += rows_.size() - 1;
    result_.right_tokens += picked_.size() - 1;
  }

  /// As many tokens as there is room for, in the step, the context, the cache and the answer.
  std::span<const int32_t> guess() {
    const size_t length = session_.length(slot_);
    size_t most = std::min(
        {options_.speculate, session_.maxRows() - 1, session_.cache().maxContext() - length - 1});
    if (options_.maxTokens)
      most = std::min(most, options_.maxTokens - result_.tokens - 1);
    // One page stays free, so that an answer that ends within a guess can be cut there.
    while (most > 0 &&
           session_.cache().missingPages(slot_, most + 1) + 1 > session_.cache().freePages())
      --most;
    if (most == 0)
      return {};
    const double one = session_.expectedSeconds(1), all = session_.expectedSeconds(1 + most);
    const double least = one > 0 && all > one ? (all - one) / double(most) / one : 1;
    return drafter_.guess(std::min(least, 1.0), most, &sampler_);
  }

  /// Runs a token of which nobody wants to know what follows, so that the slot holds the answer whole;
  /// where there is no room, it does not.
  void keep(int32_t token) {
    const size_t length = session_.length(slot_);
    if (length == session_.cache().maxContext() ||
        session_.cache().missingPages(slot_, 1) > session_.cache().freePages())
      return;
    const retort_row row = {token, slot_, int32_t(length)};
    session_.step({&row, 1}, {}, {});
  }

  bool end(retort_finish finish) {
    result_.finish = finish;
    const bool wanted = finish == RETORT_FINISH_CANCELLED || output_.finish();
    if (!wanted)
      result_.finish = RETORT_FINISH_CANCELLED;
    else if (output_.stopped())
      result_.finish = RETORT_FINISH_STOP;
    return false;
  }

  Session &session_;
  int32_t slot_;
  const GenerateOptions &options_;
  retort_generation &result_;
  Sampler sampler_;
  TextOutput output_;
  Drafter drafter_;
  std::vector<int32_t> picked_; ///< by the last step: a token, and one more for each right guess
  std::vector<Sampler *> pickers_;
  std::vector<retort_row> rows_;
  std::vector<size_t> wanted_;
};

} // namespace

StopFinder::StopFinder(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string &stop : stops_)
    if (stop.empty() || validPrefix(stop) != stop.size())
      fail(ExitCode::Usage, "a stop string is empty or not UTF-8");
}

std::string StopFinder::push(std::string_view text) {
  // A stop string that was not there before ends in the new text.
  held_ += text;
  size_t end = std::string::npos;
  for (const std::string &stop : stops_)
    end = std::min(end, held_.find(stop));
  if (end != std::string::npos) {
    found_ = true;
    held_.resize(end);
    return std::move(held_);
  }
  size_t keep = 0; // the longest end of the text that begins a stop string
  for (const std::string &stop : stops_)
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n)
      if (std::string_view(held_).substr(held_.size() - n) == std::string_view(stop).substr(0, n))
        keep = n;
  std::string shown = held_.substr(0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return shown;
}

AnswerText::AnswerText(const Tokenizer &tokenizer, std::vector<std::string> stops)
    : decoder_(tokenizer), texts_(std::move(stops)), stops_(texts_) {
  for (const std::string &text : texts_)
    if (const int32_t token = tokenizer.specialId(text); token >= 0)
      tokens_.push_back(token);
}

void AnswerText::follow(std::span<const int32_t> tokens) { decoder_.follow(tokens); }

bool AnswerText::isStop(int32_t token) const {
  return std::find(tokens_.begin(), tokens_.end(), token) != tokens_.end();
}

std::string AnswerText::push(int32_t token) {
  if (finished_) {
    stops_ = StopFinder(texts_);
    stopped_ = finished_ = false;
  }
  if (stopped_)
    return {};
  if (isStop(token)) {
    stopped_ = true;
    return {};
  }
  std::string text = stops_.push(decoder_.push(token));
  stopped_ = stops_.found();
  return text;
}

std::string AnswerText::finish() {
  std::string rest = decoder_.finish();
  finished_ = true;
  if (stops_.found())
    return {};
  std::string text = stops_.push(rest);
  if (stops_.found())
    stopped_ = true;
  else
    text += stops_.finish();
  return text;
}

void generate(Session &session, int32_t slot, std::span<const int32_t> prompt,
              const GenerateOptions &options, retort_generation &result) {
  if (prompt.empty())
    fail(ExitCode::Usage, "the prompt has no tokens: give it at least one");
  session.requireTokens(slot, prompt);
  result.finish = RETORT_FINISH_FAILED; // until it ends otherwise
  Generation generation(session, slot, prompt, options, result);
  session.requireContext(slot, prompt.size(), "the prompt has");
  if (session.length(slot) == 0)
    result.cached_tokens = session.reuse(slot, prompt);
  try {
    session.requirePages(slot, prompt.size() - result.cached_tokens,
                         result.cached_tokens ? "the prompt has, beside what is known,"
                                              : "the prompt has");
  } catch (...) {
    if (result.cached_tokens)
      session.truncate(slot, 0);
    result.cached_tokens = 0;
    throw;
  }
  generation.run(prompt);
}

} // namespace retort::engine
