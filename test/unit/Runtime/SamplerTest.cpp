//===- SamplerTest.cpp - Picking tokens -----------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/Sampler.h"
#include "retort.hpp"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <map>
#include <random>

namespace retort {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::map<int32_t, int> histogram(const Sampling &sampling, const std::vector<float> &logits,
                                 int draws) {
  Sampler sampler(sampling);
  std::map<int32_t, int> counts;
  for (int i = 0; i < draws; ++i)
    ++counts[sampler.sample(logits)];
  return counts;
}

/// Pearson's chi-squared of the counts against probabilities.
double chiSquared(const std::map<int32_t, int> &counts, const std::vector<double> &expected,
                  int draws) {
  double sum = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    auto found = counts.find(int32_t(i));
    double seen = found == counts.end() ? 0 : found->second, mean = expected[i] * draws;
    sum += (seen - mean) * (seen - mean) / mean;
  }
  return sum;
}

std::vector<double> softmax(const std::vector<float> &logits, double temperature) {
  std::vector<double> weights;
  double total = 0;
  for (float logit : logits)
    total += weights.emplace_back(std::exp(logit / temperature));
  for (double &weight : weights)
    weight /= total;
  return weights;
}

TEST(Sampler, GreedyTakesTheFirstLargest) {
  Sampler sampler;
  EXPECT_EQ(sampler.sample(std::vector<float>{1, 5, 5, 2}), 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{kNan, -kInf, -3, kNan}), 2);
  EXPECT_EQ(sampler.sample(std::vector<float>{0, kInf, kInf}), 1);
}

TEST(Sampler, NothingToPick) {
  Sampler sampler({.temperature = 1});
  EXPECT_THROW(sampler.sample(std::vector<float>{kNan, -kInf}), Failure);
  EXPECT_THROW(sampler.sample(std::vector<float>{}), Failure);
}

/// 100,000 draws follow the softmax: chi-squared with 7 degrees stays below its 99.99 %
/// point, 29.9.
TEST(Sampler, DrawsFollowTheDistribution) {
  const std::vector<float> logits = {0, 1, 2, 3, -1, 0.5, 2.5, 1.5};
  const int draws = 100'000;
  for (float temperature : {0.5f, 1.0f, 3.0f})
    for (float topP : {1.0f, 0.999999f}) // with a cut and without
      EXPECT_LT(chiSquared(
                    histogram({.temperature = temperature, .topP = topP, .seed = 3}, logits, draws),
                    softmax(logits, temperature), draws),
                29.9);
}

TEST(Sampler, TopKKeepsTheLargest) {
  const std::vector<float> logits = {0, 3, 1, 3, 2, 2};
  auto counts = histogram({.temperature = 5, .topK = 3}, logits, 5000);
  EXPECT_EQ(counts.size(), 3u);
  EXPECT_TRUE(counts.count(1) && counts.count(3) && counts.count(4)); // 4 before 5 of equal logits
}

TEST(Sampler, TopPKeepsTheFewestThatReachIt) {
  // Probabilities 0.5, 0.25, 0.125, 0.125.
  const std::vector<float> logits = {std::log(4.f), std::log(2.f), 0, 0};
  EXPECT_EQ(histogram({.temperature = 1, .topP = 0.4f}, logits, 2000).size(), 1u);
  EXPECT_EQ(histogram({.temperature = 1, .topP = 0.7f}, logits, 2000).size(), 2u);
  EXPECT_EQ(histogram({.temperature = 1, .topP = 0.8f}, logits, 2000).size(), 3u);
  EXPECT_EQ(histogram({.temperature = 1, .topP = 1}, logits, 2000).size(), 4u);
}

