//===- Progress.h - What a long compile shows -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <cstdint>
#include <string>

namespace retort {

/// Shows stages on stderr: on a terminal one line redrawn in place with a bar, the time left and a
/// note (the loss); elsewhere a line when a stage begins, every 15 seconds, and when it ends.
class Progress {
public:
  explicit Progress(bool quiet);

  void begin(const std::string &stage);
  /// `done` of `total` units; `note` is shown beside the bar, for example "loss 2.103".
  void update(uint64_t done, uint64_t total, const std::string &note = {});
  /// Ends the stage with what it found, for example "1,204 documents".
  void end(const std::string &result = {});
  /// A line of its own, between stages.
  void note(const std::string &line);

  /// True once SIGINT or SIGTERM arrived; long work stops at its next safe point.
  static bool interrupted();
  /// Installs handlers of SIGINT and SIGTERM. The first signal asks to stop, the second, or with
  /// `atOnce` the first, ends the process with the exit code of what was interrupted.
  static void handleSignals(bool atOnce = false);

private:
  using Clock = std::chrono::steady_clock;
  void draw(bool final, const std::string &text);

  bool quiet_;
  bool terminal_;
  std::string stage_;
  Clock::time_point started_, shown_;
  uint64_t first_ = 0; ///< units that were already done when the stage was resumed
  bool sawFirst_ = false;
};

/// "1h 02m", "3m 20s", "12 s", "0.4 s".
std::string formatSeconds(double seconds);
/// "94.0 MB": decimal units, as disks and the field count.
std::string formatBytes(uint64_t bytes);
/// "1,234,567"
std::string formatCount(uint64_t count);

} // namespace retort
