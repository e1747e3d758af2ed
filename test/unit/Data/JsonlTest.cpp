//===- JsonlTest.cpp - Documents in lines of JSON ---------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Jsonl.h"

#include <gtest/gtest.h>

using retort::textOfJsonLine;

namespace {
/// The text; its fault in brackets where there is none.
std::string read(std::string_view line) {
  const retort::JsonLine result = textOfJsonLine(line);
  return result.fault ? "[" + std::string(result.fault) + "]" : result.text;
}

const std::string kNoObject = "[is no JSON object]", kNoJson = "[is no JSON]",
                  kNoText = "[has no string under \"text\" or \"content\"]";

TEST(Jsonl, TakesTextElseContent) {
  EXPECT_EQ(read(R"({"id":1,"text":"a\nb é \u00e9"})"), "a\nb é é");
  EXPECT_EQ(read(R"({"content":"c","more":[1,{"text":"inner"}]})"), "c");
  EXPECT_EQ(read(R"({"content":"c","text":"t"})"), "t");
  EXPECT_EQ(read(R"({"text":"","content":"c"})"), "c");
  EXPECT_EQ(read(R"({"text":null,"content":"c"})"), "c");
  EXPECT_EQ(read(R"({"text":"one","text":"two"})"), "two");
  EXPECT_EQ(read(R"({"text":""})"), "");
}

TEST(Jsonl, ReadsWhatOthersWrite) {
  EXPECT_EQ(read(R"({"a":NaN,"b":[Infinity,-Infinity,1e400],"text":"t"})"), "t");
  EXPECT_EQ(read("\xEF\xBB\xBF{\"text\":\"t\"},"), "t");
  EXPECT_EQ(read(R"({"text":"a\ud83cb \udf78 \ud83c\udf78 \ud83c\ud83c\udf78"})"),
            "a\uFFFDb \uFFFD \U0001F378 \uFFFD\U0001F378");
  EXPECT_EQ(read(R"({"text":"a\u0000b"})"), "a\uFFFDb");
  EXPECT_EQ(read(std::string_view("{\"text\":\"a\0b\"}", 14)), "a\uFFFDb");
}

TEST(Jsonl, SaysWhyThereIsNoText) {
  for (const char *line : {"", "null", "\"text\"", "[]", "[{\"text\":\"a\"}]"})
    EXPECT_EQ(read(line), kNoObject) << line;
  for (const char *line :
       {"{\"text\":\"a\"", "{\"text\":\"a\"} x", "{\"text\":\"\\ud8\"}", "{\"text\" \"a\"}",
        "{\"a\":[1,}", "{\"a\":{1:2}}", "{\"a\":[}]}", "{\"a\":}", "{\"text\":\"\\x\"}"})
    EXPECT_EQ(read(line), kNoJson) << line;
  for (const char *line :
       {"{}", "{\"text\":1}", "{\"text\":null}", "{\"text\":[\"a\"]}", "{\"a\":{\"text\":\"x\"}}"})
    EXPECT_EQ(read(line), kNoText) << line;
  EXPECT_EQ(read("{\"text\":\"\xff\"}"), "[is not UTF-8]");
}

TEST(Jsonl, DepthAndLengthDoNotMatter) {
  const std::string deep =
      "{\"a\":" + std::string(1'000'000, '[') + std::string(1'000'000, ']') + ",\"text\":\"t\"}";
  EXPECT_EQ(read(deep), "t");
  EXPECT_EQ(read("{\"blob\":\"" + std::string(20'000'000, 'x') + "\",\"text\":\"t\"}"), "t");
}
} // namespace
