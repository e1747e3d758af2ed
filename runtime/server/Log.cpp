//===- Log.cpp - What happened, a JSON object a line ----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Log.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <poll.h>
#include <unistd.h>

namespace retort::server {
namespace {

constexpr size_t kMostLines = 10000;
constexpr int kPatienceMs = 1000; // for a reader that stands still

/// 2026-11-30T08:15:00.123Z.
std::string now() {
  const auto time = std::chrono::system_clock::now();
  const std::time_t whole = std::chrono::system_clock::to_time_t(time);
  const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch());
  std::tm parts = {};
  ::gmtime_r(&whole, &parts);
  char text[64];
  const size_t size = std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + size, sizeof text - size, ".%03dZ", int(ms.count() % 1000));
  return text;
}

/// False if the line cannot be written whole.
bool writeAll(int descriptor, const std::string &line) {
  for (size_t begin = 0; begin < line.size();) {
    pollfd ready = {descriptor, POLLOUT, 0};
    if (::poll(&ready, 1, kPatienceMs) <= 0)
      return false;
    const ssize_t written = ::write(descriptor, &line[begin], line.size() - begin);
    if (written < 0 && errno != EINTR && errno != EAGAIN)
      return false;
    begin += size_t(std::max<ssize_t>(written, 0));
  }
  return true;
}

} // namespace

Log::Log(int descriptor) : descriptor_(descriptor), thread_([this] { loop(); }) {}

Log::~Log() {
  {
    std::lock_guard lock(mutex_);
    ending_ = true;
    wake_.notify_one();
  }
  thread_.join();
}

void Log::write(const char *event, nlohmann::ordered_json fields) {
  nlohmann::ordered_json line = {{"time", now()}, {"event", event}};
  line.update(fields);
  std::string text =
      line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  std::lock_guard lock(mutex_);
  if (lines_.size() >= kMostLines) {
    ++dropped_;
    return;
  }
  lines_.push_back(std::move(text));
  wake_.notify_one();
}

void Log::loop() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return ending_ || !lines_.empty(); });
    if (lines_.empty())
      return;
    const std::string line = std::move(lines_.front());
    lines_.pop_front();
    lock.unlock();
    const bool written = writeAll(descriptor_, line);
    lock.lock();
    if (written)
      continue;
    ++dropped_;
    if (ending_) {
      dropped_ += lines_.size();
      return;
    }
  }
}

} // namespace retort::server
