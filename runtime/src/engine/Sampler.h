//===- Sampler.h - Picking tokens -------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/abi/sampling.h"
#include "runtime/src/grammar/Matcher.h"
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

namespace retort::engine {

struct SamplerOptions {
  float temperature = 0, topP = 1; ///< topP 0 means 1
  uint32_t topK = 0;               ///< 0: no cut
  uint64_t seed = 0;
  float minP = 0;                                   ///< 0: no cut
  float repetitionPenalty = 1;                      ///< 1: none; 0 means 1
  float presencePenalty = 0, frequencyPenalty = 0;  ///< 0: none
  std::vector<std::pair<int32_t, float>> bias = {}; ///< tokens, and what is added to their logits
};

/// The index of the largest logit, the lower of two equal ones; -1 if none is a number above
/// -infinity.
int32_t largestLogit(std::span<const float> logits);
/// A candidate of a draw (runtime/src/abi/sampling.h).
struct Candidate {
  uint64_t order; ///< its key below the largest, above its token: smaller for those that come first
  uint64_t mass;
};
/// The token that `choice` draws from the logits, as abi/sampling.h defines it; -1 if none can be.
/// `candidates` is room to work in. O(n) time.
int32_t drawToken(std::span<const float> logits, const retort_choice &choice,
                  std::vector<Candidate> &candidates);

/// The log-probabilities of `tokens` by the softmax of the logits, natural; -infinity for what cannot be.
/// A logit that is no number counts as -infinity. `tokens` are in range.
void logProbabilities(std::span<const float> logits, std::span<const int32_t> tokens,
                      std::span<float> result);
/// The tokens of the `tokens.size()` largest logits, as they rank; -1 behind the last number.
void largestLogits(std::span<const float> logits, std::span<int32_t> tokens);

/// Picks tokens with a seed: the k-th draw depends on the options, the seed, what it is drawn from, and,
/// with penalties, on the tokens that the text holds.
class Sampler {
public:
  /// Throws Error (Usage) for an option out of range.
  explicit Sampler(const SamplerOptions &options);
  /// Whether it always takes the largest logit of those that it is given.
  bool greedy() const { return choice_.scale == 0; }
  /// Whether it changes logits before it picks, which is done by adjust().
  bool adjusts() const { return penalises_ || !options_.bias.empty() || matcher_; }
  /// Tokens that the text holds before the answer: a repetition penalty counts them.
  void see(std::span<const int32_t> tokens);
  /// From now on an answer begins that the grammar allows, behind `before`; null: any answer.
  void constrain(std::shared_ptr<const grammar::Grammar> grammar,
                 std::span<const int32_t> before = {});
  /// A grammar allows nothing to follow the tokens taken.
  bool done() const { return matcher_ && matcher_->done(); }
  /// How many of these tokens the answer may go on with: all, without a grammar.
  size_t allowed(std::span<const int32_t> tokens) const;
  /// A token of the answer.
  void took(int32_t token);
  /// Biases, then penalties: those of repetition divide a positive logit and multiply another
  /// (arXiv:1909.05858, section 4.1) of every token seen; of the answer's tokens, presence and frequency
  /// penalties are taken off, as OpenAI defines them. What a grammar does not allow becomes -infinity.
  void adjust(std::span<float> logits);
  /// The next draw, for whoever has the logits. A greedy sampler spends no random number.
  retort_choice next();
  /// The last draw was not made: the next one is the same.
  void giveBack() { state_ -= greedy() ? 0 : kStride; }
  /// Throws Error (Usage) if no logit is a number above -infinity; then nothing is spent.
  int32_t pick(std::span<const float> logits);

private:
  static constexpr uint64_t kStride = 0x9E3779B97F4A7C15ull; ///< of SplitMix64
  SamplerOptions options_;
  bool penalises_;
  retort_choice choice_ = {}; ///< all but the random number
  uint64_t state_;
  std::optional<grammar::Matcher> matcher_;
  grammar::TokenSet allowed_;                    ///< by the matcher, in the pick at hand
  std::unordered_map<int32_t, uint32_t> counts_; ///< of tokens seen: how often the answer has them
  std::vector<Candidate> candidates_;
  std::vector<float> adjusted_;
};

} // namespace retort::engine
