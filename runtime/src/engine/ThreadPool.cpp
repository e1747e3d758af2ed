//===- ThreadPool.cpp - The threads that run a step -----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/ThreadPool.h"
#include "runtime/base/Error.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>
#include <new>
#include <pthread.h>
#include <signal.h>
#include <string>
#include <system_error>

namespace retort::engine {
namespace {

/// How long a thread looks for the next job, or for the others' end, before it sleeps: longer than
/// sampling and detokenising take between two steps, far shorter than anybody's idle time.
constexpr auto kSpinTime = std::chrono::microseconds(50);

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  std::this_thread::yield();
#endif
}

/// Waits until `done` says so of `value`: looks for kSpinTime where that helps, then sleeps.
template <typename Done>
void waitFor(const std::atomic<uint32_t> &value, retort_patience &patience, const Done &done) {
  uint32_t seen = value.load(std::memory_order_acquire);
  if (!done(seen) && retort_patience_looks(&patience)) {
    const auto until = std::chrono::steady_clock::now() + kSpinTime;
    do
      for (int i = 0; i < 32 && value.load(std::memory_order_relaxed) == seen; ++i)
        relax();
    while (!done(seen = value.load(std::memory_order_acquire)) &&
           std::chrono::steady_clock::now() < until);
    retort_patience_learn(&patience, done(seen));
  }
  for (; !done(seen); seen = value.load(std::memory_order_acquire))
    value.wait(seen, std::memory_order_acquire);
}

/// The affinity of threads does not change often: one look in so many jobs costs nothing.
constexpr unsigned kJobsALook = 16;

/// Blocks signals for the threads that are made while it lives: but not those that a thread's own faults
/// raise, which an application's handler reports, nor its profiler's.
class BlockSignals {
public:
  BlockSignals() {
    sigset_t blocked;
    sigfillset(&blocked);
    for (int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT, SIGPROF})
      sigdelset(&blocked, own);
    pthread_sigmask(SIG_SETMASK, &blocked, &before_);
  }
  ~BlockSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

private:
  sigset_t before_;
};

} // namespace

void runOnThreads(unsigned threads, const std::function<void()> &work) {
  std::exception_ptr failure;
  std::mutex mutex;
  const auto run = [&] {
    try {
      work();
    } catch (...) {
      std::lock_guard lock(mutex);
      failure = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  {
    BlockSignals block;
    try {
      while (others.size() + 1 < threads)
        others.emplace_back(run);
    } catch (const std::system_error &) { // fewer threads do the same work
    } catch (const std::bad_alloc &) {
    }
  }
  run();
  for (std::thread &thread : others)
    thread.join();
  if (failure)
    std::rethrow_exception(failure);
}

ThreadPool::ThreadPool(unsigned threads) {
  BlockSignals block;
  std::string reason = "no memory";
  try {
    workers_.reserve(threads - 1);
    for (unsigned i = 1; i < threads; ++i)
      workers_.emplace_back([this, i] { work(int32_t(i)); });
    return;
  } catch (const std::system_error &error) {
    reason = error.code().message();
  } catch (const std::bad_alloc &) {
  }
  const size_t made = workers_.size() + 1;
  stop();
  fail(ExitCode::Resources, "only " + std::to_string(made) + " of " + std::to_string(threads) +
                                " threads could be made (" + reason + "): ask for fewer threads");
}

ThreadPool::~ThreadPool() { stop(); }

void ThreadPool::stop() {
  if (::getpid() != process_) { // a fork's child has no threads but the one that forked
    for (std::thread &worker : workers_)
      worker.detach();
    workers_.clear();
    return;
  }
  job_ = nullptr;
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread &worker : workers_)
    worker.join();
  workers_.clear();
}

unsigned ThreadPool::ready() {
  if (asked_++ % kJobsALook != 0)
    return ready_;
  cpu_set_t cores, of;
  CPU_ZERO(&cores);
  auto add = [&](pthread_t thread) {
    if (pthread_getaffinity_np(thread, sizeof of, &of) != 0)
      return false;
    CPU_OR(&cores, &cores, &of);
    return true;
  };
  // Of all threads: somebody may have given each a core of its own.
  const bool known =
      add(pthread_self()) && std::all_of(workers_.begin(), workers_.end(),
                                         [&](auto &worker) { return add(worker.native_handle()); });
  return ready_ = known ? std::min(threads(), unsigned(CPU_COUNT(&cores))) : threads();
}

void ThreadPool::run(Job job, const void *argument, unsigned threads) {
  if (threads == 1)
    return job(argument, 0);
  if (::getpid() != process_)
    fail(ExitCode::Usage,
         "the session was made before this process was forked, and its threads are "
         "the parent's: make sessions after the fork");
  job_ = job;
  argument_ = argument;
  jobThreads_ = threads;
  running_.store(uint32_t(workers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all(); // a system call only if a thread sleeps
  job(argument, 0);
  waitFor(running_, endPatience_, [](uint32_t running) { return running == 0; });
}

void ThreadPool::work(int32_t thread) {
  for (uint32_t seen = 0;; ++seen) {
    waitFor(generation_, jobPatience_, [&](uint32_t generation) { return generation != seen; });
    if (!job_)
      return;
    if (unsigned(thread) < jobThreads_)
      job_(argument_, thread);
    if (running_.fetch_sub(1, std::memory_order_release) == 1)
      running_.notify_one(); // a system call only if the caller of run() sleeps
  }
}

} // namespace retort::engine
