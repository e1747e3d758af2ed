//===- Session.cpp - A model at work --------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/Session.h"
#include "runtime/base/Error.h"

#include <algorithm>
#include <chrono>

namespace retort::engine {
namespace {

uint32_t optionOr(uint32_t value, uint32_t fallback, uint32_t high, const char *name) {
  if (value > high)
    fail(ExitCode::Usage, std::string(name) + " is " + std::to_string(value) + ", more than " +
                              std::to_string(high));
  return value ? value : fallback;
}

KvCache makeCache(const Manifest &manifest, const DeviceLimits &limits,
                  const SessionOptions &options) {
  const uint32_t context = uint32_t(manifest.context), pageRows = limits.pageRows;
  const uint32_t slots = optionOr(options.slots, 1, 1 << 16, "slots");
  const uint32_t maxContext = optionOr(options.maxContext, context, context, "max_context");
  const uint64_t most = uint64_t(slots) * ((maxContext + pageRows - 1) / pageRows);
  uint64_t pages = options.cacheBytes ? options.cacheBytes / limits.pageBytes : most;
  if (pages == 0)
    fail(ExitCode::Usage, "cache_bytes is " + std::to_string(options.cacheBytes) +
                              ", less than one page of " + std::to_string(limits.pageBytes));
  if (most > (uint64_t(1) << 26))
    fail(ExitCode::Resources, std::to_string(slots) + " slots of " + std::to_string(maxContext) +
                                  " positions need " + std::to_string(most) +
                                  " pages: ask for fewer slots or a shorter max_context");
  return {
      slots, maxContext, pageRows, limits.pageBytes, std::min(pages, most), options.sharesPrefixes};
}

} // namespace

Session::Session(std::shared_ptr<const Model> model, const SessionOptions &options)
    : model_(std::move(model)), device_(openDevice(model_, options.device, options.threads)),
      cache_(makeCache(model_->manifest(), device_->limits(), options)), added_(cache_.slots()) {
  device_->allocate(cache_);
  for (std::vector<int32_t> *list : {&tokens_, &slots_, &positions_, &wanted_, &touched_})
    list->reserve(maxRows());
}

void Session::requireTokens(int32_t slot, std::span<const int32_t> tokens) const {
  if (!cache_.hasSlot(slot))
    fail(ExitCode::Usage, "slot " + std::to_string(slot) + " does not exist: the session has " +
                              std::to_string(cache_.slots()));
  for (size_t i = 0; i < tokens.size(); ++i)
    if (tokens[i] < 0 || tokens[i] >= model_->manifest().vocab)
      fail(ExitCode::Usage, "token " + std::to_string(i) + " is " + std::to_string(tokens[i]) +
                                ", not one of the vocabulary's " +
                                std::to_string(model_->manifest().vocab));
}

void Session::requireContext(int32_t slot, size_t tokens, const char *what) const {
  const size_t length = cache_.length(slot), room = cache_.maxContext() - length;
  if (tokens > room)
    throw ContextError{std::string(what) + " " + std::to_string(tokens) +
                       " tokens but the context holds " + std::to_string(cache_.maxContext()) +
                       (length ? ", of which " + std::to_string(length) + " are taken" : "") +
                       ": shorten it" + (length ? " or reset the slot" : "")};
}

void Session::requirePages(int32_t slot, size_t tokens, const char *what) const {
  if (uint64_t need = cache_.missingPages(slot, tokens); need > cache_.freePages())
    throw PagesError{std::string(what) + " " + std::to_string(tokens) + " tokens, which need " +
                     std::to_string(need) + " pages of cache, and " +
                     std::to_string(cache_.freePages()) + " of " + std::to_string(cache_.pages()) +
                     " are free: reset a slot or give the session more cache_bytes"};
}

void Session::truncate(int32_t slot, size_t length) {
  requireTokens(slot, {});
  if (length > cache_.length(slot))
    fail(ExitCode::Usage, "slot " + std::to_string(slot) + " holds " +
                              std::to_string(cache_.length(slot)) + " positions, fewer than " +
                              std::to_string(length));
  if (!cache_.canTruncate(slot, length))
    throw PagesError{"slot " + std::to_string(slot) + " shares the page of position " +
                     std::to_string(length) + " with others, and none of " +
                     std::to_string(cache_.pages()) + " pages is free to copy it to: reset a slot"};
  if (const std::optional<KvCache::Copy> copy = cache_.truncate(slot, length)) {
    requireDevice();
    onDevice([&] { device_->copyPage(copy->from, copy->to); });
  }
}

size_t Session::reuse(int32_t slot, std::span<const int32_t> tokens) {
  requireTokens(slot, tokens);
  if (cache_.length(slot) != 0)
    fail(ExitCode::Usage, "slot " + std::to_string(slot) + " holds " +
                              std::to_string(cache_.length(slot)) +
                              " positions: only an empty slot can begin with what others computed");
  return cache_.reuse(slot, tokens);
}

/// Copies the rows for the program and checks everything but room. added_ and touched_ say
/// afterwards how many rows each slot has.
void Session::takeRows(std::span<const retort_row> rows) {
  tokens_.clear(), slots_.clear(), positions_.clear();
  for (size_t i = 0; i < rows.size(); ++i) {
    const retort_row &row = rows[i];
    auto bad = [&](const std::string &what) {
      fail(ExitCode::Usage, "row " + std::to_string(i) + what);
    };
    if (row.token < 0 || row.token >= model_->manifest().vocab)
      bad(" has token " + std::to_string(row.token) + ", not one of the vocabulary's " +
          std::to_string(model_->manifest().vocab));
    if (!cache_.hasSlot(row.slot))
      bad(" has slot " + std::to_string(row.slot) + ", and the session has " +
          std::to_string(cache_.slots()));
    uint32_t &added = added_[size_t(row.slot)];
    const size_t next = cache_.length(row.slot) + added;
    if (row.position < 0 || size_t(row.position) != next)
      bad(" has position " + std::to_string(row.position) + ", but slot " +
          std::to_string(row.slot) + " goes on at " + std::to_string(next));
    if (next >= cache_.maxContext())
      throw ContextError{"row " + std::to_string(i) + " would make slot " +
                         std::to_string(row.slot) + " " + std::to_string(next + 1) +
                         " positions long, but the context holds " +
                         std::to_string(cache_.maxContext()) + ": reset or truncate the slot"};
    if (added++ == 0)
      touched_.push_back(row.slot);
    tokens_.push_back(row.token), slots_.push_back(row.slot), positions_.push_back(row.position);
  }
}

void Session::takeWanted(std::span<const size_t> wanted, size_t numRows) {
  wanted_.clear();
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] >= numRows || (i > 0 && wanted[i] <= wanted[i - 1]))
      fail(ExitCode::Usage, "wanted[" + std::to_string(i) + "] is " + std::to_string(wanted[i]) +
                                ": indices must ascend and be below the " +
                                std::to_string(numRows) + " rows");
    wanted_.push_back(int32_t(wanted[i]));
  }
}

