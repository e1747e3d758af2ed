//===- Bench.cpp - `retort bench` -------------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Commands.h"
#include "compiler/Driver/Progress.h"
#include "runtime/base/Error.h"
#include "runtime/base/Output.h"
#include "runtime/include/retort.hpp"

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

/// How much a bench does where the command line does not say: a simulated GPU is a million times
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
        rows(options.rows), context(options.context ? options.context : prompt),
        warmUp(!simulated) {}
  /// Most positions that a sequence comes to hold.
  uint64_t positions() const { return std::max<uint64_t>(prompt, uint64_t(context) + generate); }
  unsigned prompt, generate, repeat, rows, context;
  bool warmUp;
};

/// A session timed, run after run.
class Bench {
public:
  Bench(Session &session, const Amount &amount)
      : session_(session), amount_(amount), vocab_(session.model().info().vocab),
        wanted_(amount.rows), rows_(amount.rows), logits_(vocab_ * amount.rows) {
    // Which tokens they are does not matter for the time; some spread keeps the embedding honest.
    for (size_t i = 0; i < std::max(amount.prompt, amount.context); ++i)
      tokens_.push_back(static_cast<int32_t>((i * 7919 + 1) % vocab_));
    for (size_t r = 0; r < wanted_.size(); ++r)
      wanted_[r] = r;
  }

  void run() {
    for (unsigned row = 1; row < amount_.rows; ++row)
      session_.prefill(static_cast<int32_t>(row), std::span(tokens_).first(amount_.context));
    for (unsigned run = amount_.warmUp ? 0 : 1; run <= amount_.repeat; ++run)
      runOnce(run > 0);
  }
  double prefill() const { return median(prefill_); } ///< tokens a second
  double decode() const { return median(decode_); }   ///< steps a second
  double step() const { return median(step_); }       ///< seconds on the GPU; 0: not measured
  double prefillOnCard() const { return median(prefillOnCard_); } ///< the same of the whole prompt
  const nlohmann::json &counters() const { return counters_; }    ///< of the last run; null: none

private:
  void runOnce(bool counts) {
    session_.reset(0);
    session_.counters(); // forgets
    double prefillOnCard = 0;
    const double before = seconds([&] { prefillOnCard = prefillPrompt(); });
    note("prefill");
    setContext();
    session_.counters();
    double device = 0;
    const double after = seconds([&] {
      for (unsigned t = 0; t < amount_.generate; ++t) {
        decodeStep(t);
        device += session_.info().step_seconds;
      }
    });
    note("decode");
    if (!counts)
      return;
    prefill_.push_back(amount_.prompt / before);
    prefillOnCard_.push_back(prefillOnCard);
    decode_.push_back(amount_.generate / after);
    step_.push_back(device / amount_.generate);
  }
  /// In steps of max_rows; the seconds that they take on the GPU.
  double prefillPrompt() {
    const size_t most = session_.info().max_rows;
    double device = 0;
    for (size_t begin = 0; begin < amount_.prompt; begin += most) {
      const size_t count = std::min<size_t>(most, amount_.prompt - begin);
      session_.prefill(0, std::span(tokens_).subspan(begin, count),
                       begin + count == amount_.prompt ? std::span(logits_) : std::span<float>());
      device += session_.info().step_seconds;
    }
    return device;
  }
  /// Every slot holds `context` positions.
  void setContext() {
    for (unsigned row = 0; row < amount_.rows; ++row) {
      const auto slot = static_cast<int32_t>(row);
      const size_t held = session_.length(slot), context = amount_.context;
      if (held > context)
        session_.truncate(slot, context);
      else if (held < context)
        session_.prefill(slot, std::span(tokens_).first(context).subspan(held));
    }
  }
  /// One row a slot, each with the likeliest token after its last.
  void decodeStep(unsigned t) {
    for (size_t r = 0; r < rows_.size(); ++r) {
      const auto row = std::span(logits_).subspan(r * vocab_, vocab_);
      const auto token = std::max_element(row.begin(), row.end()) - row.begin();
      rows_[r] = {static_cast<int32_t>(token), static_cast<int32_t>(r),
                  static_cast<int32_t>(amount_.context + t)};
    }
    session_.step(rows_, wanted_, logits_);
  }
  void note(const char *what) {
    if (const std::string text = session_.counters(); !text.empty())
      counters_[what] = nlohmann::json::parse(text);
  }

