//===- Pattern.cpp - Regular expressions ----------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/grammar/Pattern.h"
#include "runtime/base/Error.h"
#include "runtime/base/Utf8.h"

#include <algorithm>
#include <optional>
#include <string>

namespace retort::grammar {
namespace {

constexpr uint32_t kMostRepeats = 10'000;
constexpr int kMostNesting = 64;

const CharSet kDigits = {{'0', '9'}}, kWord = {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}},
              kSpace = {{'\t', '\r'}, {' ', ' '}}, kLineEnds = {{'\n', '\n'}, {'\r', '\r'}};

/// Reads a pattern, character by character.
class Parser {
public:
  Parser(std::string_view pattern, Spelling spelling) : spelling_(spelling) {
    for (const char *p = pattern.data(), *end = p + pattern.size(); p < end;)
      chars_.push_back(nextCode(p));
  }

  Expr parse(bool search) {
    Expr result = alternatives(0, search);
    if (at_ < chars_.size())
      bad("a ) closes nothing");
    return result;
  }

private:
  [[noreturn]] void bad(const std::string &what) const {
    fail(ExitCode::Usage, "at character " + std::to_string(at_ + 1) + ": " + what);
  }
  bool more() const { return at_ < chars_.size(); }
  uint32_t peek() const { return more() ? chars_[at_] : 0; }
  bool take(char wanted) {
    if (!more() || chars_[at_] != uint32_t(wanted))
      return false;
    ++at_;
    return true;
  }
  uint32_t next(const char *unless) {
    if (!more())
      bad(unless);
    return chars_[at_++];
  }

  Expr anything() const { return repeat(spelled(complement({}), spelling_), 0); }

  /// At the outermost level an alternative may begin with ^ and end with $, which say where a search
  /// may not go on.
  Expr alternatives(int depth, bool search) {
    if (depth > kMostNesting)
      bad("groups are nested more than " + std::to_string(kMostNesting) + " deep");
    std::vector<Expr> choices;
    do {
      std::vector<Expr> parts;
      const bool begins = depth == 0 && take('^');
      if (search && !begins)
        parts.push_back(anything());
      bool ends = false;
      while (more() && peek() != '|' && peek() != ')') {
        if (depth == 0 && peek() == '$' && (at_ + 1 == chars_.size() || chars_[at_ + 1] == '|')) {
          ends = true;
          ++at_;
          break;
        }
        parts.push_back(quantified(depth));
      }
      if (search && !ends)
        parts.push_back(anything());
      choices.push_back(sequence(std::move(parts)));
    } while (take('|'));
    return choices.size() == 1 ? choices[0] : choice(std::move(choices));
  }

  Expr quantified(int depth) {
    Expr part = atom(depth);
    const size_t at = at_;
    uint32_t least = 1, most = 1;
    if (take('*'))
      least = 0, most = kMany;
    else if (take('+'))
      most = kMany;
    else if (take('?'))
      least = 0;
    else if (take('{')) {
      least = count();
      most = take(',') ? (peek() == '}' ? kMany : count()) : least;
      if (!take('}'))
        bad("a count is written {2}, {2,} or {2,5}");
      if (most < least)
        bad("the count's end is before its begin");
    }
    if (at_ == at)
      return part;
    take('?'); // which text is preferred does not matter here
    if (peek() == '+' || peek() == '*' || peek() == '{' || peek() == '?')
      bad("a count follows another");
    return repeat(std::move(part), least, most);
  }

  uint32_t count() {
    uint32_t value = 0;
    const size_t begin = at_;
    for (; more() && peek() >= '0' && peek() <= '9' && value <= kMostRepeats; ++at_)
      value = value * 10 + (peek() - '0');
    if (at_ == begin)
      bad("a count is written {2}, {2,} or {2,5}");
    if (value > kMostRepeats)
      bad("a count is over " + std::to_string(kMostRepeats));
    return value;
  }

  Expr atom(int depth) {
    const uint32_t code = next("something is missing");
    switch (code) {
    case '(': {
      if (take('?') && !take(':'))
        bad("of groups with ? only (?: is supported: no lookaround, no names, no flags");
      Expr inner = alternatives(depth + 1, false);
      if (!take(')'))
        bad("a ) is missing");
      return inner;
    }
    case '[':
      return spelled(bracket(), spelling_);
    case '.':
      return spelled(complement(kLineEnds), spelling_);
    case '\\':
      return spelled(escape(false), spelling_);
    case '^':
    case '$':
      --at_;
      bad("^ is supported at the beginning and $ at the end only, outside of groups");
    case '*':
    case '+':
    case '?':
    case '{':
      --at_;
      bad("a count has nothing before it: write a backslash before a character that means itself");
    default:
      return spelled(CharSet{{code, code}}, spelling_);
    }
  }

