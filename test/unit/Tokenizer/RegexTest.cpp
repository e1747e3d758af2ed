//===- RegexTest.cpp - Pattern automata against PCRE2 ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Tokenizer/Regex.h"
#include "compiler/Tokenizer/Internal.h"
#include "test/unit/Tokenizer/Tiny.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>
#define PCRE2_CODE_UNIT_WIDTH 32
#include <pcre2.h>

namespace retort {
namespace {
using testing::EndsWith;
using testing::StartsWith;

/// A backtracking engine: matches at a place.
class Pcre {
public:
  explicit Pcre(const std::string &pattern) {
    std::vector<uint32_t> codes(pattern.begin(), pattern.end()); // patterns here are ASCII
    int error;
    PCRE2_SIZE where;
    code_ = pcre2_compile(codes.data(), codes.size(), PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED,
                          &error, &where, nullptr);
    data_ = pcre2_match_data_create(4, nullptr);
    EXPECT_NE(code_, nullptr) << pattern;
  }
  ~Pcre() {
    pcre2_match_data_free(data_);
    pcre2_code_free(code_);
  }
  size_t matchAt(const std::vector<uint32_t> &text, size_t at) const {
    int found = pcre2_match(code_, text.data(), text.size(), at, 0, data_, nullptr);
    return found > 0 ? pcre2_get_ovector_pointer(data_)[1] : std::string::npos;
  }

private:
  pcre2_code *code_;
  pcre2_match_data *data_;
};

// Characters on which Unicode 14 (PCRE2 10.42) and 16 (Oniguruma) agree.
const uint32_t kCharacters[] = {'a',    's',    'S',    't',     'l',     'Z',      '\'',   ' ',
                                ' ',    '\n',   '\r',   '\t',    '1',     '2',      '9',    '.',
                                ',',    '_',    '-',    '/',     0xA0,    0xB2,     0x17F,  0x301,
                                0x3B1,  0x41F,  0x5D0,  0x661,   0x1C5,   0x2028,   0x3000, 0x3042,
                                0x4E2D, 0x200D, 0xFE0F, 0x1F600, 0x1D7D8, 0x10FFFF, 0x85,   0x2160};

void compare(const std::string &pattern, int texts) {
  Automaton automaton = compilePattern(pattern, true);
  Pcre pcre(pattern);
  std::mt19937 random(3);
  for (int i = 0; i < texts; ++i) {
    std::vector<uint32_t> text(random() % 14);
    for (uint32_t &code : text)
      code = i % 3 ? kCharacters[random() % 21] : kCharacters[random() % std::size(kCharacters)];
    for (size_t at = 0; at < text.size(); ++at)
      ASSERT_EQ(matchAt(automaton, text, at), pcre.matchAt(text, at))
          << pattern << " text " << i << " at " << at;
  }
}

TEST(Regex, FamiliesAsPcre2) {
  for (
      std::string pattern :
      {std::string(tokspec::kGpt2Pattern),
       std::string(
           R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"),
       std::string(
           R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"),
       std::string(
           R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)")})
    compare(pattern, 20000);
}

// The first alternative that matches, not the longest; lazy, counted and nested repetition.
TEST(Regex, OrderAsPcre2) {
  for (const char *pattern :
       {"a|as|ast", "(a|as)(t|st)?", "(?:as|a)+t", "a+?s", "(?:a|s){2,3}", "[as]{2,}",
        "a(?=s)|s(?!t)", "(?:a(?:s|t)?)+l", "\\S+\\s??\\S", "[^as]+[as]", "\\p{Lu}|\\P{L}+",
        "(?i:SaT)|s", "a*s+t*l", ".l|..", "\\d+|\\D", "x{2}|[\\-a-c]+", "(?:a|as)(?:s|st)(?!l)"})
    compare(pattern, 4000);
}

TEST(Regex, LiteralsAreNotPatterns) {
  Automaton a = compilePattern("a.b|[", false);
  std::vector<uint32_t> text = {'a', '.', 'b', '|', '['};
  EXPECT_EQ(matchAt(a, text, 0), 5u);
  text[1] = 'x';
  EXPECT_EQ(matchAt(a, text, 0), std::string::npos);
}

// One place in the code each.
TEST(Regex, RefusesByName) {
  std::string kinds = "a";
  for (int i = 0; i < 300; ++i)
    kinds += {'|', char(0xE4), char(0xB8 + i / 64), char(0x80 + i % 64)};
  const std::pair<std::string, const char *> cases[] = {
      {"a)", "an unmatched ')'"},
      {std::string(8193, 'a'), "a pattern of more than 8192 bytes"},
      {"\xFF", "text that is not UTF-8"},
      {"\\", "a pattern that ends too early"},
      {std::string(60, '('), "nesting this deep"},
      {"(?=a)+", "a repeated lookahead"},
      {"a++", "a possessive or doubled quantifier"},
      {"a{257}", "a repetition of more than 256"},
      {"a{x}", "this use of '{'"},
      {"a{2,1}", "this use of '{'"},
      {"(?>a)", "this kind of group"},
      {"(a", "a group that is not closed"},
      {"(?=a", "a group that is not closed"},
      {"(?=ab)", "a lookahead at more than one character"},
      {"(?i:\u00E9)", "ignoring the case of a character outside ASCII"},
      {"^a", "'^' here"},
      {"\\pL", "a property without braces"},
      {"\\p{Greek}", "the property \\p{Greek}"},
      {"\\xg", "this \\x escape"},
      {"\\b", "the escape \\b"},
      {"[[:alpha:]]", "this inside brackets"},
      {"[\\s-a]", "this range"},
      {"[b-a]", "this range"},
      {"[a", "a bracket that is not closed"},
      {"a*", "a pattern that matches the empty text"},
      {kinds, "a pattern with so many kinds of characters"},
      {"(?:a{256}){256}", "a pattern of this size"},
      {"(?:a|b)*a(?:a|b){14}", "a pattern with so many states"},
  };
  for (const auto &[pattern, what] : cases) {
    const std::string error = test::errorOf([&] { compilePattern(pattern, true); });
    EXPECT_THAT(error, StartsWith("4 pre-tokeniser pattern '")) << pattern.substr(0, 80);
    EXPECT_THAT(error, EndsWith(std::string(": ") + what + " is not known to Retort"))
        << pattern.substr(0, 80);
  }
}

TEST(Regex, StaysSmall) { EXPECT_LT(compilePattern(tokspec::kGpt2Pattern, true).states(), 64u); }

} // namespace
} // namespace retort
