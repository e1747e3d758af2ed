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

void Histogram::write(std::string &out, const std::string &name, const std::string &help) const {
  std::lock_guard lock(mutex_);
  head(out, name, "histogram", help);
  uint64_t total = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    total += counts_[i];
    out += name + "_bucket{le=\"" + (i < bounds_.size() ? spelled(bounds_[i]) : "+Inf") + "\"} " +
           std::to_string(total) + "\n";
  }
  out += name + "_sum " + spelled(sum_) + "\n" + name + "_count " + std::to_string(total) + "\n";
}

Metrics::Metrics()
    : firstToken(kFirstToken), tokenGap(kTokenGap), latency(kLatency), queueTime(kLatency),
      stepRows(kStepRows) {}

void Metrics::countReply(const std::string &path, int status) {
  std::lock_guard lock(mutex_);
  ++replies_[{path, status}];
}

std::string Metrics::text(const std::string &model, uint64_t droppedLogs) const {
  std::string out;
  auto gauge = [&](const char *name, const char *help, const std::string &value) {
    one(out, std::string("retort:") + name, "gauge", help, value);
  };
  auto counter = [&](const char *name, const char *help, uint64_t value) {
    one(out, std::string("retort:") + name, "counter", help, std::to_string(value));
  };
  const uint64_t all = pages, used = all - std::min<uint64_t>(all, freePages);
  gauge("num_requests_running", "Answers that are being computed.", std::to_string(running));
  gauge("num_requests_waiting", "Answers that wait for a slot or for cache.",
        std::to_string(waiting));
  gauge("kv_cache_usage_perc", "Share of the cache's pages in use, 0 to 1.",
        spelled(all ? double(used) / double(all) : 0));
  gauge("http_connections", "Open connections.", std::to_string(connections));
  counter("prompt_tokens_total", "Tokens of prompts computed.", promptTokens);
  counter("prefix_cache_queries_total", "Tokens of prompts that were looked for in the cache.",
          prefixQueries);
  counter("prefix_cache_hits_total", "Tokens of prompts that the cache held.", prefixHits);
  counter("generation_tokens_total", "Tokens of answers.", answerTokens);
  counter("num_preemptions_total", "Answers that gave their cache to an older one.", preemptions);
  counter("num_cancelled_total", "Answers whose client went away.", cancelled);
  counter("num_failed_total", "Answers that ended with an error.", failed);
  counter("engine_steps_total", "Steps of the model.", steps);
  counter("log_lines_dropped_total", "Lines that the log could not take.", droppedLogs);
  head(out, "retort:request_success_total", "counter", "Answers that ended, by why.");
  for (const auto &[reason, count] :
       {std::pair{"stop", finishedStop.load()}, {"length", finishedLength.load()}})
    out += std::string("retort:request_success_total{finished_reason=\"") + reason + "\"} " +
           std::to_string(count) + "\n";
  firstToken.write(out, "retort:time_to_first_token_seconds", "From arrival to the first token.");
  tokenGap.write(out, "retort:inter_token_latency_seconds", "Between two tokens of an answer.");
  latency.write(out, "retort:e2e_request_latency_seconds", "From arrival to an answer's end.");
  queueTime.write(out, "retort:request_queue_time_seconds", "From arrival to the first step.");
  stepRows.write(out, "retort:iteration_tokens_total", "Rows of a step.");
  head(out, "retort:http_requests_total", "counter", "Replies, by path and status.");
  {
    std::lock_guard lock(mutex_);
    for (const auto &[reply, count] : replies_)
      out += "retort:http_requests_total{handler=\"" + label(reply.first) + "\",status=\"" +
             std::to_string(reply.second) + "\"} " + std::to_string(count) + "\n";
  }
  head(out, "retort:model_info", "gauge", "The model that is served.");
  out += "retort:model_info{model_name=\"" + label(model) + "\"} 1\n";
  return out;
}

} // namespace retort::server
