//===- Internal.h - What the tokenizer's files share ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Tokenizer/Spec.h"

namespace retort::tokspec {

constexpr std::string_view kMetaspace = "\xE2\x96\x81"; // U+2581
/// The pattern of the ByteLevel pre-tokeniser (GPT-2's).
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

/// GPT-2's letter for a byte, in UTF-8.
std::string alphabetLetter(uint8_t byte);
/// The bytes that a piece in GPT-2's alphabet stands for; none if a letter is not in it.
std::optional<std::string> alphabetBytes(std::string_view piece);
/// The byte of a token <0xNN> (two hexadecimal digits), or -1.
int byteToken(std::string_view token);
/// <0xNN> for a byte.
std::string byteTokenName(uint8_t byte);
/// A text for a message: at most 60 bytes, in quotes, control characters escaped. Other characters
/// than ASCII stay, since tokens are of them.
std::string inQuotes(std::string_view text);

/// Throws Error: ids in range, no duplicates, merges that fit their tokens, bytes complete, sizes.
/// Every reader and every function that takes a spec calls it first.
void validate(const TokenizerSpec &spec);

/// Parts of readTokenizer: a Hugging Face directory, and a tokenizer.json alone.
TokenizerSpec readDirectory(const std::string &path, const ChatSource &chat);
TokenizerSpec readJsonFile(const std::string &path, const ChatSource &chat);

/// Compiles the checkpoint's templates, or that of `source` in their place, for the spec, whose
/// tokens are read: chat, or chatNote. Adds what ends an answer to `stop`.
void setChat(TokenizerSpec &spec, ChatTemplates templates, const ChatSource &source);

/// Adds eos to `stop`, and puts it in order.
void finishStops(TokenizerSpec &spec);

} // namespace retort::tokspec
