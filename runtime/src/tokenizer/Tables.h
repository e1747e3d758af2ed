//===- Tables.h - tokenizer.bin, opened -------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Views into the mapped file. Small tables are checked whole when they are opened; the large ones
// (merges, words, tries, offsets) are checked as they are walked, so that opening stays quick:
// every index and id read from them is compared with its bound before it is used.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/src/tokenizer/TableFormat.h"
#include "runtime/src/tokenizer/Tokenizer.h"

namespace retort {
namespace tok {

/// A two-stage table of a small value for each code point.
struct CodeTable {
  const uint16_t *index = nullptr;
  const uint8_t *values = nullptr;
  uint8_t operator[](uint32_t code) const { return values[index[code >> 7] * 128 + (code & 127)]; }
};

struct AutomatonView {
  CodeTable classOf;
  uint8_t asciiClass[128];
  const uint16_t *next = nullptr;
  uint32_t width = 0; ///< classes + 1
  uint32_t start = 0;
};

struct Trie {
  std::span<const TrieNode> nodes;
  std::span<const TrieEdge> edges;
  /// The child of `node` by a byte, or kNone.
  uint32_t child(uint32_t node, uint8_t label) const;
};

} // namespace tok

struct Tokenizer::Tables {
  std::string name;
  tok::Config config;
  std::span<const uint32_t> tokenOffsets, pieceOffsets;
  std::span<const char> tokenBytes, pieceBytes, strings;
  std::span<const uint8_t> flags;
  std::span<const int32_t> stop, prefix, suffix, byteIds;
  std::span<const tok::NormalizerStep> normalizers;
  std::span<const tok::PreTokenizerStep> preTokenizers;
  std::span<const tok::CharSlot> chars;
  std::span<const tok::MergeSlot> merges;
  std::span<const uint32_t> words;
  std::span<const uint64_t> bigrams;
  std::span<const double> scores;
  tok::Trie pieces, added[3];
  std::vector<tok::AutomatonView> automata;
  tok::CodeTable wordClass;
  std::span<const uint16_t> nfcIndex; ///< stage one, then blocks of 128 record numbers
  std::span<const tok::NfcRecord> nfcRecords;
  std::span<const uint32_t> nfcDecomposed;
  std::span<const tok::NfcPair> nfcPairs;

  bool has(uint32_t flag) const { return config.flags & flag; }
  bool inRange(int64_t id) const { return id >= 0 && id < int64_t(config.vocab); }
  std::string_view string(uint32_t at, uint32_t bytes) const {
    return {strings.data() + at, bytes};
  }
  std::string_view bytesOf(uint32_t id) const; ///< what it decodes to
  std::string_view pieceOf(uint32_t id) const; ///< the model's spelling
  /// The merge of two tokens, or null.
  const tok::MergeSlot *merge(uint32_t left, uint32_t right) const;
  int32_t charId(uint32_t code) const;
  /// A whole piece that encodes as itself (or any piece with ignore_merges), or -1.
  int32_t word(std::string_view piece) const;
  bool bigram(uint32_t first, uint32_t second) const;
};

namespace tok {
using Tables = Tokenizer::Tables;
}
} // namespace retort
