//===- Scheduler.h - Many answers from one session --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Continuous batching: each step takes the next token of every answer that is being written and fills
// up with rows of prompts. Answers are served by arrival: an older one gets cache pages before a
// younger one, which gives its pages back when they run out and is computed again later, to the same
// text. So the oldest always goes on, nobody waits for ever, and no answer fails for want of pages.
//
// Rows that are left in a step verify guesses at how answers go on (Drafter), where those are likely enough
// to be worth their time.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "retort.hpp"
#include "runtime/server/Error.h"
#include "runtime/server/Metrics.h"
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace retort::server {

using Clock = std::chrono::steady_clock;

/// A token, and how likely the model found it and others in its place.
struct TokenScore {
  int32_t token;
  float logprob;                              ///< natural; NaN: the first token of a text has none
  std::vector<std::pair<int32_t, float>> top; ///< the likeliest in its place, the likeliest first
};

/// What becomes known of an answer.
struct Update {
  std::string text; ///< that is new
  std::vector<TokenScore>
      scores;                    ///< that are new, if the job wants any: its prompt's, the answer's
  size_t cachedTokens = 0;       ///< of the prompt, that were not computed for this answer
  size_t tokens = 0;             ///< of the answer so far, a stop token not counted
  bool finished = false;         ///< nothing follows
  bool length = false;           ///< finished because there was no room for more, else by a stop
  std::optional<ApiError> error; ///< finished because of this
};

/// An answer that is wanted.
struct Job {
  std::vector<int32_t> prompt; ///< 1 to context() - 1 tokens of the vocabulary
  Sampling sampling;
  size_t maxTokens = 1;      ///< with the prompt at most context(); 0: only the prompt's scores
  int top = -1;              ///< the likeliest tokens that each score has; -1: no scores
  bool scoresPrompt = false; ///< if there are scores: also of the prompt's tokens
  std::vector<std::string> stops;
  bool ignoreEos = false;
  std::optional<Grammar> grammar; ///< that the answer meets
  std::vector<int32_t> shown;     ///< special tokens whose names the text holds
  bool goesOn =
      false; ///< the answer goes on with the prompt's text: its first word keeps its space
  Clock::time_point deadline = Clock::time_point::max();
  /// Once true, the answer ends before the next step and no update follows.
  std::shared_ptr<const std::atomic<bool>> cancelled;
  /// Called on the scheduler's thread; must be quick and not throw.
  std::function<void(Update)> onUpdate;
};

struct SchedulerOptions {
  SessionOptions session; ///< its slots: answers written at a time
  size_t queue = 256;     ///< answers that may wait beyond those
  size_t prefillRows =
      0;                ///< most rows of prompts in a step while answers are written; 0: what fits
  size_t speculate = 0; ///< most tokens of an answer that are guessed for a step; 0: none
};

class Scheduler {
public:
  /// Throws Failure as Session, or Error (Usage) for more slots than a step has rows.
  Scheduler(const Model &model, const SchedulerOptions &options, ModelMetrics &metrics);
  ~Scheduler();

  /// Takes all the jobs, or none and returns false: too many wait.
  bool submit(std::vector<Job> jobs);
  /// Jobs that were taken and have not ended.
  size_t inFlight() const;
  /// Ends every job with a 503 and takes no more.
  void stop();

  /// Most tokens of a prompt and its answer together: the model's, or what the whole cache holds.
  size_t context() const { return context_; }
  /// Most jobs at a time, those that wait included.
  size_t capacity() const { return capacity_; }
  size_t slots() const { return slots_; }
  retort_session_info sessionInfo() const { return info_; }
  /// The message with which the device failed; empty: it works. Any thread.
  std::string lost() const;
  /// Called once on the scheduler's thread when the device has failed.
  std::function<void()> onLost;

  void start(); ///< the thread; after onLost is set

private:
  struct Task;
  using Tasks = std::vector<std::unique_ptr<Task>>;
  void loop();
  bool await();
  void dropEnded(Tasks &tasks);
  void admit();
  void runStep();
  void sampleRows();
  void scoreRows();
  void takePicked();
  void planRows();
  void planGuesses();
  void planTask(Task &task);
  size_t rowsFor(size_t index, size_t wanted);
  void preemptYoungest();
  void take(Task &task, int32_t token, bool last);
  void end(Task &task);
  void end(Task &task, const ApiError &error);
  void failRunning(const ApiError &error);
  uint64_t pagesFor(size_t positions) const { return (positions + pageRows_ - 1) / pageRows_; }
  uint64_t missingPages(const Task &task, size_t positions) const;
  TokenScore scoreOf(const Task &task, int32_t token, std::span<const float> logits) const;
  void countPages() { freePages_ = session_.info().free_pages; }
  void report();
  void report(std::atomic<uint64_t> &gauge, uint64_t &ours, uint64_t now);

  const Model model_;
  ModelMetrics &metrics_;
  Session session_;
  retort_session_info info_;
  size_t slots_, capacity_, maxRows_, prefillRows_, speculate_, pageRows_, context_;

  // Of the scheduler's thread.
  Tasks waiting_, running_; ///< by arrival
  std::vector<int32_t> freeSlots_;
  uint64_t freePages_ = 0;
  struct {
    uint64_t running = 0, waiting = 0, pages = 0, freePages = 0;
  } ours_;                  ///< what the gauges have of this scheduler
  bool deviceLost_ = false; ///< the session may only be destroyed
  std::vector<retort_row> rows_;
  std::vector<size_t> wanted_;
  std::vector<Task *> planned_, wantedTasks_; ///< wantedTasks_: of the row that is wanted
  bool wantsLogits_ = false;                  ///< a row of the step is for a task that wants scores
  bool scoresPrompts_ = false;                ///< a row of the step scores a token of a prompt
  std::vector<int32_t> tokens_;
  std::vector<Sampler *> samplers_;
  std::vector<float> logits_;

  mutable std::mutex mutex_; ///< of what follows
  std::condition_variable wake_;
  Tasks arrived_;
  size_t inFlight_ = 0;
  bool stopping_ = false;
  uint64_t nextArrival_ = 0;
  std::string lost_;
  std::thread thread_;
};

} // namespace retort::server
