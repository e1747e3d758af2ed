//===- ThreadPool.h - The threads that run a step ---------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/abi/patience.h"
#include <atomic>
#include <functional>
#include <thread>
#include <unistd.h>
#include <vector>

namespace retort::engine {

/// Runs `work` on the calling thread and `threads` - 1 others, and waits for all. If threads are
/// refused, fewer run it: `work` must take its share from a common counter. Of what it throws, one is
/// thrown on.
void runOnThreads(unsigned threads, const std::function<void()> &work);

/// A fixed set of threads that run one job together again and again: steps follow each other within
/// microseconds, so a thread that has finished looks for the next job for a while before it sleeps,
/// where that helps (patience.h).
/// An idle pool uses no CPU. One thread at a time may call run().
class ThreadPool {
public:
  using Job = void (*)(const void *argument, int32_t thread);

  /// `threads` counts the caller of run(). Throws Error (Resources) if threads are refused. The
  /// threads block signals, so that an application's handlers run on its own threads, but not those
  /// of a thread's own faults and of profilers.
  explicit ThreadPool(unsigned threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool &) = delete;
  ThreadPool &operator=(const ThreadPool &) = delete;

  unsigned threads() const { return unsigned(workers_.size()) + 1; }
  /// How many threads the next job should have: all, or one for each core where cores were taken from
  /// the process since the pool was made. It looks once in some jobs.
  unsigned ready();
  /// Calls job(argument, i) for each i below `threads`, thread 0 being the caller; returns when all
  /// have returned. Throws Error (Usage) where a process that was forked since needs others.
  void run(Job job, const void *argument, unsigned threads);

private:
  void work(int32_t thread);
  void stop();

  const pid_t process_ = ::getpid();
  std::vector<std::thread> workers_;
  unsigned asked_ = 0, ready_ = 0;                  ///< of ready()
  alignas(64) std::atomic<uint32_t> generation_{0}; ///< counts jobs
  Job job_ = nullptr;                               ///< nullptr: end
  const void *argument_ = nullptr;
  unsigned jobThreads_ = 0;
  retort_patience jobPatience_ = {}; ///< of the others, for a job
  alignas(64) std::atomic<uint32_t> running_{0};
  retort_patience endPatience_ = {}; ///< of the caller of run(), for the others' end
};

} // namespace retort::engine
