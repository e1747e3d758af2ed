//===- Progress.cpp - What a long compile shows -----------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Progress.h"
#include "runtime/base/Error.h"

#include <csignal>
#include <cstdio>
#include <unistd.h>

namespace retort {
namespace {
volatile std::sig_atomic_t stopRequested = 0;

void onSignal(int) {
  if (stopRequested)
    ::_exit(static_cast<int>(ExitCode::Interrupted));
  stopRequested = 1;
}
void endAtOnce(int) { ::_exit(static_cast<int>(ExitCode::Interrupted)); }
} // namespace

Progress::Progress(bool quiet) : quiet_(quiet), terminal_(::isatty(STDERR_FILENO)) {}

bool Progress::interrupted() { return stopRequested != 0; }

void Progress::handleSignals(bool atOnce) {
  struct sigaction action{};
  action.sa_handler = atOnce ? endAtOnce : onSignal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

void Progress::begin(const std::string &stage) {
  stage_ = stage;
  started_ = shown_ = Clock::now();
  sawFirst_ = false;
  if (!quiet_)
    draw(false, terminal_ ? "" : "...");
}

void Progress::update(uint64_t done, uint64_t total, const std::string &note) {
  if (!sawFirst_) {
    sawFirst_ = true;
    first_ = done;
  }
  const auto now = Clock::now();
  const double sinceShown = std::chrono::duration<double>(now - shown_).count();
  if (quiet_ || total == 0 || sinceShown < (terminal_ ? 0.1 : 15))
    return;
  shown_ = now;
  const double elapsed = std::chrono::duration<double>(now - started_).count();
  std::string text;
  if (terminal_) {
    const uint64_t width = 24, filled = width * done / total;
    text += '[' + std::string(filled, '=') + std::string(width - filled, ' ') + "] ";
  }
  char percent[16];
  std::snprintf(percent, sizeof percent, "%3.0f %%", 100.0 * done / total);
  text += percent;
  if (done > first_)
    text += ", " + formatSeconds(elapsed * (total - done) / (done - first_)) + " left";
  if (!note.empty())
    text += ", " + note;
  draw(false, text);
}

void Progress::end(const std::string &result) {
  const double elapsed = std::chrono::duration<double>(Clock::now() - started_).count();
  if (!quiet_)
    draw(true, formatSeconds(elapsed) + (result.empty() ? "" : "  " + result));
}

void Progress::note(const std::string &line) {
  if (!quiet_)
    std::fprintf(stderr, "%s\n", line.c_str());
}

void Progress::draw(bool final, const std::string &text) {
  if (terminal_)
    std::fprintf(stderr, "\r\033[K%-28s %s%s", stage_.c_str(), text.c_str(), final ? "\n" : "");
  else
    std::fprintf(stderr, "%-28s %s\n", stage_.c_str(), text.c_str());
  std::fflush(stderr);
}

std::string formatSeconds(double seconds) {
  char text[32];
  if (seconds >= 3600)
    std::snprintf(text, sizeof text, "%dh %02dm", int(seconds) / 3600, int(seconds) / 60 % 60);
  else if (seconds >= 60)
    std::snprintf(text, sizeof text, "%dm %02ds", int(seconds) / 60, int(seconds) % 60);
  else
    std::snprintf(text, sizeof text, seconds < 10 ? "%.1f s" : "%.0f s", seconds);
  return text;
}

std::string formatBytes(uint64_t bytes) {
  const char *units[] = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 999.5 && unit < 4) {
    value /= 1000;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value,
                units[unit]);
  return text;
}

std::string formatCount(uint64_t count) {
  std::string text = std::to_string(count);
  for (int i = static_cast<int>(text.size()) - 3; i > 0; i -= 3)
    text.insert(i, ",");
  return text;
}

} // namespace retort
