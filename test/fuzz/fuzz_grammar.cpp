//===- fuzz_grammar.cpp - Schemas, patterns and the texts they allow ------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/Error.h"
#include "runtime/src/grammar/Grammar.h"
#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

using namespace retort;
using namespace retort::grammar;

static std::shared_ptr<const Vocabulary> makeVocabulary() {
  std::vector<Vocabulary::Token> tokens;
  for (int byte = 0; byte < 256; ++byte)
    tokens.push_back({std::string(1, char(byte)), std::string(1, char(byte)), false});
  for (const char *text :
       {"{\"", "\": ", "\",\"", "[[[", "]]", "}}", "12", "ab", "\xC3\xA9", "\\u00", "  "})
    tokens.push_back({text, text, false});
  tokens.push_back({{}, {}, true});
  tokens.push_back({"<s>", {}, false, true});
  return std::make_shared<const Vocabulary>(std::move(tokens));
}

/// The first byte says what the text up to a NUL is, the rest which of the tokens that are allowed follow.
/// What is refused is so in one line; a mask is never empty before the end and holds what is accepted; a
/// schema's whole text is JSON.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const std::shared_ptr<const Vocabulary> vocabulary = makeVocabulary();
  const auto check = [](bool good) {
    if (!good)
      std::abort();
  };
  if (size == 0)
    return 0;
  const std::string_view all(reinterpret_cast<const char *>(data + 1), size - 1);
  const size_t end = std::min(all.find('\0'), all.size());
  const Kind kind = Kind(data[0] % 4);
  std::shared_ptr<const Grammar> grammar;
  try {
    grammar = std::make_shared<const Grammar>(vocabulary, kind, all.substr(0, end));
  } catch (const Error &error) {
    check(!error.message.empty() && error.message.find('\n') == std::string::npos);
    check(error.code != ExitCode::Internal);
    return 0;
  }
  Matcher matcher(grammar);
  TokenSet allowed;
  std::string text;
  for (size_t i = end + 1; i < std::min(all.size(), end + 200) && !matcher.done(); ++i) {
    matcher.mask(allowed);
    const int32_t first = uint8_t(all[i]), count = int32_t(vocabulary->size());
    int32_t token = first;
    for (int32_t tried = 0; tried < count; ++tried, token = (token + 1) % count)
      if (allowed[size_t(token) / 64] >> (token % 64) & 1)
        break;
    check(allowed[size_t(token) / 64] >> (token % 64) & 1);
    Matcher copy = matcher;
    check(copy.accept(first) == bool(allowed[size_t(first) / 64] >> (first % 64) & 1));
    check(matcher.accept(token));
    text += vocabulary->token(token).text;
  }
  if (kind == Kind::JsonSchema && matcher.complete())
    check(nlohmann::json::accept(text));
  return 0;
}