  uint32_t hex(int digits) {
    uint32_t value = 0;
    for (int i = 0; i < digits; ++i) {
      const uint32_t code = next("a hexadecimal digit is missing");
      const uint32_t lower = code | 0x20;
      if (code >= '0' && code <= '9')
        value = value * 16 + (code - '0');
      else if (lower >= 'a' && lower <= 'f')
        value = value * 16 + (lower - 'a' + 10);
      else
        bad("a hexadecimal digit is missing");
    }
    return value;
  }

  CharSet escape(bool inBracket) {
    const uint32_t code = next("a \\ ends the pattern");
    const auto one = [](uint32_t c) { return CharSet{{c, c}}; };
    switch (code) {
    case 'd':
      return kDigits;
    case 'D':
      return complement(kDigits);
    case 'w':
      return kWord;
    case 'W':
      return complement(kWord);
    case 's':
      return kSpace;
    case 'S':
      return complement(kSpace);
    case 'n':
      return one('\n');
    case 'r':
      return one('\r');
    case 't':
      return one('\t');
    case 'f':
      return one('\f');
    case 'v':
      return one('\v');
    case 'x':
      return one(hex(2));
    case 'u': {
      const uint32_t unit = hex(4);
      if (unit >= 0xD800 && unit <= 0xDFFF)
        bad("\\u of a surrogate is no character: write the character itself");
      return one(unit);
    }
    default:
      break;
    }
    if (code == 'b' && inBracket)
      return one('\b');
    if ((code >= '0' && code <= '9') || (code | 0x20) - 'a' < 26u) {
      --at_;
      bad("this escape is not supported");
    }
    return one(code);
  }

  CharSet bracket() {
    const bool negated = take('^');
    CharSet set;
    while (!take(']')) {
      const CharSet first = item();
      const bool isRange = peek() == '-' && at_ + 1 < chars_.size() && chars_[at_ + 1] != ']';
      if (!isRange) {
        set.insert(set.end(), first.begin(), first.end());
        continue;
      }
      ++at_;
      const CharSet last = item();
      if (first.size() != 1 || first[0].first != first[0].second || last.size() != 1 ||
          last[0].first != last[0].second || last[0].first < first[0].first)
        bad("a range in [] goes from a character to one that does not come before it");
      set.emplace_back(first[0].first, last[0].first);
    }
    set = normalised(std::move(set));
    return negated ? complement(set) : set;
  }

  CharSet item() {
    const uint32_t code = next("a ] is missing");
    if (code == '[' && (peek() == ':' || peek() == '='))
      bad("named classes are not supported: write \\d, \\w, \\s or ranges");
    return code == '\\' ? escape(true) : CharSet{{code, code}};
  }

  std::vector<uint32_t> chars_;
  Spelling spelling_;
  size_t at_ = 0;
};

} // namespace

Expr spelled(const CharSet &set, Spelling spelling) {
  if (spelling == Spelling::Plain)
    return utf8(set);
  std::vector<Expr> parts = {
      utf8(intersection(set, {{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0x10FFFF}}))};
  for (const auto &[low, high] : set)
    for (uint32_t code = low; code <= std::min(high, 0x5Cu); ++code) {
      if (code >= 0x20 && code != '"' && code != '\\')
        continue;
      const size_t at = std::string_view("\"\\\b\f\n\r\t").find(char(code));
      if (at != std::string_view::npos)
        parts.push_back(literal(std::string("\\") + "\"\\bfnrt"[at]));
      else
        parts.push_back(
            literal(std::string("\\u00") + "01"[code / 16] + "0123456789abcdef"[code % 16]));
    }
  return choice(std::move(parts));
}

Expr spelled(std::string_view text, Spelling spelling) {
  std::vector<Expr> parts;
  for (const char *p = text.data(), *end = p + text.size(); p < end;) {
    const uint32_t code = nextCode(p);
    parts.push_back(spelled(CharSet{{code, code}}, spelling));
  }
  return sequence(std::move(parts));
}

Expr compilePattern(std::string_view pattern, Spelling spelling, bool search) {
  return Parser(pattern, spelling).parse(search);
}

} // namespace retort::grammar
