//===- Bench.cpp - `retort bench` -------------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Commands.h"
#include "compiler/Driver/Progress.h"
#include "compiler/Driver/Runtime.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

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

} // namespace

void benchCommand(const BenchOptions &options) {
  ModelPointer model;
  SessionPointer session;
  const double load = seconds([&] {
    model = openModel(options.bundle);
    session = openSession(model.get(), options.threads);
  });
  const retort_model_info info = modelInfo(model.get());
  if (options.prompt + options.generate > static_cast<unsigned>(info.context))
    fail(ExitCode::Usage, "--prompt " + std::to_string(options.prompt) + " and --generate " +
                              std::to_string(options.generate) + " do not fit the context of " +
                              std::to_string(info.context) + " positions");
  // Which tokens they are does not matter for the time; some spread keeps the embedding honest.
  std::vector<int32_t> prompt(options.prompt);
  for (size_t i = 0; i < prompt.size(); ++i)
    prompt[i] = static_cast<int32_t>((i * 7919 + 1) % info.vocab);
  std::vector<float> logits(info.vocab);
  std::vector<double> prefill, decode;
  for (unsigned run = 0; run <= options.repeat; ++run) { // the first warms up
    check(session.get(), retort_slot_reset(session.get(), 0));
    const double before = seconds([&] {
      check(session.get(),
            retort_prefill(session.get(), 0, prompt.data(), prompt.size(), logits.data()));
    });
    const double after = seconds([&] {
      for (unsigned t = 0; t < options.generate; ++t) {
        const int32_t token =
            static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
        check(session.get(), retort_prefill(session.get(), 0, &token, 1, logits.data()));
      }
    });
    if (run > 0) {
      prefill.push_back(options.prompt / before);
      decode.push_back(options.generate / after);
    }
  }
  retort_session_info sessionInfo = {};
  sessionInfo.struct_bytes = sizeof sessionInfo;
  check(retort_session_get_info(session.get(), &sessionInfo), "the session's facts cannot be read");
  const nlohmann::json result = {{"decode_tokens_per_s", median(decode)},
                                 {"prefill_tokens_per_s", median(prefill)},
                                 {"bytes_per_token", info.bytes_per_token},
                                 {"bandwidth_gb_s", median(decode) * info.bytes_per_token / 1e9},
                                 {"load_ms", load * 1e3},
                                 {"prompt", options.prompt},
                                 {"generate", options.generate},
                                 {"threads", sessionInfo.threads},
                                 {"isa", info.isa},
                                 {"repeat", options.repeat}};
  if (options.json) {
    std::printf("%s\n", result.dump(1).c_str());
    return;
  }
  std::printf("%s: %s, %u threads, median of %u runs\n", options.bundle.c_str(), info.isa,
              sessionInfo.threads, options.repeat);
  std::printf("  decode   %8.1f tokens/s, %s a token, %.1f GB/s\n", median(decode),
              formatBytes(info.bytes_per_token).c_str(), result["bandwidth_gb_s"].get<double>());
  std::printf("  prefill  %8.1f tokens/s (%u tokens)\n", median(prefill), options.prompt);
  std::printf("  load     %8.1f ms\n", load * 1e3);
}

} // namespace retort
