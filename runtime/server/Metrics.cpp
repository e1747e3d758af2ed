//===- Metrics.cpp - What the server counts -------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Metrics.h"

#include <algorithm>
#include <charconv>
#include <numeric>

namespace retort::server {
namespace {

constexpr double kFirstToken[] = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
                                  1,     2.5,   5,    7.5,  10,   20,   40,   80,  160,  640, 2560};
constexpr double kTokenGap[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3,
                                0.4,   0.5,    0.75,  1,    2.5,   5,    7.5,   10,  20,   40,  80};
constexpr double kLatency[] = {0.1, 0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,   15,
                               20,  30,  40,  50,  60, 120, 240, 480, 960, 1920, 7680};
constexpr double kStepRows[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};

std::string spelled(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

void head(std::string &out, const std::string &name, const char *type, const std::string &help) {
  out += "# HELP " + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
}

void one(std::string &out, const std::string &name, const char *type, const std::string &help,
         const std::string &value) {
  head(out, name, type, help);
  out += name + " " + value + "\n";
}

/// A label's value: backslash, quote and newline escaped.
std::string label(const std::string &text) {
  std::string result;
  for (char c : text) {
    if (c == '\\' || c == '"')
      result += '\\';
    result += c == '\n' ? ' ' : c;
  }
  return result;
}

} // namespace

void Histogram::observe(double value) {
  const size_t bucket =
      size_t(std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin());
  std::lock_guard lock(mutex_);
  ++counts_[bucket];
  sum_ += value;
}

double Histogram::mean() const {
  std::lock_guard lock(mutex_);
  const uint64_t count = std::accumulate(counts_.begin(), counts_.end(), uint64_t(0));
  return count ? sum_ / double(count) : 0;
}

void Histogram::write(std::string &out, const std::string &name, const std::string &labels) const {
  std::lock_guard lock(mutex_);
  uint64_t total = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    total += counts_[i];
    out += name + "_bucket{" + labels + ",le=\"" +
           (i < bounds_.size() ? spelled(bounds_[i]) : "+Inf") + "\"} " + std::to_string(total) +
           "\n";
  }
  out += name + "_sum{" + labels + "} " + spelled(sum_) + "\n" + name + "_count{" + labels + "} " +
         std::to_string(total) + "\n";
}

ModelMetrics::ModelMetrics()
    : firstToken(kFirstToken), tokenGap(kTokenGap), latency(kLatency), queueTime(kLatency),
      stepRows(kStepRows) {}

ModelMetrics &Metrics::of(const std::string &model) {
  std::lock_guard lock(mutex_);
  return models_[model];
}

void Metrics::countReply(const std::string &path, int status) {
  std::lock_guard lock(mutex_);
  ++replies_[{path, status}];
}

