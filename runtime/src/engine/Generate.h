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

/// An answer's text as its tokens come: whole characters, up to the first stop. A stop is a string, or
/// the special token whose name it is: such a token has no text that a string could be found in.
class AnswerText {
public:
  /// Throws Error (Usage) as StopFinder. The tokenizer must live as long.
  AnswerText(const Tokenizer &tokenizer, std::vector<std::string> stops);
  /// What stands before the answer; after a text, the answer's first word keeps its space.
  void follow(std::span<const int32_t> tokens);
  /// Special tokens whose names the text holds.
  void show(std::vector<int32_t> tokens) { decoder_.show(std::move(tokens)); }
  /// Whether the token is a stop by its name.
  bool isStop(int32_t token) const;
  /// The text that is known with this token; stopped() tells whether the answer ends here. After a
  /// stop there is no more.
  std::string push(int32_t token);
  /// What was held back, at the end of the answer. The next push() begins another one.
  std::string finish();
  bool stopped() const { return stopped_; }

private:
  StreamDecoder decoder_;
  std::vector<std::string> texts_;
  StopFinder stops_;
  std::vector<int32_t> tokens_;
  bool stopped_ = false, finished_ = false;
};

struct GenerateOptions {
  SamplerOptions sampling;
  std::shared_ptr<const grammar::Grammar> grammar; ///< of the answer; null: any
  size_t maxTokens = 0;
  size_t speculate = 0; ///< most tokens guessed at a time; 0: none
  std::vector<std::string> stops;
  bool ignoreStopTokens = false;
  const int *cancel = nullptr;
  retort_on_text onText = nullptr;
  retort_on_token onToken = nullptr;
  void *user = nullptr;
};

/// retort_generate(): `result` is filled as far as it got, also when this throws.
void generate(Session &session, int32_t slot, std::span<const int32_t> prompt,
              const GenerateOptions &options, retort_generation &result);

} // namespace retort::engine
