//===- Sampler.cpp - Picking tokens ---------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/Sampler.h"
#include "runtime/base/Error.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

namespace retort::engine {
namespace {

uint32_t keyOf(float logit) { return sampling::keyOf(std::bit_cast<uint32_t>(logit)); }

bool isBefore(const Candidate &a, const Candidate &b) { return a.order < b.order; }

uint64_t totalMass(std::span<const Candidate> candidates) {
  uint64_t sum = 0;
  for (const Candidate &candidate : candidates)
    sum += candidate.mass;
  return sum;
}

/// Keeps the candidates in front, up to the one at which the running sum of their masses passes
/// `target`. (The sum of all does.) That one ends up last; the others are in any order. Returns the
/// sum of those kept.
uint64_t keepUntil(std::vector<Candidate> &candidates, uint64_t target) {
  size_t begin = 0, end = candidates.size(); // where that candidate is
  uint64_t before = 0;
  while (end - begin > 1) {
    const size_t middle = begin + (end - begin) / 2;
    const auto first = candidates.begin();
    std::nth_element(first + long(begin), first + long(middle), first + long(end), isBefore);
    const uint64_t sum = totalMass({&candidates[begin], middle - begin});
    if (before + sum > target) {
      end = middle;
    } else {
      before += sum;
      begin = middle;
    }
  }
  candidates.resize(end);
  return before + candidates.back().mass;
}

} // namespace

int32_t largestLogit(std::span<const float> logits) {
  int32_t best = -1;
  uint32_t bestKey = 0;
  for (size_t i = 0; i < logits.size(); ++i)
    if (const uint32_t key = keyOf(logits[i]); key > bestKey) {
      bestKey = key;
      best = int32_t(i);
    }
  return best;
}

int32_t drawToken(std::span<const float> logits, const retort_choice &choice,
                  std::vector<Candidate> &candidates) {
  const int32_t best = largestLogit(logits);
  if (best < 0 || choice.scale == 0 || std::isinf(logits[size_t(best)]))
    return best;
  const float largest = logits[size_t(best)];
  const uint32_t topKey = keyOf(largest);
  candidates.clear();
  for (size_t i = 0; i < logits.size(); ++i)
    if (const uint32_t key = keyOf(logits[i]))
      candidates.push_back({uint64_t(topKey - key) << 32 | i,
                            sampling::mass(sampling::distance(largest, logits[i], choice.scale))});
  if (choice.top_k && choice.top_k < candidates.size()) {
    std::nth_element(candidates.begin(), candidates.begin() + choice.top_k, candidates.end(),
                     isBefore);
    candidates.resize(choice.top_k);
  }
  uint64_t total = totalMass(candidates);
  if (choice.top_p)
    total = keepUntil(candidates, sampling::nucleus(total, choice.top_p) - 1);
  keepUntil(candidates, sampling::drawn(total, choice.random));
  return int32_t(uint32_t(candidates.back().order));
}

Sampler::Sampler(const SamplerOptions &options) : state_(options.seed) {
  const double temperature = options.temperature, topP = options.topP;
  if (!(temperature >= 0 && temperature <= 100))
    fail(ExitCode::Usage,
         "temperature is " + std::to_string(options.temperature) + ", not from 0 to 100");
  if (!(topP >= 0 && topP <= 1))
    fail(ExitCode::Usage, "top_p is " + std::to_string(options.topP) + ", not from 0 to 1");
  if (temperature > 0)
    choice_.scale = float(
        std::min(1.4426950408889634 / temperature, double(std::numeric_limits<float>::max())));
  choice_.top_k = options.topK;
  choice_.top_p = topP < 1 ? uint32_t(std::ceil(topP * 0x1p32)) : 0; // 0 stays 0
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
retort_choice Sampler::next() {
  if (greedy())
    return choice_;
  uint64_t z = state_ += 0x9E3779B97F4A7C15ull;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ z >> 27) * 0x94D049BB133111EBull;
  retort_choice choice = choice_;
  choice.random = z ^ z >> 31;
  return choice;
}

int32_t Sampler::pick(std::span<const float> logits) {
  const uint64_t state = state_;
  const int32_t token = drawToken(logits, next(), candidates_);
  if (token < 0) {
    state_ = state;
    fail(ExitCode::Usage,
         "none of the " + std::to_string(logits.size()) + " logits is a number above -infinity");
  }
  return token;
}

} // namespace retort::engine
