//===- RoundingCostsTest.cpp - The file of a distill.probe ------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Distill/RoundingCosts.h"
#include "runtime/base/Error.h"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace retort {
namespace {

using testing::HasSubstr;

std::string refusal(const std::string &text) {
  try {
    RoundingCosts::fromJson(text, "x.json");
  } catch (const Error &error) {
    EXPECT_EQ(error.code, ExitCode::BadInput);
    return error.message;
  }
  return "none";
}

RoundingCosts some() {
  RoundingCosts costs;
  costs.tokens = 7;
  costs.formats = {{NumberFormat::Kind::I4, 64}, {NumberFormat::Kind::I8, 32}};
  costs.groups = {{{"a", "b"}, {0.5, 0}}, {{"c"}, {0.25, 1e-9}}};
  return costs;
}

TEST(RoundingCostsTest, WhatIsWrittenIsRead) {
  const RoundingCosts made = some(), read = RoundingCosts::fromJson(made.toJson(), "x.json");
  EXPECT_EQ(read.tokens, 7);
  EXPECT_EQ(read.formats, made.formats);
  ASSERT_EQ(read.groups.size(), 2u);
  for (size_t g = 0; g < 2; ++g) {
    EXPECT_EQ(read.groups[g].params, made.groups[g].params);
    EXPECT_EQ(read.groups[g].kl, made.groups[g].kl);
  }
}

TEST(RoundingCostsTest, CostsThatAreNoneAreNotWritten) {
  for (const double cost : {std::nan(""), double(INFINITY), -1.0}) {
    RoundingCosts costs = some();
    costs.groups[1].kl[0] = cost;
    try {
      costs.toJson();
      FAIL() << cost;
    } catch (const Error &error) {
      EXPECT_EQ(error.code, ExitCode::BadInput);
      EXPECT_THAT(error.message, HasSubstr("what rounding c costs is no finite number"));
    }
  }
}

TEST(RoundingCostsTest, RefusesWhatIsNone) {
  EXPECT_THAT(refusal("{"), HasSubstr("x.json"));
  EXPECT_THAT(refusal("[]"), HasSubstr("not of format retort-probe-1"));
  const std::string head = R"({"format": "retort-probe-1", "tokens": 1, "formats": )";
  for (const char *rest :
       {R"(["i4g64s"]})", R"([], "groups": []})", R"(["f16"], "groups": []})",
        R"(["i5"], "groups": []})", R"([4], "groups": []})", R"("i4g64s", "groups": 3})",
        R"(["i4g64s"], "groups": [{"params": [], "kl": [1]}]})",
        R"(["i4g64s"], "groups": [{"params": ["a"], "kl": [1, 2]}]})",
        R"(["i4g64s"], "groups": [{"params": ["a"], "kl": [-1]}]})",
        R"(["i4g64s"], "groups": [{"params": ["a"], "kl": ["x"]}]})",
        R"(["i4g64s"], "groups": [{"params": [1], "kl": [1]}]})"})
    EXPECT_EQ(refusal(head + rest), "x.json: malformed formats or groups") << rest;
}

} // namespace
} // namespace retort
