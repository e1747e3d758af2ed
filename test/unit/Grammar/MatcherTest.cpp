//===- MatcherTest.cpp - Masks and matchers -------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "test/unit/Grammar/TestGrammar.h"

namespace retort::grammar::test {
namespace {

/// Each mask against the tokens one by one, along texts at random.
TEST(Masks, AreTheTokensThatAreAccepted) {
  const std::pair<Kind, const char *> grammars[] = {
      {Kind::JsonSchema, "true"},
      {Kind::JsonSchema,
       R"({"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}, "na": {"type": "array", "items": {"type": "number"}}}})"},
      {Kind::JsonSchema,
       R"({"type": "object", "properties": {"a": {"enum": ["a\"b", "ab"]}}, "additionalProperties": {"type": "string", "pattern": "b"}})"},
      {Kind::JsonSchema,
       R"({"anyOf": [{"type": "array", "items": {"type": "array", "items": {"type": "string"}}}, {"type": "array", "items": {"$ref": "#"}}]})"},
      {Kind::Pattern, "(a|ab|abc)*name(\xC3\xA9|\xE2\x82\xAC){0,3}"},
      {Kind::Structure,
       R"({"until": "aab", "then": [{"schema": {"type": "array", "items": {"type": "integer"}}}, {"repeat": [{"any": ["name", ["a", {"regex": "b+"}]]}]}]})"},
      {Kind::Structure, R"({"unless": "na", "then": "me"})"},
  };
  for (const auto &[kind, text] : grammars) {
    const auto grammar = compiled(kind, text);
    for (uint64_t seed = 1; seed <= 4; ++seed) {
      std::mt19937_64 random(seed);
      Matcher matcher(grammar);
      TokenSet allowed;
      for (int i = 0; i < 60 && !matcher.done(); ++i) {
        matcher.mask(allowed);
        std::vector<int32_t> may;
        for (int32_t token = 0; token <= stopToken(); ++token) {
          Matcher copy = matcher;
          const bool accepted = copy.accept(token);
          ASSERT_EQ(accepted, allows(allowed, token)) << text << ": " << token;
          if (accepted && token != stopToken())
            may.push_back(token);
        }
        if (may.empty())
          break;
        ASSERT_TRUE(matcher.accept(may[random() % may.size()]));
      }
    }
  }
}

TEST(Masks, KnowWhereATextMayEndAndWhereItMust) {
  Matcher number(compiled(Kind::JsonSchema, R"({"type": "integer"})"));
  EXPECT_FALSE(number.complete());
  EXPECT_FALSE(number.accept(stopToken()));
  EXPECT_TRUE(number.accept('7'));
  EXPECT_TRUE(number.complete());
  EXPECT_FALSE(number.done());
  EXPECT_FALSE(number.accept('x'));
  EXPECT_TRUE(number.accept('1'));
  EXPECT_TRUE(number.accept(stopToken()));
  EXPECT_TRUE(number.done());
  TokenSet allowed;
  number.mask(allowed);
  EXPECT_EQ(std::count(allowed.begin(), allowed.end(), 0), long(allowed.size()));
  Matcher word(compiled(Kind::Choice, R"(["ab"])"));
  EXPECT_TRUE(word.accept('a'));
  EXPECT_TRUE(word.accept('b'));
  EXPECT_TRUE(word.done());
}

TEST(Matcher, RefusesTokensThatAddNothing) {
  Matcher matcher(compiled(Kind::Pattern, ".*"));
  EXPECT_FALSE(matcher.accept(-1));
  EXPECT_FALSE(matcher.accept(stopToken() + 1));
  EXPECT_TRUE(matcher.accept('a'));
}

TEST(Matcher, LongAnswersKeepLittle) {
  Matcher matcher(compiled(Kind::JsonSchema, R"({"type": "array", "items": {"type": "string"}})"));
  ASSERT_TRUE(matcher.accept('['));
  for (int i = 0; i < 3000; ++i) {
    for (char byte : std::string_view(i ? ",\"\xC3\xA9\xC3\xA9\"" : "\"\""))
      ASSERT_TRUE(matcher.accept(uint8_t(byte))) << i;
  }
  ASSERT_TRUE(matcher.accept(']'));
  EXPECT_TRUE(matcher.done());
}

/// The first token of an answer may add another text than later.
TEST(Vocabulary, FirstTokensAddWhatIsShown) {
  std::vector<Vocabulary::Token> tokens = {
      {" a", "a", false}, {"a", "a", false}, {" ", "", false}, {"b", "b", false}, {{}, {}, true}};
  const auto grammar = std::make_shared<const Grammar>(
      std::make_shared<const Vocabulary>(std::move(tokens)), Kind::Pattern, "aa?b");
  Matcher matcher(grammar);
  TokenSet allowed;
  matcher.mask(allowed);
  EXPECT_EQ(allowed[0], 0b00011u);
  ASSERT_TRUE(matcher.accept(0));
  matcher.mask(allowed);
  EXPECT_EQ(allowed[0], 0b01010u);
  const std::vector<int32_t> word = {3}, end = {4};
  Matcher(grammar, word).mask(allowed); // goes on with a text: spaces are kept
  EXPECT_EQ(allowed[0], 0b00010u);
  Matcher(grammar, end).mask(allowed);
  EXPECT_EQ(allowed[0], 0b00011u);
}

/// What the vocabulary cannot spell byte by byte is not promised.
TEST(Vocabulary, TextsAreOfItsBytes) {
  const auto small = std::make_shared<const Vocabulary>(
      std::vector<Vocabulary::Token>{{"a", "a", false}, {"bc", "bc", false}, {{}, {}, true}});
  EXPECT_NO_THROW(Grammar(small, Kind::Pattern, "a+|bc"));
  EXPECT_THROW(Grammar(small, Kind::Pattern, "b|c"), Error);
}

} // namespace
} // namespace retort::grammar::test