  Session &session_;
  const Amount &amount_;
  size_t vocab_;
  std::vector<int32_t> tokens_;
  std::vector<size_t> wanted_;
  std::vector<retort_row> rows_;
  std::vector<float> logits_;
  std::vector<double> prefill_, prefillOnCard_, decode_, step_;
  nlohmann::json counters_;
};

/// Of K and V that a decoding step reads if no attention has a window.
uint64_t cacheBytesOfStep(const retort_session_info &session, int32_t pageRows,
                          const Amount &amount) {
  const uint64_t pageBytes = session.pages ? session.cache_bytes / session.pages : 0;
  return pageBytes / uint64_t(pageRows) * amount.context * amount.rows;
}

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
    if (amount.positions() > static_cast<unsigned>(model->info().context))
      fail(ExitCode::Usage, "--prompt " + std::to_string(amount.prompt) + ", --context " +
                                std::to_string(amount.context) + " and --generate " +
                                std::to_string(amount.generate) + " do not fit the context of " +
                                std::to_string(model->info().context) + " positions");
    session.emplace(*model, SessionOptions{.threads = options.threads,
                                           .slots = amount.rows,
                                           .maxContext = static_cast<uint32_t>(amount.positions()),
                                           .device = options.device});
  });
  const retort_model_info info = model->info();
  Bench bench(*session, amount);
  bench.run();
  const retort_session_info sessionInfo = session->info();
  const uint64_t cacheBytes = cacheBytesOfStep(sessionInfo, info.page_rows, amount);
  nlohmann::json result = {{"decode_tokens_per_s", bench.decode() * amount.rows},
                           {"prefill_tokens_per_s", bench.prefill()},
                           {"bytes_per_token", info.bytes_per_token},
                           {"cache_bytes_per_step", cacheBytes},
                           {"bandwidth_gb_s", bench.decode() * info.bytes_per_token / 1e9},
                           {"rows", amount.rows},
                           {"context", amount.context},
                           {"load_ms", load * 1e3},
                           {"prompt", amount.prompt},
                           {"generate", amount.generate},
                           {"threads", sessionInfo.threads},
                           {"device", sessionInfo.device},
                           {"isa", info.isa},
                           {"repeat", amount.repeat}};
  if (bench.step() > 0) {
    result["decode_step_ms"] = bench.step() * 1e3;
    result["prefill_ms"] = bench.prefillOnCard() * 1e3;
  }
  if (!bench.counters().is_null())
    result["counters"] = bench.counters();
  if (options.json) {
    output::writeJson(result);
    return;
  }
  output::print("%s: %s, %u %s, median of %u runs\n", options.bundle.c_str(), sessionInfo.device,
                sessionInfo.threads, sessionInfo.threads == 1 ? "thread" : "threads",
                amount.repeat);
  output::print("  decode   %8.1f tokens/s, %s a step, %.1f GB/s (%u %s, context %u)\n",
                bench.decode() * amount.rows, formatBytes(info.bytes_per_token).c_str(),
                result["bandwidth_gb_s"].get<double>(), amount.rows,
                amount.rows == 1 ? "sequence" : "sequences", amount.context);
  output::print("  prefill  %8.1f tokens/s (%u tokens)\n", bench.prefill(), amount.prompt);
  output::print("  load     %8.1f ms\n", load * 1e3);
  if (simulated)
    output::print("  a simulated GPU has no speed: --json prints what it counted\n");
}

} // namespace retort
