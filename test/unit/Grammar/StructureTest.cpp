//===- StructureTest.cpp - Grammars put together --------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "test/unit/Grammar/TestGrammar.h"

namespace retort::grammar::test {
namespace {

using testing::HasSubstr;

std::string token(const char *name) { return std::string(vocabulary()->special(name)); }

TEST(Structure, PutsPartsTogether) {
  const auto grammar = compiled(
      Kind::Structure,
      R"(["<", {"any": ["a", {"regex": "b{2}"}, {"schema": {"type": "boolean"}}]}, {"repeat": [",", {"any": ["a", "c"]}]}, ">"])");
  for (const char *good : {"<a>", "<bb>", "<true>", "<false,a,c,a>"})
    EXPECT_TRUE(meets(grammar, good)) << good;
  for (const char *bad : {"<>", "<b>", "<a,>", "<a,bb>", "<a", "a>", "<a>x"})
    EXPECT_FALSE(meets(grammar, bad)) << bad;
}

TEST(Structure, TextGoesOnUntilItHoldsTheMark) {
  const auto grammar = compiled(Kind::Structure, R"({"until": "aabaac", "then": "na"})");
  for (const char *good : {"", "aabaa", "baabaabaa", "\xC3\xA9}{", "aabaacna", "xaabaabaacna"})
    EXPECT_TRUE(meets(grammar, good)) << good;
  for (const char *bad : {"aabaac", "aabaacn", "aabaacx", "aabaabaac ", "aabaacnax"})
    EXPECT_FALSE(meets(grammar, bad)) << bad;
}

TEST(Structure, TextThatDoesNotBeginWithTheMarkIsFree) {
  const auto grammar = compiled(Kind::Structure, R"({"unless": "{\"n\": ", "then": "12"})");
  for (const char *good : {"", "{", "{\"n\"", "{\"n\":", "{\"m\": x", " {\"n\": x", "{\"n\": 12"})
    EXPECT_TRUE(meets(grammar, good)) << good;
  for (const char *bad : {"{\"n\": ", "{\"n\": x", "{\"n\": 123"})
    EXPECT_FALSE(meets(grammar, bad)) << bad;
}

TEST(Structure, SpecialTokensStandWhereTheyAreNamed) {
  const auto call = compiled(Kind::Structure, R"([{"token": "[CALL]"}, "ab"])");
  EXPECT_TRUE(meets(call, token("[CALL]") + "ab"));
  EXPECT_FALSE(meets(call, "[CALL]ab"));
  EXPECT_FALSE(meets(call, token("[OTHER]") + "ab"));
  const auto text = compiled(Kind::Structure, R"({"until": {"token": "[CALL]"}, "then": "ab"})");
  for (const std::string &good :
       {std::string("x"), std::string("[CALL]"), token("[OTHER]") + "x" + token("[OTHER]"),
        token("[OTHER]") + "x" + token("[CALL]") + "ab"})
    EXPECT_TRUE(meets(text, good)) << good;
  EXPECT_FALSE(meets(text, token("[CALL]") + "x"));
  EXPECT_FALSE(
      meets(compiled(Kind::JsonSchema, R"({"type": "string"})"), "\"" + token("[CALL]") + "\""));
}

/// Its bytes, which UTF-8 has not, can be written in no other way.
TEST(Structure, NoTokensOfBytesSpellASpecialToken) {
  Matcher matcher(compiled(Kind::Structure, R"([{"token": "[CALL]"}])"));
  TokenSet allowed;
  matcher.mask(allowed);
  for (int32_t id = 0; id <= stopToken(); ++id)
    EXPECT_EQ(allows(allowed, id), vocabulary()->token(id).text == token("[CALL]")) << id;
}

TEST(Structure, RefusesWithThePlace) {
  const std::pair<const char *, const char *> cases[] = {
      {"7", "it is not a part"},
      {R"(["a", {}])", "/1 is not a part"},
      {R"({"tokn": "a"})", R"(it has the key "tokn", which no part has)"},
      {R"({"any": []})", "/any is not a list of parts"},
      {R"({"any": ["a"], "b": 1})", "it has not the keys of one part"},
      {R"({"until": "a"})", "it has not the keys of one part"},
      {R"({"until": "", "then": "a"})", "/until is neither a text nor a token"},
      {R"({"token": "[NONE]"})", "it names no special token"},
      {R"({"regex": "("})", "/regex "},
      {R"({"regex": 1})", "/regex is not a text"},
      {R"([{"schema": {"type": "object", "properties": {"a": {"not": {}}}}}])",
       "/0/schema/properties/a/not is not supported"},
      {"[", "the structure"},
  };
  for (const auto &[text, words] : cases)
    EXPECT_THAT(refusal(Kind::Structure, text), HasSubstr(words)) << text;
}

} // namespace
} // namespace retort::grammar::test
