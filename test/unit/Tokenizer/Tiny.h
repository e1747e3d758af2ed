//===- Tiny.h - Tokenizers small enough to reason about ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Tokenizer/Internal.h"
#include "compiler/Tokenizer/Spec.h"
#include "runtime/base/Error.h"
#include "runtime/src/tokenizer/Tokenizer.h"
#include <algorithm>

namespace retort::test {

/// All bytes (ids 0 to 255), merges of "th", "the", " the", "in", and specials.
inline TokenizerSpec tinyByteLevel() {
  TokenizerSpec s;
  for (int b = 0; b < 256; ++b)
    s.tokens.push_back(tokspec::alphabetLetter(uint8_t(b)));
  auto merge = [&](const std::string &left, const std::string &right) {
    auto id = [&](const std::string &t) {
      return int32_t(std::find(s.tokens.begin(), s.tokens.end(), t) - s.tokens.begin());
    };
    s.tokens.push_back(left + right);
    s.merges.push_back({id(left), id(right), int32_t(s.tokens.size()) - 1});
  };
  const std::string space = tokspec::alphabetLetter(' ');
  merge("t", "h");     // 256
  merge("th", "e");    // 257
  merge(space, "the"); // 258
  merge("i", "n");     // 259
  s.inModel.assign(s.tokens.size(), true);
  for (const char *text : {"<s>", "<end>"}) { // 260, 261
    s.added.push_back({int32_t(s.tokens.size()), text, false, false, false, false, true});
    s.tokens.push_back(text);
    s.inModel.push_back(false);
  }
  s.added[1].rstrip = true;
  s.preTokenizers.emplace_back();
  s.preTokenizers.back().kind = PreTokenizerStep::ByteLevel;
  s.decoder.kind = DecoderSpec::ByteLevel;
  s.bos = 260;
  s.eos = 261;
  s.prefix = {260};
  s.stop = {261};
  s.source = "tiny";
  return s;
}

/// A compiled tokenizer with its tables.
struct Compiled {
  explicit Compiled(const TokenizerSpec &spec)
      : bytes(compileTokenizer(spec)), tokenizer(Tokenizer::open(bytes, "tiny")) {}
  std::vector<uint8_t> bytes;
  Tokenizer tokenizer;
};

/// The message of the Error that `f` throws, after its exit code; "" if it throws none.
template <class F> std::string errorOf(F &&f) {
  try {
    f();
  } catch (const Error &error) {
    return std::to_string(int(error.code)) + " " + error.message;
  }
  return "";
}

} // namespace retort::test
