//===- Session.h - A model at work ------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/include/retort.h"
#include "runtime/src/device/Device.h"
#include "runtime/src/engine/KvCache.h"
#include "runtime/src/engine/Model.h"
#include "runtime/src/engine/Sampler.h"
#include "runtime/src/engine/StepTimes.h"
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace retort::engine {

struct SessionOptions {
  uint32_t threads = 0, slots = 0, maxContext = 0; ///< 0: the default, as in retort.h
  uint64_t cacheBytes = 0;
  std::string device; ///< as in retort.h; empty: the bundle and the machine decide
  bool sharesPrefixes = false;
};

/// More tokens than the context holds. (retort.h: RETORT_E_CONTEXT)
struct ContextError {
  std::string message;
};

/// No page of the cache is free, and one may be later. (retort.h: RETORT_E_PAGES)
struct PagesError {
  std::string message;
};

/// What a step is to give: one of the two, where rows are wanted, or both to verify guesses.
struct StepOutputs {
  float *logits = nullptr;   ///< [wanted][vocab]
  int32_t *tokens = nullptr; ///< [wanted]; RETORT_TOKEN_NONE where no logit is a number
  std::span<Sampler *const> samplers =
      {}; ///< of tokens: [wanted], null for greedy; empty: all greedy
  /// Rows may be guesses, as retort_step_verify() has it: those that are wrong are taken back.
  bool verifies = false;
};

/// Slots, their cache and the device that runs their steps. One thread at a time.
class Session {
public:
  /// Throws Error: Usage for an option out of range, Resources if memory or threads are refused,
  /// Unsupported or Device if the device cannot run the bundle.
  Session(std::shared_ptr<const Model> model, const SessionOptions &options);

  const Model &model() const { return *model_; }
  const KvCache &cache() const { return cache_; }
  const Device &device() const { return *device_; }
  size_t maxRows() const { return device_->limits().maxRows; }

  /// retort_step() or retort_step_sample(). Throws Error (Usage, Resources), PagesError or ContextError, then
  /// nothing ran; or Error (Device), then every later step throws it too.
  void step(std::span<const retort_row> rows, std::span<const size_t> wanted,
            const StepOutputs &outputs);
  /// retort_prefill() without the checks for room: callers make them by requireRoom(). `outputs`
  /// are of the last token, if they say where to.
  void prefill(int32_t slot, std::span<const int32_t> tokens, const StepOutputs &outputs);
  /// Throws ContextError unless `tokens` more fit into the slot; `what` names them in the message ("the
  /// prompt has").
  void requireContext(int32_t slot, size_t tokens, const char *what) const;
  /// Throws PagesError unless there are pages for them.
  void requirePages(int32_t slot, size_t tokens, const char *what) const;
  /// Both.
  void requireRoom(int32_t slot, size_t tokens, const char *what) const {
    requireContext(slot, tokens, what);
    requirePages(slot, tokens, what);
  }
  /// Throws Error (Usage) if a token is not in the vocabulary or there is no such slot.
  void requireTokens(int32_t slot, std::span<const int32_t> tokens) const;

  /// retort_session_expected_seconds()
  double expectedSeconds(size_t rows) const { return times_.expected(rows); }

  size_t length(int32_t slot) const { return cache_.hasSlot(slot) ? cache_.length(slot) : 0; }
  void truncate(int32_t slot, size_t length);
  /// retort_slot_reuse(). Throws Error (Usage).
  size_t reuse(int32_t slot, std::span<const int32_t> tokens);

  std::string error; ///< of the last call through the C API

private:
  void takeRows(std::span<const retort_row> rows);
  void takeWanted(std::span<const size_t> wanted, size_t numRows);
  static bool draws(const StepOutputs &outputs);
  bool isOnDevice(const StepOutputs &outputs) const;
  void reserve(size_t wanted, const StepOutputs &outputs);
  void run(const StepOutputs &outputs);
  bool isGuess(size_t wanted) const;
  void takeChoices(const StepOutputs &outputs);
  void pickTokens(const StepOutputs &outputs, bool fromLogits);
  int32_t pickFrom(std::span<float> logits, Sampler *sampler, size_t wanted, bool keepsLogits);
  void rowWritten(size_t row) { cache_.wrote(slots_[row], size_t(positions_[row]), tokens_[row]); }
  void takeBackGuesses();
  template <class Call> void onDevice(Call &&call);
  void requireDevice() const;

  std::shared_ptr<const Model> model_;
  std::unique_ptr<Device> device_;
  KvCache cache_;
  std::string lost_; ///< the message with which the device failed; empty: it works
  std::vector<int32_t> tokens_, slots_, positions_, wanted_; ///< of the step, maxRows() each
  std::vector<uint32_t> added_;                              ///< [slots] rows in the step; else 0
  std::vector<int32_t> touched_;                             ///< slots with rows in the step
  std::vector<retort_choice> choices_; ///< of the step's wanted rows, if any is drawn
  std::vector<float> logits_;          ///< of steps that want tokens that the device cannot give
  std::vector<Candidate> candidates_;
  std::vector<char> stays_; ///< [wanted] of a step that verifies: no guess, or a right one
  StepTimes times_;
};

} // namespace retort::engine
