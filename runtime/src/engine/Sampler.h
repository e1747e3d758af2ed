//===- Sampler.h - Picking tokens -------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/abi/sampling.h"
#include <cstdint>
#include <span>
#include <vector>

namespace retort::engine {

struct SamplerOptions {
  float temperature = 0, topP = 1; ///< topP 0 means 1
  uint32_t topK = 0;               ///< 0: no cut
  uint64_t seed = 0;
};

/// The index of the largest logit, the lower of two equal ones; -1 if none is a number above
/// -infinity.
int32_t largestLogit(std::span<const float> logits);
/// Throws Error (Usage): what is said when no token can be picked.

/// A candidate of a draw (runtime/src/abi/sampling.h).
struct Candidate {
  uint64_t order; ///< its key below the largest, above its token: smaller for those that come first
  uint64_t mass;
};
/// The token that `choice` draws from the logits, as abi/sampling.h defines it; -1 if none can be.
/// `candidates` is room to work in. O(n) time.
int32_t drawToken(std::span<const float> logits, const retort_choice &choice,
                  std::vector<Candidate> &candidates);

/// Temperature, top-k and nucleus sampling with a seed. The k-th draw depends on the seed and on
/// what it is drawn from.
class Sampler {
public:
  /// Throws Error (Usage) for an option out of range.
  explicit Sampler(const SamplerOptions &options);
  /// Whether it always takes the largest logit.
  bool greedy() const { return choice_.scale == 0; }
  /// The next draw, for whoever has the logits. A greedy sampler spends no random number.
  retort_choice next();
  /// Throws Error (Usage) if no logit is a number above -infinity; then nothing is spent.
  int32_t pick(std::span<const float> logits);

private:
  retort_choice choice_ = {}; ///< all but the random number
  uint64_t state_;
  std::vector<Candidate> candidates_;
};

} // namespace retort::engine
