//===- StatisticsTest.cpp - The statistics file -----------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Distill/Statistics.h"
#include "runtime/base/Error.h"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>

namespace retort {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string refusal(const std::string &text) {
  try {
    Statistics::fromJson(text, "x.json");
  } catch (const Error &error) {
    return error.message;
  }
  return "none";
}

TEST(StatisticsTest, TheTableIsInTheEnumsOrder) {
  for (size_t i = 0; i < std::size(kStatistics); ++i) {
    EXPECT_EQ(size_t(kStatistics[i].statistic), i);
    EXPECT_EQ(statisticNamed(kStatistics[i].name), kStatistics[i].statistic);
  }
  EXPECT_EQ(statisticNamed("colour"), std::nullopt);
}

TEST(StatisticsTest, WhatIsWrittenIsRead) {
  Statistics made;
  made.tokens = 5;
  made.counts = {3, 0, 7};
  made.merges = {{0, 1, 2}};
  made.keep = {1};
  // Each statistic of a block, by the table alone: a number for a block, else a list.
  for (const StatisticInfo &info : kStatistics)
    if (info.each != Observed::Vocabulary)
      made.blocks["blk.0"][info.statistic].assign(info.each == Observed::Block ? 1 : 2, 0.5);
  made.blocks["blk.1"];
  const Statistics read = Statistics::fromJson(made.toJson(), "x.json");
  EXPECT_EQ(read.tokens, 5);
  EXPECT_THAT(read.counts, ElementsAre(3, 0, 7));
  EXPECT_THAT(read.merges, ElementsAre(ElementsAre(0, 1, 2)));
  EXPECT_THAT(read.keep, ElementsAre(1));
  EXPECT_EQ(read.blocks.size(), 2u);
  for (const StatisticInfo &info : kStatistics)
    EXPECT_EQ(read.blocks.at("blk.0")[info.statistic], made.blocks.at("blk.0")[info.statistic])
        << info.name;
  EXPECT_EQ(read.toJson(), made.toJson());
}

TEST(StatisticsTest, NumbersThatAreNoneAreNotWritten) {
  for (const double value : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    Statistics made;
    made.blocks["blk.3"][kStatistics[0].statistic] = {value};
    try {
      made.toJson();
      ADD_FAILURE() << value;
    } catch (const Error &error) {
      EXPECT_EQ(error.code, ExitCode::BadInput);
      EXPECT_THAT(error.message, HasSubstr("block blk.3: what was observed of its"));
      EXPECT_THAT(error.message,
                  HasSubstr("is no finite number: the weights are damaged or extreme"));
    }
  }
}

TEST(StatisticsTest, WhatIsNoStatisticsFile) {
  const std::string head = "{\"format\": \"retort-stats-1\", ";
  EXPECT_THAT(refusal("[]"), HasSubstr("x.json: not of format retort-stats-1"));
  EXPECT_THAT(refusal("{}"), HasSubstr("not of format"));
  EXPECT_THAT(refusal(head), HasSubstr("is not valid JSON"));
  for (const char *bad : {"\"vocabulary\": 1}", "\"vocabulary\": {\"counts\": [-1]}}",
                          "\"vocabulary\": {\"counts\": [1], \"keep\": [1]}}",
                          "\"vocabulary\": {\"counts\": [1], \"merges\": [[0, 0]]}}",
                          "\"vocabulary\": {\"counts\": [1], \"merges\": [[0, 0, 1]]}}"})
    EXPECT_THAT(refusal(head + bad), HasSubstr("malformed or out-of-range 'vocabulary'")) << bad;
  for (const char *bad :
       {"\"blocks\": {\"b\": 1}}", "\"blocks\": {\"b\": {\"ffn\": 1}}}",
        "\"blocks\": {\"b\": {\"influence\": [1]}}}", "\"blocks\": {\"b\": {\"heads\": [\"1\"]}}}"})
    EXPECT_THAT(refusal(head + bad), HasSubstr("malformed 'blocks'")) << bad;
}

} // namespace
} // namespace retort
