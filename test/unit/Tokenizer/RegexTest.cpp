//===- RegexTest.cpp - Pattern automata against PCRE2 ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Tokenizer/Regex.h"
#include "compiler/Tokenizer/Internal.h"
#include <gtest/gtest.h>
#include <random>
#define PCRE2_CODE_UNIT_WIDTH 32
#include <pcre2.h>

namespace retort {
namespace {

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

TEST(Regex, StaysSmall) { EXPECT_LT(compilePattern(tokspec::kGpt2Pattern, true).states(), 64u); }

} // namespace
} // namespace retort