/// Whether any token is to be drawn, and not simply the largest logit's.
bool Session::draws(const StepOutputs &outputs) {
  return outputs.tokens &&
         std::any_of(outputs.samplers.begin(), outputs.samplers.end(),
                     [](const Sampler *sampler) { return sampler && !sampler->greedy(); });
}

/// Whether the device gives the tokens, and the host needs no logits.
bool Session::isOnDevice(const StepOutputs &outputs) const {
  return outputs.tokens && !outputs.logits &&
         (draws(outputs) ? device_->draws() : device_->samples()) &&
         std::none_of(outputs.samplers.begin(), outputs.samplers.end(),
                      [](const Sampler *sampler) { return sampler && sampler->adjusts(); });
}

/// Memory for a step's results; throws before anything changes.
void Session::reserve(size_t wanted, const StepOutputs &outputs) {
  if (outputs.tokens && !isOnDevice(outputs))
    logits_.resize((outputs.logits ? 1 : wanted) * size_t(model_->manifest().vocab));
  if (!isOnDevice(outputs) || draws(outputs))
    device_->reserve(wanted);
}

void Session::step(std::span<const retort_row> rows, std::span<const size_t> wanted,
                   const StepOutputs &outputs) {
  requireDevice();
  if (rows.empty() || rows.size() > maxRows())
    fail(ExitCode::Usage, "a step has " + std::to_string(rows.size()) + " rows, not 1 to " +
                              std::to_string(maxRows()));
  if (!wanted.empty() && !outputs.logits && !outputs.tokens)
    fail(ExitCode::Usage, "logits or tokens is NULL though rows are wanted");
  struct Forget { // added_ is all zero between steps
    Session &session;
    ~Forget() {
      for (int32_t slot : session.touched_)
        session.added_[size_t(slot)] = 0;
      session.touched_.clear();
    }
  } forget{*this};
  takeRows(rows);
  takeWanted(wanted, rows.size());
  uint64_t need = 0;
  for (int32_t slot : touched_)
    need += cache_.missingPages(slot, added_[size_t(slot)]);
  if (need > cache_.freePages())
    throw PagesError{"the step needs " + std::to_string(need) + " pages of cache, and " +
                     std::to_string(cache_.freePages()) + " of " + std::to_string(cache_.pages()) +
                     " are free: reset a slot or give the session more cache_bytes"};
  reserve(wanted.size(), outputs);
  for (int32_t slot : touched_)
    cache_.grow(slot, added_[size_t(slot)]);
  run(outputs);
}

