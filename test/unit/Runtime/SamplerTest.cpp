//===- SamplerTest.cpp - Picking tokens ------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "retort.hpp"

#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <map>

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
    for (float topP : {1.0f, 0.999999f}) // both ways of ordering
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

TEST(Sampler, OptionsOutOfRange) {
  EXPECT_THROW(Sampler({.temperature = -1}), Failure);
  EXPECT_THROW(Sampler({.temperature = kNan}), Failure);
  EXPECT_THROW(Sampler({.temperature = 1, .topP = 1.5f}), Failure);
  EXPECT_THROW(Sampler({.temperature = 1, .topP = kNan}), Failure);
}

} // namespace
} // namespace retort
