//===- KnapsackTest.cpp - One choice of each group, within a size -----------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Quantize/Knapsack.h"
#include <algorithm>
#include <gtest/gtest.h>
#include <limits>
#include <random>

namespace retort {
namespace {

using Groups = std::vector<std::vector<Choice>>;

double costOf(const Groups &groups, const std::vector<size_t> &chosen) {
  double cost = 0;
  for (size_t g = 0; g < groups.size(); ++g)
    cost += groups[g][chosen[g]].cost;
  return cost;
}

int64_t sizeOf(const Groups &groups, const std::vector<size_t> &chosen) {
  int64_t size = 0;
  for (size_t g = 0; g < groups.size(); ++g)
    size += groups[g][chosen[g]].size;
  return size;
}

/// The least cost of all combinations, tried one by one; infinite if none is small enough.
double leastCost(const Groups &groups, int64_t limit, size_t from = 0) {
  if (from == groups.size())
    return limit < 0 ? std::numeric_limits<double>::infinity() : 0;
  double least = std::numeric_limits<double>::infinity();
  for (const Choice &choice : groups[from])
    least = std::min(least, choice.cost + leastCost(groups, limit - choice.size, from + 1));
  return least;
}

Groups randomGroups(std::mt19937 &random, size_t count, size_t choices, int64_t mostSize) {
  std::uniform_real_distribution<double> cost(0, 1);
  std::uniform_int_distribution<int64_t> size(0, mostSize);
  Groups groups(count);
  for (std::vector<Choice> &group : groups)
    for (size_t c = 0; c < choices; ++c)
      group.push_back({cost(random), size(random)});
  return groups;
}

// Few combinations: it is one of the best, or there is none.
TEST(KnapsackTest, IsTheBestOfAllCombinations) {
  std::mt19937 random(1);
  int64_t none = 0;
  for (int round = 0; round < 300; ++round) {
    const Groups groups = randomGroups(random, 1 + random() % 6, 1 + random() % 4, 20);
    const int64_t limit = int64_t(random() % 60);
    const auto chosen = cheapestWithin(groups, limit);
    const double least = leastCost(groups, limit);
    ASSERT_EQ(chosen.has_value(), least < std::numeric_limits<double>::infinity());
    none += !chosen;
    if (!chosen)
      continue;
    EXPECT_LE(sizeOf(groups, *chosen), limit);
    EXPECT_NEAR(costOf(groups, *chosen), least, 1e-12);
  }
  EXPECT_GT(none, 10);
  EXPECT_LT(none, 290);
}

TEST(KnapsackTest, NoGroupsAreChosenAtOnce) {
  EXPECT_EQ(cheapestWithin({}, 0), std::vector<size_t>());
}

// More combinations than are kept: the sum of costs is at most a little above what fractions of choices,
// to which no combination comes down, would cost.
TEST(KnapsackTest, IsNearTheBestOfMany) {
  std::mt19937 random(2);
  const Groups groups = randomGroups(random, 200, 5, 1'000'000'000);
  for (const double share : {0.2, 0.3, 0.5}) {
    const int64_t limit = int64_t(share * 200e9);
    const auto chosen = cheapestWithin(groups, limit);
    ASSERT_TRUE(chosen);
    EXPECT_LE(sizeOf(groups, *chosen), limit);
    // The bound of the Lagrangian, at the best of many prices.
    double bound = 0;
    for (double price = 0; price < 20e-9; price += 1e-11) {
      double sum = -price * double(limit);
      for (const std::vector<Choice> &group : groups) {
        double best = std::numeric_limits<double>::infinity();
        for (const Choice &choice : group)
          best = std::min(best, choice.cost + price * double(choice.size));
        sum += best;
      }
      bound = std::max(bound, sum);
    }
    EXPECT_GE(costOf(groups, *chosen), bound - 1e-9);
    EXPECT_LE(costOf(groups, *chosen), bound * 1.01 + 0.02) << share;
  }
}

} // namespace
} // namespace retort
