//===- Sampler.cpp - Picking tokens ---------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/Sampler.h"
#include "runtime/base/Error.h"
#include "runtime/base/Mix.h"

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

/// Elements that are computed at a time, into arrays that stay in the cache.
constexpr size_t kBlock = 256;

/// Where the first of the largest logits is: its key, and the beginning of its block.
struct LargestBlock {
  uint32_t key = 0;
  size_t begin = 0;
};

/// What a pass over the logits gathers: candidates that are nearer to the largest than `within`
/// (sampling::distance), and the sum of the masses of all that min_p leaves. Those of no mass are none: no
/// place in a running sum is theirs.
struct Near {
  float largest;
  uint32_t topKey;
  float scale;
  uint64_t least;
  uint32_t within;
  uint64_t total;
  std::vector<Candidate> &list;
};

// Loops without branches, which the compiler makes vectors of: once for every CPU, once with AVX2.
[[gnu::always_inline]] inline LargestBlock largestBlock(std::span<const float> logits) {
  LargestBlock best;
  for (size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const size_t count = std::min(kBlock, logits.size() - begin);
    uint32_t key = 0;
    for (size_t i = 0; i < count; ++i)
      key = std::max(key, keyOf(logits[begin + i]));
    if (key > best.key)
      best = {key, begin};
  }
  return best;
}

[[gnu::always_inline]] inline void gather(std::span<const float> logits, Near &near) {
  uint64_t total = 0, masses[kBlock];
  uint32_t distances[kBlock];
  near.list.clear();
  for (size_t begin = 0; begin < logits.size(); begin += kBlock) {
    const size_t count = std::min(kBlock, logits.size() - begin);
    uint32_t nearest = 0xffffffffu;
    for (size_t i = 0; i < count; ++i) {
      distances[i] = sampling::distance(near.largest, logits[begin + i], near.scale);
      nearest = std::min(nearest, distances[i]);
    }
    for (size_t i = 0; i < count; ++i) {
      const uint64_t mass = sampling::mass(distances[i]);
      masses[i] = mass >= near.least ? mass : 0;
      total += masses[i];
    }
    if (nearest >= near.within)
      continue;
    for (size_t i = 0; i < count; ++i)
      if (distances[i] < near.within && masses[i] != 0)
        near.list.push_back(
            {uint64_t(near.topKey - keyOf(logits[begin + i])) << 32 | (begin + i), masses[i]});
  }
  near.total = total;
}

LargestBlock largestBlockPlain(std::span<const float> logits) { return largestBlock(logits); }
void gatherPlain(std::span<const float> logits, Near &near) { gather(logits, near); }
#if defined(__x86_64__)
[[gnu::target("avx2")]] LargestBlock largestBlockAvx2(std::span<const float> logits) {
  return largestBlock(logits);
}
[[gnu::target("avx2")]] void gatherAvx2(std::span<const float> logits, Near &near) {
  gather(logits, near);
}
template <class Function> Function *vectorised(Function *avx2, Function *plain) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") ? avx2 : plain;
}
#else
constexpr auto largestBlockAvx2 = largestBlockPlain;
constexpr auto gatherAvx2 = gatherPlain;
template <class Function> Function *vectorised(Function *, Function *plain) { return plain; }
#endif

/// The token that `choice` draws, or -1 if that needs candidates that are not near.
int32_t drawNear(const Near &near, const retort_choice &choice) {
  std::vector<Candidate> &list = near.list;
  uint64_t total = near.total;
  if (choice.top_k && choice.top_k <= list.size()) {
    std::nth_element(list.begin(), list.begin() + (choice.top_k - 1), list.end(), isBefore);
    list.resize(choice.top_k);
    total = totalMass(list);
  } else if (choice.top_k && near.within != 0xffffffffu) {
    return -1;
  }
  uint64_t listed = totalMass(list);
  if (choice.top_p) {
    const uint64_t target = sampling::nucleus(total, choice.top_p) - 1;
    if (target >= listed)
      return -1;
    total = listed = keepUntil(list, target);
  }
  const uint64_t target = sampling::drawn(total, choice.random);
  if (target >= listed)
    return -1;
  keepUntil(list, target);
  return int32_t(uint32_t(list.back().order));
}

} // namespace