namespace {

using M = ModelMetrics;

double cacheUse(const M &m) {
  const uint64_t all = m.pages, used = all - std::min<uint64_t>(all, m.freePages);
  return all ? double(used) / double(all) : 0;
}

struct Counter {
  const char *name, *help;
  std::atomic<uint64_t> M::*value;
  const char *type = "counter";
};
constexpr Counter kCounters[] = {
    {"num_requests_running", "Answers that are being computed.", &M::running, "gauge"},
    {"num_requests_waiting", "Answers that wait for a slot or for cache.", &M::waiting, "gauge"},
    {"prompt_tokens_total", "Tokens of prompts computed.", &M::promptTokens},
    {"prefix_cache_queries_total", "Tokens of prompts that were looked for in the cache.",
     &M::prefixQueries},
    {"prefix_cache_hits_total", "Tokens of prompts that the cache held.", &M::prefixHits},
    {"generation_tokens_total", "Tokens of answers.", &M::answerTokens},
    {"spec_decode_num_draft_tokens_total", "Tokens of answers that were guessed and verified.",
     &M::guessedTokens},
    {"spec_decode_num_accepted_tokens_total", "Of those, the ones that were right.",
     &M::rightTokens},
    {"num_preemptions_total", "Answers that gave their cache to an older one.", &M::preemptions},
    {"num_cancelled_total", "Answers whose client went away.", &M::cancelled},
    {"num_failed_total", "Answers that ended with an error.", &M::failed},
    {"engine_steps_total", "Steps of the model.", &M::steps},
    {"reloads_total", "Bundles that took the place of another.", &M::reloads},
    {"failed_reloads_total", "Bundles that were refused in the place of another.",
     &M::failedReloads},
};
struct Time {
  const char *name, *help;
  std::atomic<uint64_t> M::*value;
};
constexpr Time kTimes[] = {
    {"engine_step_seconds_total", "In steps of the model, picking tokens included.", &M::stepTime},
    {"engine_scheduler_seconds_total", "Of the scheduler itself, between steps.",
     &M::schedulerTime},
};
struct Distribution {
  const char *name, *help;
  Histogram M::*value;
};
constexpr Distribution kDistributions[] = {
    {"time_to_first_token_seconds", "From arrival to the first token.", &M::firstToken},
    {"inter_token_latency_seconds", "Between two tokens of an answer.", &M::tokenGap},
    {"e2e_request_latency_seconds", "From arrival to an answer's end.", &M::latency},
    {"request_queue_time_seconds", "From arrival to the first step.", &M::queueTime},
    {"iteration_tokens_total", "Rows of a step.", &M::stepRows},
};

} // namespace

std::string Metrics::text(uint64_t droppedLogs) const {
  std::string out;
  const std::string prefix = "retort:";
  one(out, prefix + "http_connections", "gauge", "Open connections.", std::to_string(connections));
  one(out, prefix + "log_lines_dropped_total", "counter", "Lines that the log could not take.",
      std::to_string(droppedLogs));
  std::lock_guard lock(mutex_);
  // A family's lines stand together.
  const auto forEach = [&](auto write) {
    for (const auto &[name, model] : models_)
      write(model, "model_name=\"" + label(name) + "\"");
  };
  const auto line = [&](const char *name, const std::string &labels, const std::string &value) {
    out += prefix + name + "{" + labels + "} " + value + "\n";
  };
  for (const Counter &counter : kCounters) {
    head(out, prefix + counter.name, counter.type, counter.help);
    forEach([&](const M &m, const std::string &labels) {
      line(counter.name, labels, std::to_string((m.*counter.value).load()));
    });
  }
  for (const Time &time : kTimes) {
    head(out, prefix + time.name, "counter", time.help);
    forEach([&](const M &m, const std::string &labels) {
      line(time.name, labels, spelled(double(m.*time.value) * 1e-9));
    });
  }
  head(out, prefix + "kv_cache_usage_perc", "gauge", "Share of the cache's pages in use, 0 to 1.");
  forEach([&](const M &m, const std::string &labels) {
    line("kv_cache_usage_perc", labels, spelled(cacheUse(m)));
  });
  head(out, prefix + "request_success_total", "counter", "Answers that ended, by why.");
  forEach([&](const M &m, const std::string &labels) {
    line("request_success_total", labels + ",finished_reason=\"stop\"",
         std::to_string(m.finishedStop));
    line("request_success_total", labels + ",finished_reason=\"length\"",
         std::to_string(m.finishedLength));
  });
  for (const Distribution &distribution : kDistributions) {
    head(out, prefix + distribution.name, "histogram", distribution.help);
    forEach([&](const M &m, const std::string &labels) {
      (m.*distribution.value).write(out, prefix + distribution.name, labels);
    });
  }
  head(out, prefix + "model_info", "gauge", "The models that are served.");
  forEach([&](const M &, const std::string &labels) { line("model_info", labels, "1"); });
  head(out, prefix + "http_requests_total", "counter", "Replies, by path and status.");
  for (const auto &[reply, count] : replies_)
    line("http_requests_total",
         "handler=\"" + label(reply.first) + "\",status=\"" + std::to_string(reply.second) + "\"",
         std::to_string(count));
  return out;
}

} // namespace retort::server
