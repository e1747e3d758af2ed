//===- fuzz_encode.cpp - Any text through every kind of tokenizer ---------===//
// SPDX-License-Identifier: Apache-2.0
#include "test/unit/Tokenizer/Tiny.h"

// Byte-level, SentencePiece-style BPE and unigram: valid text comes back, streaming gives what
// decoding gives, ids are in range.
namespace {
using namespace retort;

TokenizerSpec characters(TokenizerSpec::Model model) {
  TokenizerSpec s;
  s.model = model;
  s.tokens = {"<unk>"};
  for (int b = 0; b < 256; ++b)
    s.tokens.push_back(tokspec::byteTokenName(uint8_t(b)));
  const std::string space(tokspec::kMetaspace);
  for (const char *piece : {"t", "h", "e", "a", "th", "the", "aa", "aaaa"})
    s.tokens.push_back(piece);
  for (std::string piece : {space, space + "the", space + space})
    s.tokens.push_back(piece);
  s.inModel.assign(s.tokens.size(), true);
  auto id = [&](const std::string &t) {
    return int32_t(std::find(s.tokens.begin(), s.tokens.end(), t) - s.tokens.begin());
  };
  if (model == TokenizerSpec::Model::Bpe)
    for (auto [l, r] : {std::pair<std::string, std::string>{"t", "h"},
                        {"th", "e"},
                        {space, "the"},
                        {"a", "a"},
                        {"aa", "aa"},
                        {space, space}})
      s.merges.push_back({id(l), id(r), id(l + r)});
  else
    for (size_t i = 0; i < s.tokens.size(); ++i)
      s.scores.push_back(-double(i % 7));
  s.normalizers.push_back({NormalizerStep::Replace, " ", space});
  s.byteFallback = s.fuseUnknown = true;
  s.unknown = 0;
  s.decoder.kind = DecoderSpec::SentencePiece;
  s.source = "fuzz";
  return s;
}
} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const test::Compiled kinds[] = {test::Compiled(test::tinyByteLevel()),
                                         test::Compiled(characters(TokenizerSpec::Model::Bpe)),
                                         test::Compiled(characters(TokenizerSpec::Model::Unigram))};
  std::string text(reinterpret_cast<const char *>(data), size);
  for (const test::Compiled &kind : kinds) {
    const Tokenizer &t = kind.tokenizer;
    std::vector<int32_t> ids = t.encode(text, false, false);
    std::string back = t.decode(ids);
    // Broken input was repaired once: what is decoded encodes to itself. Not so where the text
    // spells U+2581, or a byte token, which unigram models (as in tokenizers) take for the token.
    bool spelled =
        text.find("\xE2\x96\x81") != std::string::npos || text.find("<0x") != std::string::npos;
    if (!spelled && t.decode(t.encode(back, false, false)) != back)
      __builtin_trap();
    StreamDecoder stream(t);
    std::string streamed;
    for (int32_t id : ids) {
      if (id < 0 || id >= t.vocabSize())
        __builtin_trap();
      streamed += stream.push(id);
    }
    if (!spelled && streamed + stream.finish() != back)
      __builtin_trap();
    t.encode(text);
  }
  return 0;
}
