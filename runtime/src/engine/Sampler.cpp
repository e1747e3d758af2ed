//===- Sampler.cpp - Picking tokens ----------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/Sampler.h"
#include "runtime/src/base/Error.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

namespace retort::engine {

int32_t largestLogit(std::span<const float> logits) {
  int32_t best = -1;
  for (size_t i = 0; i < logits.size(); ++i) // NaN compares false
    if (logits[i] > (best < 0 ? -std::numeric_limits<float>::infinity() : logits[size_t(best)]))
      best = int32_t(i);
  return best;
}

void failNoLogit(size_t logits) {
  fail(ExitCode::Usage,
       "none of the " + std::to_string(logits) + " logits is a number above -infinity");
}

Sampler::Sampler(const SamplerOptions &options) : options_(options), state_(options.seed) {
  if (!(options.temperature >= 0 && options.temperature <= 100))
    fail(ExitCode::Usage,
         "temperature is " + std::to_string(options.temperature) + ", not from 0 to 100");
  if (!(options.topP >= 0 && options.topP <= 1))
    fail(ExitCode::Usage, "top_p is " + std::to_string(options.topP) + ", not from 0 to 1");
  if (options_.topP == 0)
    options_.topP = 1;
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), its upper 53 bits as a number in [0, 1).
double Sampler::uniform() {
  uint64_t z = state_ += 0x9E3779B97F4A7C15ull;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  z ^= z >> 31;
  return double(z >> 11) * 0x1.0p-53;
}

int32_t Sampler::pick(std::span<const float> logits) {
  const int32_t best = largestLogit(logits);
  if (best < 0)
    failNoLogit(logits.size());
  const float top = logits[size_t(best)];
  if (options_.temperature == 0 || std::isinf(top))
    return best;
  candidates_.clear();
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] > -std::numeric_limits<float>::infinity())
      candidates_.push_back({logits[i], int32_t(i)});
  auto better = [](const Candidate &a, const Candidate &b) {
    return a.logit != b.logit ? a.logit > b.logit : a.token < b.token;
  };
  if (options_.topK && options_.topK < candidates_.size()) {
    std::nth_element(candidates_.begin(), candidates_.begin() + options_.topK, candidates_.end(),
                     better);
    candidates_.resize(options_.topK);
  }
  // Sums go over tokens in a fixed order, so that draws are the same on every machine.
  std::sort(candidates_.begin(), candidates_.end(),
            [](const Candidate &a, const Candidate &b) { return a.token < b.token; });
  auto weightOf = [&](const Candidate &candidate) {
    return std::exp((double(candidate.logit) - top) / options_.temperature);
  };
  weights_.clear();
  double total = 0;
  for (const Candidate &candidate : candidates_)
    total += weights_.emplace_back(weightOf(candidate));
  if (options_.topP >= 1)
    return draw(candidates_.size(), total);
  // Few tokens usually reach top_p: rank the best 64, then 8 times as many, until they do.
  double sum = 0;
  size_t kept = 0, ranked = 0;
  while (kept < candidates_.size() && (kept == 0 || sum < options_.topP * total)) {
    if (kept == ranked) {
      ranked = std::min(std::max<size_t>(64, ranked * 8), candidates_.size());
      std::partial_sort(candidates_.begin() + long(kept), candidates_.begin() + long(ranked),
                        candidates_.end(), better);
    }
    weights_[kept] = weightOf(candidates_[kept]);
    sum += weights_[kept++];
  }
  return draw(kept, sum);
}

int32_t Sampler::draw(size_t kept, double total) {
  double left = uniform() * total;
  for (size_t i = 0; i + 1 < kept; ++i)
    if ((left -= weights_[i]) < 0)
      return candidates_[i].token;
  return candidates_[kept - 1].token;
}

} // namespace retort::engine
