//===- PatternTest.cpp - Regular expressions and choices ------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "test/unit/Grammar/TestGrammar.h"
#include <functional>
#include <regex>

namespace retort::grammar::test {
namespace {

using testing::HasSubstr;

TEST(Pattern, MatchesTheWholeText) {
  const struct {
    const char *pattern;
    std::vector<const char *> good, bad;
  } cases[] = {
      {"", {""}, {"a"}},
      {"a|bc?|", {"a", "b", "bc", ""}, {"ab", "c"}},
      {"^(?:ab)+$", {"ab", "abab"}, {"", "aba"}},
      {"a{2,3}", {"aa", "aaa"}, {"a", "aaaa"}},
      {"a{2}b{0}", {"aa"}, {"a", "aab"}},
      {"a{2,}", {"aa", "aaaaa"}, {"a"}},
      {"a*?b+?", {"b", "aab"}, {"a"}},
      {"[a-c\\d_-]+", {"a", "c9_-"}, {"d", ""}},
      {"[^a-z\\n]", {"A", "\xC3\xA9", "]"}, {"a", "\n", "\xC3"}},
      {".", {"a", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"}, {"\n", "\r", "", "ab", "\xED\xA0\x80"}},
      {"\\d\\D\\w\\W\\s\\S", {"1ab- x"}, {"aab- x"}},
      {"\\x41\\u00e9\\.\\n\\t\\(", {"A\xC3\xA9.\n\t("}, {"A"}},
      {"[\\]\\-\\b]", {"]", "-", "\b"}, {"\\"}},
      {"(a|b)(c|d(e|f))*", {"a", "bcde", "adf"}, {"c", "ad"}},
      {"[\xCE\xB1-\xCF\x89]", {"\xCE\xB2", "\xCF\x80"}, {"a", "\xCE"}},
      {"x(^)?", {}, {}},
  };
  for (const auto &[pattern, good, bad] : cases) {
    if (good.empty()) {
      EXPECT_NE(refusal(Kind::Pattern, pattern), "");
      continue;
    }
    ASSERT_EQ(refusal(Kind::Pattern, pattern), "") << pattern;
    const auto grammar = compiled(Kind::Pattern, pattern);
    for (const char *text : good)
      EXPECT_TRUE(meets(grammar, text)) << pattern << ": " << text;
    for (const char *text : bad)
      EXPECT_FALSE(meets(grammar, text)) << pattern << ": " << text;
  }
}

/// Against the C++ library's expressions, over all short texts of two letters.
TEST(Pattern, AgreesWithAnother) {
  std::mt19937 random(5);
  const auto pick = [&](std::initializer_list<const char *> list) {
    return std::string(list.begin()[random() % list.size()]);
  };
  const std::function<std::string(int)> make = [&](int depth) -> std::string {
    switch (depth <= 0 ? 0 : random() % 5) {
    case 0:
      return pick({"a", "b", ".", "[ab]", "[^a]", "ab"});
    case 1:
      return make(depth - 1) + make(depth - 1);
    case 2:
      return "(" + make(depth - 1) + "|" + make(depth - 1) + ")";
    default:
      return "(" + make(depth - 1) + ")" + pick({"*", "+", "?", "{2}", "{1,2}", "{0,2}", "{1,}"});
    }
  };
  for (int i = 0; i < 150; ++i) {
    const std::string pattern = make(3);
    ASSERT_EQ(refusal(Kind::Pattern, pattern), "") << pattern;
    const auto grammar = compiled(Kind::Pattern, pattern);
    const std::regex other(pattern);
    for (int length = 0; length <= 5; ++length)
      for (int bits = 0; bits < 1 << length; ++bits) {
        std::string text;
        for (int at = 0; at < length; ++at)
          text += bits >> at & 1 ? 'a' : 'b';
        ASSERT_EQ(meets(grammar, text), std::regex_match(text, other)) << pattern << ": " << text;
      }
  }
}

TEST(Pattern, RefusesWhatItDoesNotKnow) {
  const std::pair<const char *, const char *> wrong[] = {
      {"a(", "a ) is missing"},
      {"a)", "a ) closes nothing"},
      {"[a", "a ] is missing"},
      {"*a", "a count has nothing before it"},
      {"a**", "a count follows another"},
      {"a{3,2}", "the count's end is before its begin"},
      {"a{x}", "at character 3: a count is written {2}, {2,} or {2,5}"},
      {"a{2x}", "at character 4: a count is written {2}, {2,} or {2,5}"},
      {"a{20000}", "a count is over 10000"},
      {"(?=a)", "only (?: is supported"},
      {"(?<n>a)", "only (?: is supported"},
      {"\\1", "this escape is not supported"},
      {"\\p{L}", "this escape is not supported"},
      {"a\\b", "this escape is not supported"},
      {"\\", "a \\ ends the pattern"},
      {"a^b", "^ is supported at the beginning"},
      {"a$b", "$ at the end only"},
      {"[b-a]", "a range in []"},
      {"[[:alpha:]]", "named classes are not supported"},
      {"\\ud800", "\\u of a surrogate is no character"},
      {"\\xg0", "a hexadecimal digit is missing"},
      {"(a{1000}){1000}", "states"},
      {"[^\\s\\S]", "no text can ever meet it"},
  };
  for (const auto &[pattern, message] : wrong)
    EXPECT_THAT(refusal(Kind::Pattern, pattern), HasSubstr(message)) << pattern;
  EXPECT_THAT(refusal(Kind::Pattern, "\xFF"), HasSubstr("it is not UTF-8"));
  EXPECT_THAT(refusal(Kind::Pattern, std::string(200, '(') + std::string(200, ')')),
              HasSubstr("groups are nested more than"));
}

TEST(Choice, IsOneOfTheTexts) {
  const auto grammar = compiled(Kind::Choice, R"(["yes", "no", "not \u00e9"])");
  for (const char *text : {"yes", "no", "not \xC3\xA9"})
    EXPECT_TRUE(meets(grammar, text)) << text;
  for (const char *text : {"", "ye", "no!", "maybe"})
    EXPECT_FALSE(meets(grammar, text)) << text;
  EXPECT_THAT(refusal(Kind::Choice, "[]"), HasSubstr("at least one text"));
  EXPECT_THAT(refusal(Kind::Choice, R"(["a", 1])"), HasSubstr("/1 is not a text"));
  EXPECT_THAT(refusal(Kind::Choice, "["), HasSubstr("the choice"));
}

} // namespace
} // namespace retort::grammar::test
