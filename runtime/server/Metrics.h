//===- Metrics.h - What the server counts -----------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Prometheus' text format. Names, labels and buckets are vLLM's where it has the same figure, with
// "retort:" in the place of "vllm:", so that its dashboards serve.
//
//===----------------------------------------------------------------------===//
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace retort::server {

/// Observations by size. Any thread.
class Histogram {
public:
  /// `bounds` ascend; one more bucket takes what is larger. They must live as long.
  explicit Histogram(std::span<const double> bounds)
      : bounds_(bounds), counts_(bounds.size() + 1) {}
  void observe(double value);
  double mean() const; ///< 0 before the first
  void write(std::string &out, const std::string &name, const std::string &help) const;

private:
  std::span<const double> bounds_;
  mutable std::mutex mutex_;
  std::vector<uint64_t> counts_;
  double sum_ = 0;
};

struct Metrics {
  Metrics();
  std::atomic<uint64_t> running{0}, waiting{0}, pages{0}, freePages{0}, steps{0};
  std::atomic<uint64_t> promptTokens{0}, answerTokens{0}, preemptions{0}, cancelled{0};
  std::atomic<uint64_t> prefixQueries{0}, prefixHits{0}; ///< tokens of prompts
  std::atomic<uint64_t> finishedStop{0}, finishedLength{0}, failed{0}, connections{0};
  Histogram firstToken, tokenGap, latency, queueTime, stepRows;

  /// A reply was sent.
  void countReply(const std::string &path, int status);
  /// All of it; `model` is a label, `droppedLogs` comes from the log.
  std::string text(const std::string &model, uint64_t droppedLogs) const;

private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, uint64_t> replies_;
};

} // namespace retort::server
