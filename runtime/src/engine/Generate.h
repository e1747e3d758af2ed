//===- Generate.h - Answering a prompt --------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/engine/Sampler.h"
#include "runtime/src/engine/Session.h"
#include <string>
#include <string_view>
#include <vector>

namespace retort::engine {

/// Finds stop strings in text that comes in pieces, and holds back what may become one.
class StopFinder {
public:
  /// Throws Error (Usage) unless each string is valid UTF-8 and not empty.
  explicit StopFinder(std::vector<std::string> stops);
  /// Takes the next text and returns what can be shown now; found() tells whether a stop string
  /// followed it.
  std::string push(std::string_view text);
  /// What was held back, at the end of the text.
  std::string finish() { return std::move(held_); }
  bool found() const { return found_; }

private:
  std::vector<std::string> stops_;
  std::string held_;
  bool found_ = false;
};

struct GenerateOptions {
  SamplerOptions sampling;
  size_t maxTokens = 0;
  std::vector<std::string> stops;
  bool ignoreStopTokens = false;
  const int *cancel = nullptr;
  retort_on_text onText = nullptr;
  void *user = nullptr;
};

/// retort_generate(): `result` is filled as far as it got, also when this throws.
void generate(Session &session, int32_t slot, std::span<const int32_t> prompt,
              const GenerateOptions &options, retort_generation &result);

} // namespace retort::engine
