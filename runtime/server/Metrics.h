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
  /// Its lines; `labels`: of each, `model_name="m"`.
  void write(std::string &out, const std::string &name, const std::string &labels) const;

private:
  std::span<const double> bounds_;
  mutable std::mutex mutex_;
  std::vector<uint64_t> counts_;
  double sum_ = 0;
};

/// Of one model. While a bundle takes another's place both count here: gauges are sums.
struct ModelMetrics {
  ModelMetrics();
  std::atomic<uint64_t> running{0}, waiting{0}, pages{0}, freePages{0}, steps{0};
  std::atomic<uint64_t> promptTokens{0}, answerTokens{0}, preemptions{0}, cancelled{0};
  std::atomic<uint64_t> prefixQueries{0}, prefixHits{0}; ///< tokens of prompts
  std::atomic<uint64_t> guessedTokens{0}, rightTokens{0};
  std::atomic<uint64_t> stepTime{0}, schedulerTime{0}; ///< nanoseconds: in steps, and between them
  std::atomic<uint64_t> finishedStop{0}, finishedLength{0}, failed{0};
  std::atomic<uint64_t> reloads{0}, failedReloads{0};
  Histogram firstToken, tokenGap, latency, queueTime, stepRows;
};

class Metrics {
public:
  std::atomic<uint64_t> connections{0};
  /// Those of the model of that name, which live as long as this.
  ModelMetrics &of(const std::string &model);
  /// A reply was sent.
  void countReply(const std::string &path, int status);
  /// All of it; `droppedLogs` comes from the log.
  std::string text(uint64_t droppedLogs) const;

private:
  mutable std::mutex mutex_;
  std::map<std::string, ModelMetrics> models_;
  std::map<std::pair<std::string, int>, uint64_t> replies_;
};

} // namespace retort::server
