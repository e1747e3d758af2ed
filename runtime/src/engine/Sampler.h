//===- Sampler.h - Picking tokens ------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <span>
#include <utility>
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
/// Throws Error (Usage): what is said when it is -1.
[[noreturn]] void failNoLogit(size_t logits);

/// Temperature, top-k and nucleus sampling, in that order of cuts: k, temperature, p.
/// Deterministic: the k-th draw depends on the seed and the logits it sees alone.
class Sampler {
public:
  /// Throws Error (Usage) for an option out of range.
  explicit Sampler(const SamplerOptions &options);
  /// Throws Error (Usage) if no logit is a number above -infinity.
  int32_t pick(std::span<const float> logits);

private:
  struct Candidate {
    float logit;
    int32_t token;
  };
  int32_t draw(size_t kept, double total); ///< one of the first `kept` candidates
  double uniform();

  SamplerOptions options_;
  uint64_t state_;
  std::vector<Candidate> candidates_;
  std::vector<double> weights_;
};

} // namespace retort::engine
