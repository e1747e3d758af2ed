//===- Tokenizer.h - Text to token ids and back -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Walks the tables that compileTokenizer (compiler/Tokenizer/Spec.h) made; it has no regular
// expressions, no recursion and no model names. The ids are those of Hugging Face `tokenizers` for
// the same tokenizer.json. docs/tokenizer.md is the manual.
//
//===----------------------------------------------------------------------===//
#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace retort {

/// How encode() treats a text.
struct EncodeOptions {
  /// Adds what the model wants around a text (usually a beginning token). Off for rendered chats:
  /// those hold it already.
  bool addSpecial = true;
  /// Special tokens written out in the text ("<|im_end|>") become their ids. Switch it off for text
  /// from users, or say with `trusted` where they may stand.
  bool parseSpecial = true;
  /// Byte ranges [begin, end) of the text, ascending and disjoint: if not empty, a special token is
  /// recognised only inside one of them, and parseSpecial is not looked at.
  std::span<const std::pair<size_t, size_t>> trusted = {};
  /// With `trusted`: added tokens, ascending, that are not special but are recognised only inside
  /// one of the ranges `answers`, which are like those of `trusted`. (Not those that are matched in
  /// normalised text.)
  std::span<const int32_t> markers = {};
  std::span<const std::pair<size_t, size_t>> answers = {};
};

/// A tokenizer over a table file (tokenizer.bin). Immutable: any number of threads may share one.
class Tokenizer {
public:
  /// Checks the tables and keeps pointing into `bytes`, which must outlive the object and be
  /// aligned to 8 bytes. `name` is used in messages. Throws Error (BadInput) that names the section
  /// that is wrong. Takes well under 10 ms: it reads headers and the small tables only.
  static Tokenizer open(std::span<const uint8_t> bytes, std::string name);
  Tokenizer(Tokenizer &&) noexcept;
  Tokenizer &operator=(Tokenizer &&) noexcept;
  ~Tokenizer();

  /// Appends the ids of `text` to `ids`. Bytes that are not UTF-8 count as U+FFFD, one for each
  /// maximal broken part (the WHATWG rule; Python's errors="replace"). O(n log n) in the text's
  /// bytes.
  void encode(std::string_view text, const EncodeOptions &options, std::vector<int32_t> &ids) const;
  std::vector<int32_t> encode(std::string_view text, bool addSpecial = true,
                              bool parseSpecial = true) const;

  /// The text of `ids`; what is not UTF-8 in it becomes U+FFFD. Ids out of range are left out, and
  /// special tokens too unless `skipSpecial` is false.
  std::string decode(std::span<const int32_t> ids, bool skipSpecial = true) const;

  /// The bytes that a token adds to a text when it is not the first one: perhaps a part of a
  /// character. Empty for ids out of range. A view into the tables.
  std::string_view tokenBytes(int32_t id) const;
  /// The bytes that a token adds when it is the first one.
  std::string firstTokenBytes(int32_t id) const;
  /// It stands for no text: decode() leaves it out.
  bool isSpecial(int32_t id) const;
  /// The id of a special or added token by its exact text, or -1.
  int32_t specialId(std::string_view content) const;

  /// Ids are 0 to vocabSize() - 1. The model may have more logits than that (padding).
  int32_t vocabSize() const;
  int32_t bos() const;  ///< -1 if the model has none
  int32_t eos() const;  ///< -1 if the model has none
  bool addsBos() const; ///< encode(addSpecial) puts bos() first
  /// Ids that end a turn or a text, eos() among them; ascending.
  std::span<const int32_t> stopIds() const;
  bool isStop(int32_t id) const;

  struct Tables; ///< the opened file (Tables.h), for this folder's own code
  const Tables &tables() const { return *tables_; }

private:
  explicit Tokenizer(std::unique_ptr<Tables> tables);
  std::unique_ptr<Tables> tables_;
};

/// Turns ids into text one at a time: push() returns only whole characters and keeps the rest.
/// The pieces joined are decode() of all ids (but for byte tokens that are never completed, which
/// come out as one U+FFFD for each maximal broken part). One thread at a time.
class StreamDecoder {
public:
  explicit StreamDecoder(const Tokenizer &tokenizer, bool skipSpecial = true)
      : tokenizer_(&tokenizer), skipSpecial_(skipSpecial) {}
  /// The text goes on after these tokens: it does not begin with the next one, unless the last of these
  /// stands for no text. Decoders that leave out a text's first space then keep it.
  void follow(std::span<const int32_t> ids);
  /// Special tokens whose names the text holds, though others are left out.
  void show(std::vector<int32_t> ids) { shown_ = std::move(ids); }
  /// The text that is complete after this token; may be empty.
  std::string push(int32_t id);
  /// What is left at the end, U+FFFD for each broken part, and starts anew.
  std::string finish();

private:
  const Tokenizer *tokenizer_;
  bool skipSpecial_;
  bool first_ = true;
  std::string pending_;
  std::vector<int32_t> shown_;
};

} // namespace retort