int32_t largestLogit(std::span<const float> logits) {
  const LargestBlock found = vectorised(largestBlockAvx2, largestBlockPlain)(logits);
  for (size_t i = found.begin; found.key != 0 && i < logits.size(); ++i)
    if (keyOf(logits[i]) == found.key)
      return int32_t(i);
  return -1;
}

int32_t drawToken(std::span<const float> logits, const retort_choice &choice,
                  std::vector<Candidate> &candidates) {
  const int32_t best = largestLogit(logits);
  if (best < 0 || choice.scale == 0 || std::isinf(logits[size_t(best)]))
    return best;
  Near near = {logits[size_t(best)],
               keyOf(logits[size_t(best)]),
               choice.scale,
               sampling::leastMass(choice.min_p),
               0,
               0,
               candidates};
  // Most of the mass lies on few candidates: all others are but summed, unless the place to be found is not
  // among those few.
  for (const uint32_t within : {12u << 26, 30u << 26, 0xffffffffu}) {
    near.within = within;
    vectorised(gatherAvx2, gatherPlain)(logits, near);
    if (const int32_t token = drawNear(near, choice); token >= 0)
      return token;
  }
  return best; // not reached: the last time all were near
}

void logProbabilities(std::span<const float> logits, std::span<const int32_t> tokens,
                      std::span<float> result) {
  const int32_t best = largestLogit(logits);
  const double largest = best < 0 ? 0 : double(logits[size_t(best)]);
  double sum = 0;
  if (std::isfinite(largest))
    for (float logit : logits)
      sum += keyOf(logit) ? std::exp(double(logit) - largest) : 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const float logit = logits[size_t(tokens[i])];
    const bool certain = std::isinf(largest) && logit == logits[size_t(best)];
    result[i] = certain                         ? 0.0f
                : keyOf(logit) == 0 || sum == 0 ? -std::numeric_limits<float>::infinity()
                                                : float(double(logit) - largest - std::log(sum));
  }
}

void largestLogits(std::span<const float> logits, std::span<int32_t> tokens) {
  const auto before = [&](int32_t a, int32_t b) {
    const uint32_t x = keyOf(logits[size_t(a)]), y = keyOf(logits[size_t(b)]);
    return x != y ? x > y : a < b;
  };
  std::vector<int32_t> ranked; // at most so many, sorted
  for (size_t i = 0; i < logits.size(); ++i) {
    const int32_t token = int32_t(i);
    if (keyOf(logits[i]) == 0 ||
        (ranked.size() == tokens.size() && (ranked.empty() || before(ranked.back(), token))))
      continue;
    ranked.insert(std::upper_bound(ranked.begin(), ranked.end(), token, before), token);
    if (ranked.size() > tokens.size())
      ranked.pop_back();
  }
  std::fill(std::copy(ranked.begin(), ranked.end(), tokens.begin()), tokens.end(), -1);
}