/// The same as ranking all of a large vocabulary.
TEST(Sampler, TopPOfALargeVocabulary) {
  std::vector<float> logits;
  for (int i = 0; i < 50'000; ++i)
    logits.push_back(float((i * 7919) % 50'000) * 1e-4f);
  auto counts = histogram({.temperature = 1, .topP = 0.01f, .seed = 5}, logits, 300);
  const auto p = softmax(logits, 1);
  for (auto [token, count] : counts) {
    double above = 0;
    for (size_t i = 0; i < p.size(); ++i)
      above += logits[i] > logits[size_t(token)] ? p[i] : 0;
    EXPECT_LT(above, 0.01f);
  }
}

TEST(Sampler, MinPKeepsWhatComesNearTheLargest) {
  // Probabilities 0.5, 0.25, 0.125, 0.125.
  const std::vector<float> logits = {std::log(4.f), std::log(2.f), 0, 0};
  EXPECT_EQ(histogram({.temperature = 1, .minP = 1}, logits, 2000).size(), 1u);
  EXPECT_EQ(histogram({.temperature = 1, .minP = 0.6f}, logits, 2000).size(), 1u);
  EXPECT_EQ(histogram({.temperature = 1, .minP = 0.4f}, logits, 2000).size(), 2u);
  EXPECT_EQ(histogram({.temperature = 1, .minP = 0.2f}, logits, 2000).size(), 4u);
  // It sees the temperature: at 0.5 the third has a sixteenth of the first one's.
  EXPECT_EQ(histogram({.temperature = 0.5f, .minP = 0.2f}, logits, 2000).size(), 2u);
}

TEST(Sampler, BiasesAndPenalties) {
  const std::vector<float> logits = {2, 1, -1, -4};
  EXPECT_EQ(Sampler({.bias = {{2, 2.5f}}}).sample(logits), 0);
  EXPECT_EQ(Sampler({.bias = {{2, 3.5f}}}).sample(logits), 2);
  EXPECT_EQ(Sampler({.bias = {{0, -kInf}, {1, -kInf}, {700, 9}}}).sample(logits), 2);
  EXPECT_EQ(Sampler({.bias = {{2, 2}, {2, 2}}}).sample(logits), 2); // they add up

  // A repetition penalty counts what the prompt holds, too; 2 / 1.5 is more than 1, 2 / 3 is not.
  const int32_t seen[] = {0, 3};
  Sampler mild({.repetitionPenalty = 1.5f}), strong({.repetitionPenalty = 3});
  mild.see(seen), strong.see(seen);
  EXPECT_EQ(mild.sample(logits), 0);
  EXPECT_EQ(strong.sample(logits), 1);
  EXPECT_EQ(strong.sample(logits), 0) << "1 / 3 now";
  Sampler negative({.repetitionPenalty = 3}); // -1 becomes -3, and what has not been seen stays
  const int32_t all[] = {0, 2};
  negative.see(all);
  EXPECT_EQ(negative.sample(std::vector<float>{-1, -2.5f, -0.5f}), 2);
  EXPECT_EQ(negative.sample(std::vector<float>{-1, -2.5f, -1}), 1);

  // Presence and frequency: only of what was picked, the latter each time.
  Sampler presence({.presencePenalty = 1.5f}), frequency({.frequencyPenalty = 0.6f});
  presence.see(seen), frequency.see(seen);
  std::vector<int32_t> byPresence, byFrequency;
  for (int i = 0; i < 5; ++i) {
    byPresence.push_back(presence.sample(logits));
    byFrequency.push_back(frequency.sample(logits));
  }
  EXPECT_EQ(byPresence, (std::vector<int32_t>{0, 1, 0, 0, 0}));  // then 0.5 and -0.5, for good
  EXPECT_EQ(byFrequency, (std::vector<int32_t>{0, 0, 1, 0, 1})); // 2, 1.4, 0.8 | 1, 0.4 | 0.2
}

TEST(Sampler, LogProbabilities) {
  const std::vector<float> logits = {1, kNan, 3, 2, -kInf, 3};
  const std::vector<int32_t> tokens = {0, 1, 2, 3, 4, 5};
  const std::vector<float> result = logprobs(logits, tokens);
  const double sum = std::exp(1.0) + 2 * std::exp(3.0) + std::exp(2.0);
  for (int32_t token : {0, 2, 3, 5})
    EXPECT_NEAR(result[size_t(token)], logits[size_t(token)] - std::log(sum), 1e-6);
  EXPECT_EQ(result[1], -kInf);
  EXPECT_EQ(result[4], -kInf);
  EXPECT_EQ(topTokens(logits, 3), (std::vector<int32_t>{2, 5, 3}));
  EXPECT_EQ(topTokens(logits, 100), (std::vector<int32_t>{2, 5, 3, 0}));
  EXPECT_TRUE(topTokens(logits, 0).empty());
  const std::vector<float> certain = {0, kInf, 3};
  EXPECT_EQ(logprobs(certain, std::vector<int32_t>{0, 1}), (std::vector<float>{-kInf, 0}));
  // As large as float32 goes, and small ones that only count together.
  std::vector<float> many(100'000, -10.0f);
  many[7] = 3e38f;
  EXPECT_EQ(logprobs(many, std::vector<int32_t>{7})[0], 0.0f);
  many[7] = -10.0f;
  EXPECT_NEAR(logprobs(many, std::vector<int32_t>{7})[0], -std::log(1e5), 1e-6);
  EXPECT_THROW(logprobs(logits, std::vector<int32_t>{6}), Failure);
}

TEST(Sampler, SeedDecides) {
  std::vector<float> logits(1000, 0.0f);
  auto draw = [&](uint64_t seed) {
    Sampler sampler({.temperature = 1, .seed = seed});
    std::vector<int32_t> tokens;
    for (int i = 0; i < 20; ++i)
      tokens.push_back(sampler.sample(logits));
    return tokens;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

/// 2^-x to 1e-7 and a unit of its own, never growing, exact at octaves.
TEST(Sampling, MassesOfDistances) {
  std::vector<uint32_t> distances;
  for (uint64_t octave = 0; octave < 64; ++octave)
    for (uint64_t step = 0; step < 1000; ++step)
      distances.push_back(uint32_t((octave << 26) + step * ((1u << 26) / 1000)));
  for (uint32_t d = (1u << 26) - 2000; d < (1u << 26) + 2000; ++d)
    distances.push_back(d);
  std::sort(distances.begin(), distances.end());
  uint64_t before = ~uint64_t(0);
  for (uint32_t d : distances) {
    const uint64_t mass = sampling::mass(d);
    EXPECT_LE(mass, before) << d;
    before = mass;
    const double exact = std::exp2(38 - d * 0x1p-26);
    EXPECT_NEAR(double(mass), exact, 1 + 1e-7 * exact) << d;
    if (d % (1u << 26) == 0)
      EXPECT_EQ(mass, d >> 26 > 38 ? 0 : uint64_t(1) << (38 - (d >> 26)));
  }
  EXPECT_EQ(sampling::mass(0xffffffff), 0u);
  EXPECT_EQ(sampling::distance(1e38f, -3e38f, 3e38f), 0xffffffffu);
  EXPECT_EQ(sampling::distance(5, 5, 3e38f), 0u);
  EXPECT_EQ(sampling::distance(5, 4, 1), 1u << 26);
}

TEST(Sampling, SharesOfSums) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20'000; ++i) {
    const uint64_t total = random() >> (1 + random() % 62), r = i % 10 ? random() : ~uint64_t(0);
    const uint32_t p = i % 10 ? uint32_t(random()) : 0xffffffff;
    EXPECT_EQ(sampling::drawn(total, r), uint64_t((unsigned __int128)total * r >> 64));
    EXPECT_EQ(sampling::nucleus(total, p),
              uint64_t(((unsigned __int128)total * p + 0xffffffff) >> 32));
  }
}

/// The definition as it reads, by sorting everything.
int32_t drawBySorting(const std::vector<float> &logits, const retort_choice &choice) {
  std::vector<int32_t> order;
  for (size_t i = 0; i < logits.size(); ++i)
    if (logits[i] > -kInf)
      order.push_back(int32_t(i));
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const float x = logits[size_t(a)], y = logits[size_t(b)];
    return x != y ? x > y : a < b;
  });
  if (order.empty())
    return -1;
  const float largest = logits[size_t(order[0])];
  if (choice.scale == 0 || largest == kInf)
    return order[0];
  const auto mass = [&](int32_t token) {
    return sampling::mass(sampling::distance(largest, logits[size_t(token)], choice.scale));
  };
  std::erase_if(order, [&](int32_t token) { return mass(token) < uint64_t(choice.min_p) * 64; });
  if (choice.top_k && choice.top_k < order.size())
    order.resize(choice.top_k);
  std::vector<uint64_t> sums; // of masses
  for (int32_t token : order)
    sums.push_back((sums.empty() ? 0 : sums.back()) + mass(token));
  auto placeOf = [&](uint64_t target) {
    return size_t(std::upper_bound(sums.begin(), sums.end(), target) - sums.begin());
  };
  if (choice.top_p)
    sums.resize(placeOf(sampling::nucleus(sums.back(), choice.top_p) - 1) + 1);
  return order[placeOf(sampling::drawn(sums.back(), choice.random))];
}

TEST(Sampling, DrawsAsDefined) {
  std::mt19937_64 random(7);
  std::normal_distribution<float> normal;
  std::vector<engine::Candidate> room;
  for (int i = 0; i < 3000; ++i) {
    std::vector<float> logits(1 + random() % (i % 20 ? 50 : 5000));
    for (float &logit : logits) {
      logit = i % 3 == 0 ? std::round(normal(random)) : 4 * normal(random);
      if (i % 7 == 0)
        logit = random() % 3 == 0 ? kNan : random() % 3 == 0 ? -kInf : logit;
    }
    const float temperatures[] = {0.01f, 0.5f, 1, 3, 100}, topPs[] = {0, 1, 1e-9f, 0.3f, 0.99f};
    const float minPs[] = {0, 0, 1e-6f, 0.1f, 1};
    engine::Sampler sampler({temperatures[random() % 5], topPs[random() % 5],
                             uint32_t(random() % 3 ? random() % (logits.size() + 2) : 0), random(),
                             minPs[random() % 5]});
    for (int draw = 0; draw < 5; ++draw) {
      const retort_choice choice = sampler.next();
      ASSERT_EQ(engine::drawToken(logits, choice, room), drawBySorting(logits, choice)) << i;
    }
  }
}

TEST(Sampler, OptionsOutOfRange) {
  EXPECT_THROW(Sampler({.temperature = -1}), Failure);
  EXPECT_THROW(Sampler({.temperature = kNan}), Failure);
  EXPECT_THROW(Sampler({.temperature = 1, .topP = 1.5f}), Failure);
  EXPECT_THROW(Sampler({.temperature = 1, .topP = kNan}), Failure);
  EXPECT_THROW(Sampler({.minP = 1.5f}), Failure);
  EXPECT_THROW(Sampler({.repetitionPenalty = -1}), Failure);
  EXPECT_THROW(Sampler({.repetitionPenalty = 200}), Failure);
  EXPECT_THROW(Sampler({.presencePenalty = kNan}), Failure);
  EXPECT_THROW(Sampler({.frequencyPenalty = 101}), Failure);
  EXPECT_THROW(Sampler({.bias = {{-1, 0}}}), Failure);
  EXPECT_THROW(Sampler({.bias = {{1, kNan}}}), Failure);
}

} // namespace
} // namespace retort
