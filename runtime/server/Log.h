//===- Log.h - What happened, a JSON object a line --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

namespace retort::server {

/// Writes to a descriptor from a thread of its own, so that a full disk or a reader that stands still
/// costs lines, which are counted, and never an answer.
class Log {
public:
  explicit Log(int descriptor);
  ~Log(); ///< writes what is left, if that goes at once
  /// Adds the time. Any thread. `fields` hold no text of prompts or answers.
  void write(const char *event, nlohmann::ordered_json fields);
  uint64_t dropped() const { return dropped_; }

private:
  void loop();
  const int descriptor_;
  std::atomic<uint64_t> dropped_{0};
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::string> lines_;
  bool ending_ = false;
  std::thread thread_;
};

} // namespace retort::server