void Session::prefill(int32_t slot, std::span<const int32_t> tokens, const StepOutputs &outputs) {
  requireDevice();
  reserve(1, outputs);
  for (size_t begin = 0; begin < tokens.size(); begin += maxRows()) {
    const size_t rows = std::min(maxRows(), tokens.size() - begin);
    const bool last = (outputs.logits || outputs.tokens) && begin + rows == tokens.size();
    tokens_.assign(&tokens[begin], &tokens[begin] + rows);
    slots_.assign(rows, slot);
    positions_.resize(rows);
    for (size_t i = 0; i < rows; ++i)
      positions_[i] = int32_t(cache_.length(slot) + i);
    wanted_.assign(last ? 1 : 0, int32_t(rows - 1));
    cache_.grow(slot, rows);
    run(outputs);
  }
}

/// Whether a wanted row guesses what the wanted row before it picks.
bool Session::isGuess(size_t wanted) const {
  if (wanted == 0)
    return false;
  const size_t row = size_t(wanted_[wanted]), before = size_t(wanted_[wanted - 1]);
  return slots_[row] == slots_[before] && positions_[row] == positions_[before] + 1;
}

void Session::takeChoices(const StepOutputs &outputs) {
  choices_.clear();
  if (draws(outputs))
    for (size_t i = 0; i < wanted_.size(); ++i)
      choices_.push_back(outputs.samplers[i] ? outputs.samplers[i]->next() : retort_choice{});
}

void Session::run(const StepOutputs &outputs) {
  const auto start = std::chrono::steady_clock::now();
  takeChoices(outputs);
  const bool pick = outputs.tokens && !isOnDevice(outputs);
  const StepResults results =
      pick             ? StepResults{.logits = outputs.logits ? outputs.logits : logits_.data()}
                  : outputs.tokens ? StepResults{.tokens = outputs.tokens, .choices = choices_}
                       : StepResults{.logits = outputs.logits};
  onDevice([&] { device_->run(cache_, {tokens_, slots_, positions_, wanted_}, results); });
  stays_.assign(wanted_.size(), true);
  for (size_t i = 0; outputs.verifies && i < wanted_.size(); ++i)
    stays_[i] = !isGuess(i);
  for (size_t row = 0, i = 0; row < tokens_.size(); ++row) {
    const bool wanted = i < wanted_.size() && size_t(wanted_[i]) == row;
    if (!wanted || stays_[i])
      rowWritten(row);
    i += wanted;
  }
  struct Guard { // also where there is no memory to pick
    Session &session;
    ~Guard() { session.takeBackGuesses(); }
  } guard{*this};
  if (outputs.tokens)
    pickTokens(outputs, pick);
  times_.add(tokens_.size(),
             std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

/// The step's tokens, from logits or as the device gave them. Each guess is looked at once the row before it
/// has its token: if it is another, or ends what a grammar allows, what follows was never picked.
void Session::pickTokens(const StepOutputs &outputs, bool fromLogits) {
  const size_t vocab = size_t(model_->manifest().vocab);
  float *const logits = outputs.logits ? outputs.logits : logits_.data();
  for (size_t i = 0; i < wanted_.size(); ++i) {
    Sampler *const sampler = outputs.samplers.empty() ? nullptr : outputs.samplers[i];
    int32_t &token = outputs.tokens[i];
    if (!stays_[i]) {
      if (outputs.tokens[i - 1] != tokens_[size_t(wanted_[i])] || (sampler && sampler->done())) {
        token = RETORT_TOKEN_UNPICKED;
        if (sampler && !choices_.empty())
          sampler->giveBack();
        continue;
      }
      rowWritten(size_t(wanted_[i]));
      stays_[i] = true;
    }
    if (fromLogits)
      token = pickFrom({&logits[i * vocab], size_t(model_->pickable())}, sampler, i,
                       outputs.logits != nullptr);
    if (sampler && token >= 0)
      sampler->took(token);
  }
}

int32_t Session::pickFrom(std::span<float> logits, Sampler *sampler, size_t wanted,
                          bool keepsLogits) {
  if (sampler && sampler->adjusts()) {
    if (keepsLogits) {
      logits_.assign(logits.begin(), logits.end());
      logits = logits_;
    }
    sampler->adjust(logits);
  }
  return drawToken(logits, choices_.empty() ? retort_choice{} : choices_[wanted], candidates_);
}

/// The rows of wrong guesses leave their slots. Their pages were not shared yet, so none is copied.
void Session::takeBackGuesses() {
  for (size_t i = 0; i < wanted_.size(); ++i) {
    const int32_t slot = slots_[size_t(wanted_[i])];
    const size_t position = size_t(positions_[size_t(wanted_[i])]);
    if (!stays_[i] && position < cache_.length(slot))
      cache_.truncate(slot, position);
  }
}

/// Calls the device, and remembers if it fails for good.
template <class Call> void Session::onDevice(Call &&call) {
  try {
    call();
  } catch (const Error &error) {
    if (error.code == ExitCode::Device)
      lost_ = error.message;
    throw;
  }
}

void Session::requireDevice() const {
  if (!lost_.empty())
    fail(ExitCode::Device, lost_);
}

} // namespace retort::engine
