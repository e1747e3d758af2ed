//===- Spec.h - A tokenizer as the compiler sees it -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Read from Hugging Face's tokenizer.json (with tokenizer_config.json, generation_config.json and
// the chat template beside it) or from GGUF metadata; checked whole; pruned; compiled to the tables
// that runtime/src/tokenizer walks; written back as tokenizer.json. What is not known exactly is an
// Error (Unsupported) that names it. No MLIR here.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/src/chat/Program.h"
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace retort {

class GgufFile;

/// A token that is matched in the text before the model sees it (tokenizer.json "added_tokens").
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool singleWord = false, lstrip = false, rstrip = false, normalized = false, special = false;
};

struct NormalizerStep {
  enum Kind { Nfc, Prepend, Replace } kind;
  std::string pattern; ///< Replace: a literal
  std::string content; ///< Prepend, Replace
};

enum class SplitBehavior { Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous };
enum class PrependScheme { Always, First, Never };

struct PreTokenizerStep {
  enum Kind { Split, ByteLevel, Digits, Metaspace } kind;
  std::string pattern;  ///< Split
  bool isRegex = false; ///< Split: a regular expression, else a literal
  SplitBehavior behavior = SplitBehavior::Isolated;
  bool invert = false;
  bool addPrefixSpace = false, useRegex = true, trimOffsets = true; ///< ByteLevel
  bool individualDigits = false;                                    ///< Digits
  std::string replacement;                                          ///< Metaspace, one character
  PrependScheme prepend = PrependScheme::Always;                    ///< Metaspace
  bool split = true;                                                ///< Metaspace
};

/// How tokens become text again.
struct DecoderSpec {
  enum Kind {
    ByteLevel,     ///< GPT-2's byte alphabet
    SentencePiece, ///< U+2581 is a space, <0xNN> a byte; `stripSpaces` spaces go from the start
    Metaspace      ///< U+2581 is a space, but in the first token nothing unless prepend is Never
  } kind = ByteLevel;
  int stripSpaces = 0;
  bool byteFallback = false;                     ///< Metaspace: <0xNN> is a byte
  PrependScheme prepend = PrependScheme::Always; ///< Metaspace
};

struct TokenizerSpec {
  enum class Model { Bpe, Unigram };
  Model model = Model::Bpe;
  /// The token with id i, in the ecosystem's spelling (GPT-2 alphabet, or U+2581 and <0xNN>).
  /// Added tokens stand here too.
  std::vector<std::string> tokens;
  /// Whether id i is a piece of the model (added tokens need not be).
  std::vector<bool> inModel;
  std::vector<double> scores; ///< Unigram: log probability by id
  /// BPE: ids of left, right and result, best first. A token stays reachable while both parts of
  /// one of its merges do.
  std::vector<std::array<int32_t, 3>> merges;
  std::vector<AddedToken> added; ///< ascending ids
  std::vector<NormalizerStep> normalizers;
  std::vector<PreTokenizerStep> preTokenizers;
  DecoderSpec decoder;
  bool byteFallback = false, ignoreMerges = false, fuseUnknown = false;
  int32_t unknown = -1;                ///< -1: none
  std::vector<int32_t> prefix, suffix; ///< ids put around a text (TemplateProcessing)
  int32_t bos = -1, eos = -1, pad = -1;
  std::vector<int32_t> stop;         ///< ascending; eos among them
  std::optional<chat::Program> chat; ///< none: the model cannot chat
  std::string chatNote;              ///< why not, if the checkpoint has a template
  std::string source;                ///< for messages: the file it came from

  int32_t vocabSize() const { return static_cast<int32_t>(tokens.size()); }
  bool byteLevel() const { return decoder.kind == DecoderSpec::ByteLevel; }
};

/// The chat templates that a checkpoint has; empty: none.
struct ChatTemplates {
  std::string usual;
  std::string toolUse;        ///< for conversations with tools; empty: the usual one
  bool beginsWithBos = false; ///< the text gets a beginning token if the template writes none
};

/// Where the chat template comes from.
struct ChatSource {
  bool none = false; ///< the model shall not chat
  std::string file;  ///< a Jinja file; empty: the checkpoint's own template, if it has one
};

/// Reads the tokenizer of a checkpoint: a .gguf file, a Hugging Face directory, or a
/// tokenizer.json. Throws Error: Io, BadInput (what is damaged, with the token or key), Unsupported
/// (what is not known). The checkpoint's own template never stops it: chatNote says what is wrong
/// with it; one that was asked for does.
TokenizerSpec readTokenizer(const std::string &path, const ChatSource &chat = {});
TokenizerSpec readTokenizer(const GgufFile &file, const ChatSource &chat = {});
/// From texts, for fuzzing and tests; `config` and `generation` may be empty, and `templates` are those
/// of files beside them.
TokenizerSpec parseTokenizerJson(std::string_view tokenizerJson, std::string_view config,
                                 std::string_view generation, const ChatTemplates &templates,
                                 const std::string &source, const ChatSource &chat = {});

/// The tables of runtime/src/tokenizer/Tokenizer.h (the bundle's tokenizer.bin). Same spec, same
/// bytes.
std::vector<uint8_t> compileTokenizer(const TokenizerSpec &spec);

/// The spec as Hugging Face's tokenizer.json; `tokenizers` gives the same ids with it.
std::string writeTokenizerJson(const TokenizerSpec &spec);

/// Keeps the tokens `keptIds` (ascending); token keptIds[i] gets the id i. Merges stay where both
/// parts and the result are kept. Throws Error (Usage) if an id is out of range, a token of
/// keepAlways' bytes and specials is missing, or a kept token has lost every merge that makes it.
TokenizerSpec pruneVocabulary(const TokenizerSpec &spec, std::span<const int32_t> keptIds);

/// The tokenizer of a model with rows for `rows` tokens. Added tokens beyond them can never be run:
/// they are left out, and `notes` says so. Throws Error (BadInput) for any other token beyond them.
TokenizerSpec fitVocabulary(TokenizerSpec spec, int64_t rows, std::vector<std::string> &notes);

/// Ids that pruning must keep, ascending: bytes, added and special tokens, and what the chat
/// template's own words need, with the parts of their merges.
std::vector<int32_t> keepAlways(const TokenizerSpec &spec);

/// Compiles a chat template (Jinja text) for a tokenizer, whose bos, eos and the like it may name.
/// Throws Error (Unsupported) with the line, or Error (Resources) if it does not end.
chat::Program compileChatTemplate(std::string_view jinja, const TokenizerSpec &spec);

} // namespace retort
