//===- Session.h - A model at work -----------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/include/retort.h"
#include "runtime/src/engine/Buffer.h"
#include "runtime/src/engine/KvCache.h"
#include "runtime/src/engine/Model.h"
#include "runtime/src/engine/ThreadPool.h"
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace retort::engine {

struct SessionOptions {
  uint32_t threads = 0, slots = 0, maxContext = 0; ///< 0: the default, as in retort.h
  uint64_t cacheBytes = 0;
};

/// More tokens than the context holds. (retort.h: RETORT_E_CONTEXT)
struct ContextError {
  std::string message;
};

/// Slots, their cache and the threads. One thread at a time.
class Session {
public:
  /// Throws Error: Usage for an option out of range, Resources if memory or threads are refused.
  Session(std::shared_ptr<const Model> model, const SessionOptions &options);

  const Model &model() const { return *model_; }
  const KvCache &cache() const { return cache_; }
  unsigned threads() const { return pool_.threads(); }

  /// retort_step(). Throws Error (Usage, Resources) or ContextError; then nothing ran.
  void step(std::span<const retort_row> rows, std::span<const size_t> wanted, float *logits);
  /// retort_prefill() without the checks for room: callers make them by requireRoom().
  void prefill(int32_t slot, std::span<const int32_t> tokens, float *logits);
  /// Throws ContextError or Error (Resources) unless `tokens` more fit into the slot; `what` names
  /// them in the message ("the prompt has").
  void requireRoom(int32_t slot, size_t tokens, const char *what) const;
  /// Throws Error (Usage) if a token is not in the vocabulary or there is no such slot.
  void requireTokens(int32_t slot, std::span<const int32_t> tokens) const;

  size_t length(int32_t slot) const { return cache_.hasSlot(slot) ? cache_.length(slot) : 0; }
  void truncate(int32_t slot, size_t length);

  std::string error; ///< of the last call through the C API

private:
  void takeRows(std::span<const retort_row> rows);
  void takeWanted(std::span<const size_t> wanted, size_t numRows);
  void run(size_t numRows, size_t numWanted, float *logits);

  std::shared_ptr<const Model> model_;
  ThreadPool pool_;
  KvCache cache_;
  Buffer activations_, scratch_;
  retort_cpu_barrier barrier_ = {};
  std::vector<int32_t> tokens_, slots_, positions_, wanted_; ///< of the step, max_rows each
  std::vector<uint32_t> added_;                              ///< [slots] rows in the step; else 0
  std::vector<int32_t> touched_;                             ///< slots with rows in the step
};

} // namespace retort::engine
