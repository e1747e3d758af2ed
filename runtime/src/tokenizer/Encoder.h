//===- Encoder.h - One call of encode() -------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// The stages of Hugging Face `tokenizers`, in its order: added tokens in the raw text, normalisers,
// added tokens in the normalised text, pre-tokenisers, the model.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/src/tokenizer/Tables.h"
#include <map>

namespace retort::tok {

struct Range {
  size_t begin, end;
};

/// Finds matches of an automaton in a text of valid UTF-8. Linear in the text for any automaton:
/// what long scans found to lead nowhere is remembered (after Reps, "Maximal-Munch Tokenization in
/// Linear Time", TOPLAS 1998).
class Scanner {
public:
  Scanner(const AutomatonView &automaton, std::string_view text) : a_(automaton), text_(text) {}
  /// The end of the match that starts at `begin`, or npos.
  size_t match(size_t begin);

private:
  /// Goes on where match() has passed kQuick characters without a match; false when all is lost.
  bool longScan(size_t &at, uint32_t &state, size_t &last);
  bool futile(uint32_t state, size_t at) const;
  uint32_t entryAt(size_t at, uint32_t state, size_t &after) const;

  const AutomatonView &a_;
  std::string_view text_;
  std::map<std::pair<uint32_t, size_t>, size_t>
      futile_; ///< (state, begin) -> end of a run of places
  std::vector<std::pair<uint32_t, Range>> path_;
};

/// Merges symbols by rank; keeps its buffers from word to word.
class BpeModel {
public:
  BpeModel(const Tables &tables, std::vector<int32_t> &out) : t_(tables), out_(out) {}
  void encode(std::string_view piece);

private:
  struct CacheEntry {
    uint8_t keyBytes = 0, count = 0;
    char key[22];
    int32_t ids[6];
  };
  void encodeWord(std::string_view word);
  void symbols(std::string_view word);
  void mergeShort();
  void mergeLong();
  void pushPair(size_t left, size_t right);

  const Tables &t_;
  std::vector<int32_t> &out_;
  std::vector<uint32_t> ids_, ranks_, previous_, next_;
  std::vector<uint64_t> heap_;
  std::vector<CacheEntry> cache_;
  size_t words_ = 0;
};

/// The best path through the pieces (Kudo, arXiv:1804.10959), by Viterbi.
class UnigramModel {
public:
  UnigramModel(const Tables &tables, std::vector<int32_t> &out) : t_(tables), out_(out) {}
  void encode(std::string_view piece);

private:
  struct Best {
    double score;
    uint32_t start, id; ///< start = kNone: not reached
  };
  void emitUnknown(std::string_view run);
  const Tables &t_;
  std::vector<int32_t> &out_;
  std::vector<Best> best_;
  std::vector<std::pair<uint32_t, Range>> pieces_;
};

/// Unicode's canonical composition (NFC), or `text` itself where it is in that form.
std::string_view composeNfc(const Tables &tables, std::string_view text, std::string &buffer);

class Encoder {
public:
  Encoder(const Tables &tables, const EncodeOptions &options, std::vector<int32_t> &out);
  void run(std::string_view text);
  /// The text after the normalisers, for compiling added tokens.
  std::string_view normalise(std::string_view text);

private:
  struct Found {
    Range range;
    uint32_t id;
  };
  std::string_view repair(std::string_view text);
  bool nextAdded(const Trie &trie, std::string_view text, size_t from, Found &found) const;
  bool isTrusted(const Found &found, bool raw) const;
  bool mayMatch(const Found &found, std::string_view text) const;
  template <class F> void splitAdded(unsigned which, std::string_view text, F &&onText);
  void segment(std::string_view text, bool atStart);
  void preTokenise(std::string_view text, bool atStart);
  void split(const PreTokenizerStep &step, std::string_view text);
  void splitRange(const PreTokenizerStep &step, Scanner &scanner, std::string_view text,
                  Range range);
  std::string_view rewrite(const PreTokenizerStep &step, std::string_view text, bool atStart);
  void model(std::string_view piece);

  const Tables &t_;
  EncodeOptions options_;
  std::vector<int32_t> &out_;
  BpeModel bpe_;
  UnigramModel unigram_;
  std::string repaired_, normalised_[2], rewritten_[2];
  std::vector<std::pair<size_t, size_t>> trusted_, answers_;
  std::vector<Range> ranges_, nextRanges_;
  std::vector<std::pair<Range, bool>> matches_;
};

} // namespace retort::tok
