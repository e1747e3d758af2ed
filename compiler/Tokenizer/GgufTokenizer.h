//===- GgufTokenizer.h - The tokenizer in GGUF's metadata -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Tokenizer/Spec.h"

namespace retort {

/// The keys tokenizer.* of a GGUF file, read but not yet checked. Views point into the file.
struct GgufTokenizer {
  std::string model; ///< tokenizer.ggml.model: gpt2, llama or t5
  std::string pre;   ///< tokenizer.ggml.pre
  std::vector<std::string_view> tokens, merges;
  std::vector<float> scores;
  std::vector<int32_t> types; ///< 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
  std::optional<uint64_t> bos, eos, unknown, pad, eot;
  std::optional<bool> addBos, addEos, addSpacePrefix;
  bool charsMap = false; ///< a precompiled normaliser is there
  std::string chatTemplate, toolUseTemplate;
  ChatSource chat;
};

/// What a GGUF file says of a byte-level tokenizer.
struct WrittenGgufTokenizer {
  std::string model, pre;
  std::vector<std::string> tokens, merges;
  std::vector<int32_t> types;
};

/// The inverse of the next: `rows` tokens, those beyond the tokenizer's unused. Throws Error (Unsupported)
/// for a tokenizer that is not byte-level, or whose pre-tokeniser GGUF has no name for.
WrittenGgufTokenizer ggufTokenizerOf(const TokenizerSpec &spec, int64_t rows);

/// What Hugging Face's converted tokenizer.json would say. Throws Error.
TokenizerSpec tokenizerFromGguf(const GgufTokenizer &gguf, const std::string &source);

} // namespace retort
