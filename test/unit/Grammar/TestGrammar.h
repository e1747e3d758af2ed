//===- TestGrammar.h - Grammars over a small vocabulary ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/base/Error.h"
#include "runtime/src/grammar/Grammar.h"
#include <gmock/gmock.h>
#include <optional>
#include <random>

namespace retort::grammar::test {

/// A token for each byte, some that are more, and one that ends a text.
inline std::shared_ptr<const Vocabulary> vocabulary() {
  static const std::shared_ptr<const Vocabulary> made = [] {
    std::vector<Vocabulary::Token> tokens;
    const auto add = [&](std::string text) { tokens.push_back({text, text, false}); };
    for (int byte = 0; byte < 256; ++byte)
      add(std::string(1, char(byte)));
    for (const char *text :
         {"{\"",  "\":",  "\": ",    "\",",      "\", \"",   "\"}",      "\"]",  "[[",
          "[[[[", "]]",   "]]]]",    "}}",       ", ",       "  ",       "    ", "\n  ",
          "null", "true", "false",   "12",       "0.",       "ab",       "abc",  "name",
          "na",   "a\"",  "a\",\"b", "\xC3\xA9", "\x82\xAC", "\xF0\x9F", "\\n",  "\\u00",
          "\\\"", "d800", "-1",      "1e",       "}]",       "{}",       "[]",   "{\"a\":",
          "],",   "},{",  "\"\"",    "\":\"",    "\xC3",     "e\xCC"})
      add(text);
    for (const char *name : {"[CALL]", "[OTHER]"})
      tokens.push_back({name, {}, false, true});
    tokens.push_back({{}, {}, true});
    return std::make_shared<const Vocabulary>(std::move(tokens));
  }();
  return made;
}
inline int32_t stopToken() { return int32_t(vocabulary()->size()) - 1; }
inline bool allows(const TokenSet &set, int32_t token) {
  return set[size_t(token) / 64] >> (token % 64) & 1;
}

inline std::shared_ptr<const Grammar> compiled(Kind kind, std::string_view text) {
  return std::make_shared<const Grammar>(vocabulary(), kind, text);
}
/// The message with which it is refused; "" if it is not.
inline std::string refusal(Kind kind, std::string_view text) {
  try {
    compiled(kind, text);
  } catch (const Error &error) {
    return error.message;
  }
  return "";
}

/// Whether the text meets the grammar, cut into tokens at random; the masks must say the same.
inline bool meets(const std::shared_ptr<const Grammar> &grammar, std::string_view text,
                  uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  Matcher matcher(grammar);
  TokenSet allowed;
  while (!text.empty()) {
    std::vector<int32_t> fits;
    for (int32_t token = 0; token < stopToken(); ++token)
      if (const std::string &own = vocabulary()->token(token).text;
          !own.empty() && text.starts_with(own))
        fits.push_back(token);
    const int32_t token = fits[random() % fits.size()];
    matcher.mask(allowed);
    const bool may = allows(allowed, token);
    EXPECT_EQ(matcher.accept(token), may) << vocabulary()->token(token).text;
    if (!may)
      return false;
    text.remove_prefix(vocabulary()->token(token).text.size());
  }
  matcher.mask(allowed);
  EXPECT_EQ(allows(allowed, stopToken()), matcher.complete());
  return matcher.complete();
}

/// A text that the masks allow, and how many tokens it took; empty if it did not end in time.
inline std::optional<std::string> written(const std::shared_ptr<const Grammar> &grammar,
                                          uint64_t seed, size_t most = 2000) {
  std::mt19937_64 random(seed);
  Matcher matcher(grammar);
  TokenSet allowed;
  std::string text;
  for (size_t i = 0; i < most && !matcher.done(); ++i) {
    matcher.mask(allowed);
    std::vector<int32_t> may;
    for (int32_t token = 0; token <= stopToken(); ++token)
      if (allows(allowed, token))
        may.push_back(token);
    EXPECT_FALSE(may.empty()) << text;
    if (may.empty())
      return std::nullopt;
    // Ends when it may, and likes quotes and brackets, so that texts stay short.
    int32_t token = may[random() % may.size()];
    for (int32_t wanted : {stopToken(), int32_t('"'), int32_t('}'), int32_t(']')})
      if (allows(allowed, wanted) && random() % 3 == 0)
        token = wanted;
    EXPECT_TRUE(matcher.accept(token)) << text;
    text += vocabulary()->token(token).text;
  }
  return matcher.done() ? std::optional(text) : std::nullopt;
}

} // namespace retort::grammar::test