Sampler::Sampler(const SamplerOptions &options) : options_(options), state_(options.seed) {
  const auto require = [](double value, double low, double high, const std::string &name,
                          const std::string &range) {
    if (!(value >= low && value <= high))
      fail(ExitCode::Usage, name + " is " + std::to_string(value) + ", not " + range);
  };
  const double temperature = options.temperature, topP = options.topP, minP = options.minP;
  require(temperature, 0, 100, "temperature", "from 0 to 100");
  require(topP, 0, 1, "top_p", "from 0 to 1");
  require(minP, 0, 1, "min_p", "from 0 to 1");
  if (options_.repetitionPenalty == 0)
    options_.repetitionPenalty = 1;
  require(options_.repetitionPenalty, 0.01, 100, "repetition_penalty", "from 0.01 to 100");
  require(options_.presencePenalty, -100, 100, "presence_penalty", "from -100 to 100");
  require(options_.frequencyPenalty, -100, 100, "frequency_penalty", "from -100 to 100");
  for (const auto &[token, bias] : options_.bias)
    if (token < 0 || std::isnan(bias))
      fail(ExitCode::Usage, "the bias of token " + std::to_string(token) + " is " +
                                std::to_string(bias) + ": a bias is a number, of a token from 0");
  penalises_ = options_.repetitionPenalty != 1 || options_.presencePenalty != 0 ||
               options_.frequencyPenalty != 0;
  if (temperature > 0)
    choice_.scale = float(
        std::min(1.4426950408889634 / temperature, double(std::numeric_limits<float>::max())));
  choice_.top_k = options.topK;
  choice_.top_p = topP < 1 ? uint32_t(std::ceil(topP * 0x1p32)) : 0; // 0 stays 0
  choice_.min_p = uint32_t(std::min(std::ceil(minP * 0x1p32), 0x1p32 - 1));
}

void Sampler::see(std::span<const int32_t> tokens) {
  if (penalises_)
    for (int32_t token : tokens)
      counts_.try_emplace(token, 0);
}

void Sampler::constrain(std::shared_ptr<const grammar::Grammar> grammar,
                        std::span<const int32_t> before) {
  matcher_.reset();
  if (grammar)
    matcher_.emplace(std::move(grammar), before);
}

size_t Sampler::allowed(std::span<const int32_t> tokens) const {
  if (!matcher_ || tokens.empty())
    return tokens.size();
  grammar::Matcher ahead = *matcher_;
  size_t count = 0;
  while (count < tokens.size() && !ahead.done() && ahead.accept(tokens[count]))
    ++count;
  return count;
}

void Sampler::took(int32_t token) {
  if (penalises_)
    ++counts_[token];
  if (matcher_ && !matcher_->accept(token))
    fail(ExitCode::Internal, "a token was picked that its grammar does not allow");
}

/// What is not in the set becomes -infinity.
static void keepOnly(const grammar::TokenSet &allowed, std::span<float> logits) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  for (size_t word = 0; word * 64 < logits.size(); ++word) {
    const uint64_t bits = word < allowed.size() ? allowed[word] : 0;
    const size_t begin = word * 64, end = std::min(begin + 64, logits.size());
    if (bits == 0)
      std::fill(logits.begin() + long(begin), logits.begin() + long(end), kNever);
    else if (bits != ~uint64_t(0))
      for (size_t i = begin; i < end; ++i)
        logits[i] = bits >> (i - begin) & 1 ? logits[i] : kNever;
  }
}

void Sampler::adjust(std::span<float> logits) {
  for (const auto &[token, bias] : options_.bias)
    if (size_t(token) < logits.size())
      logits[size_t(token)] += bias;
  for (const auto &[token, count] : counts_) {
    if (token < 0 || size_t(token) >= logits.size())
      continue;
    float &logit = logits[size_t(token)];
    logit = logit > 0 ? logit / options_.repetitionPenalty : logit * options_.repetitionPenalty;
    if (count > 0)
      logit -= options_.presencePenalty + options_.frequencyPenalty * float(count);
  }
  if (!matcher_)
    return;
  matcher_->mask(allowed_);
  keepOnly(allowed_, logits);
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
retort_choice Sampler::next() {
  if (greedy())
    return choice_;
  retort_choice choice = choice_;
  choice.random = mix64(state_ += kStride);
  return choice;
}

int32_t Sampler::pick(std::span<const float> logits) {
  if (adjusts()) {
    adjusted_.assign(logits.begin(), logits.end());
    adjust(adjusted_);
    logits = adjusted_;
  }
  const uint64_t state = state_;
  const int32_t token = drawToken(logits, next(), candidates_);
  if (token < 0) {
    state_ = state;
    fail(ExitCode::Usage,
         "none of the " + std::to_string(logits.size()) + " logits is a number above -infinity");
  }
  took(token);
  return token;
}

} // namespace retort::engine
