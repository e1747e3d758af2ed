//===- Workers.h - Threads for what takes a moment --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace retort::server {

/// Runs tasks in order, so many at a time. They must not throw.
class Workers {
public:
  explicit Workers(unsigned threads) {
    for (unsigned i = 0; i < threads; ++i)
      threads_.emplace_back([this] { loop(); });
  }
  /// Waits for the tasks that run. Those that have not begun are dropped.
  ~Workers() {
    std::deque<std::function<void()>> dropped; // ends outside the lock
    {
      std::lock_guard lock(mutex_);
      ending_ = true;
      dropped.swap(tasks_);
      wake_.notify_all();
    }
    for (std::thread &thread : threads_)
      thread.join();
  }
  void post(std::function<void()> task) {
    std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    wake_.notify_one();
  }
  /// The number of tasks that have not begun.
  size_t waiting() const {
    std::lock_guard lock(mutex_);
    return tasks_.size();
  }

private:
  void loop() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return ending_ || !tasks_.empty(); });
      if (tasks_.empty())
        return;
      const std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
    }
  }
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

} // namespace retort::server
