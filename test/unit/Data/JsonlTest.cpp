//===- JsonlTest.cpp - Documents in lines of JSON ---------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Jsonl.h"

#include <gtest/gtest.h>

using retort::textOfJsonLine;

TEST(Jsonl, TakesTextElseContent) {
  EXPECT_EQ(textOfJsonLine(R"({"id":1,"text":"a\nb é \u00e9"})"), "a\nb é é");
  EXPECT_EQ(textOfJsonLine(R"({"content":"c","more":[1,{"text":"inner"}]})"), "c");
  EXPECT_EQ(textOfJsonLine(R"({"content":"c","text":"t"})"), "t");
  EXPECT_EQ(textOfJsonLine(R"({"text":""})"), "");
}

TEST(Jsonl, RefusesWhatIsNoDocument) {
  for (const char *line :
       {"", "null", "\"text\"", "[]", "[{\"text\":\"a\"}]", "{}", "{\"text\":1}", "{\"text\":null}",
        "{\"text\":[\"a\"]}", "{\"text\":\"a\"", "{\"text\":\"a\"} x", "{\"text\":\"\\ud800\"}",
        "{\"text\":\"\xff\"}", "{\"a\":{\"text\":\"x\"}}"})
    EXPECT_EQ(textOfJsonLine(line), std::nullopt) << line;
}

TEST(Jsonl, LimitsDepth) {
  const auto nested = [](size_t depth) {
    return "{\"text\":\"t\",\"a\":" + std::string(depth, '[') + std::string(depth, ']') + "}";
  };
  EXPECT_EQ(textOfJsonLine(nested(63)), "t");
  EXPECT_EQ(textOfJsonLine(nested(64)), std::nullopt);
  EXPECT_EQ(textOfJsonLine(nested(1'000'000)), std::nullopt);
}
