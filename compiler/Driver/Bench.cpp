//===- Bench.cpp - `retort bench` -------------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Commands.h"
#include "compiler/Driver/Progress.h"
#include "runtime/include/retort.hpp"
#include "runtime/src/base/Error.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

namespace retort {
namespace {

double seconds(const std::function<void()> &work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/// How much a bench does where the command line does not say: a simulated card is a million times
/// slower than a real one, and its counters are the same every time.
struct Amount {
  Amount(const BenchOptions &options, bool simulated)
      : prompt(options.prompt ? options.prompt
               : simulated    ? 16
                              : 128),
        generate(options.generate ? options.generate
                 : simulated      ? 1
                                  : 128),
        repeat(options.repeat ? options.repeat
               : simulated    ? 1
                              : 5),
        warmUp(!simulated) {}
  unsigned prompt, generate, repeat;
  bool warmUp;
};

/// A session timed, run after run.
class Bench {
public:
  Bench(Session &session, const Amount &amount)
      : session_(session), amount_(amount), logits_(session.model().info().vocab) {
    // Which tokens they are does not matter for the time; some spread keeps the embedding honest.
    for (size_t i = 0; i < amount.prompt; ++i)
      prompt_.push_back(static_cast<int32_t>((i * 7919 + 1) % logits_.size()));
  }

  void run() {
    for (unsigned run = amount_.warmUp ? 0 : 1; run <= amount_.repeat; ++run)
      runOnce(run > 0);
  }
  double prefill() const { return median(prefill_); } ///< tokens a second
  double decode() const { return median(decode_); }
  double step() const { return median(step_); } ///< seconds on the card; 0: not measured
  const nlohmann::json &counters() const { return counters_; } ///< of the last run; null: none

private:
  void runOnce(bool counts) {
    session_.reset(0);
    session_.counters(); // forgets
    const double before = seconds([&] { session_.prefill(0, prompt_, logits_); });
    note("prefill");
    double card = 0;
    const double after = seconds([&] {
      for (unsigned t = 0; t < amount_.generate; ++t) {
        const int32_t token = static_cast<int32_t>(
            std::max_element(logits_.begin(), logits_.end()) - logits_.begin());
        session_.prefill(0, {&token, 1}, logits_);
        card += session_.info().step_seconds;
      }
    });
    note("decode");
    if (!counts)
      return;
    prefill_.push_back(amount_.prompt / before);
    decode_.push_back(amount_.generate / after);
    step_.push_back(card / amount_.generate);
  }
  void note(const char *what) {
    if (const std::string text = session_.counters(); !text.empty())
      counters_[what] = nlohmann::json::parse(text);
  }

  Session &session_;
  const Amount &amount_;
  std::vector<int32_t> prompt_;
  std::vector<float> logits_;
  std::vector<double> prefill_, decode_, step_;
  nlohmann::json counters_;
};

} // namespace

void benchCommand(const BenchOptions &options) {
  const bool simulated = options.device.starts_with("sim");
  if (simulated)
    ::setenv("RETORT_SIM_COUNT", "1", 0);
  const Amount amount(options, simulated);
  std::optional<Model> model;
  std::optional<Session> session;
  const double load = seconds([&] {
    model.emplace(options.bundle);
    session.emplace(*model, SessionOptions{.threads = options.threads, .device = options.device});
  });
  const retort_model_info info = model->info();
  if (uint64_t(amount.prompt) + amount.generate > static_cast<unsigned>(info.context))
    fail(ExitCode::Usage, "--prompt " + std::to_string(amount.prompt) + " and --generate " +
                              std::to_string(amount.generate) + " do not fit the context of " +
                              std::to_string(info.context) + " positions");
  Bench bench(*session, amount);
  bench.run();
  const retort_session_info sessionInfo = session->info();
  nlohmann::json result = {{"decode_tokens_per_s", bench.decode()},
                           {"prefill_tokens_per_s", bench.prefill()},
                           {"bytes_per_token", info.bytes_per_token},
                           {"bandwidth_gb_s", bench.decode() * info.bytes_per_token / 1e9},
                           {"load_ms", load * 1e3},
                           {"prompt", amount.prompt},
                           {"generate", amount.generate},
                           {"threads", sessionInfo.threads},
                           {"device", sessionInfo.device},
                           {"isa", info.isa},
                           {"repeat", amount.repeat}};
  if (bench.step() > 0)
    result["decode_step_ms"] = bench.step() * 1e3;
  if (!bench.counters().is_null())
    result["counters"] = bench.counters();
  if (options.json) {
    std::printf("%s\n", result.dump(1).c_str());
    return;
  }
  std::printf("%s: %s, %u %s, median of %u runs\n", options.bundle.c_str(), sessionInfo.device,
              sessionInfo.threads, sessionInfo.threads == 1 ? "thread" : "threads", amount.repeat);
  std::printf("  decode   %8.1f tokens/s, %s a token, %.1f GB/s\n", bench.decode(),
              formatBytes(info.bytes_per_token).c_str(), result["bandwidth_gb_s"].get<double>());
  std::printf("  prefill  %8.1f tokens/s (%u tokens)\n", bench.prefill(), amount.prompt);
  std::printf("  load     %8.1f ms\n", load * 1e3);
  if (simulated)
    std::printf("  a simulated card has no speed: --json prints what it counted\n");
}

} // namespace retort
