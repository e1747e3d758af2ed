//===- TableFormat.h - The layout of tokenizer.bin --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Written by compiler/Tokenizer/Compile.cpp, mapped and read by Tokenizer. Little-endian. A
// file header, a directory of sections, and the sections, each aligned to 8 bytes.
// docs/tokenizer.md describes each section.
//
//===----------------------------------------------------------------------===//
#pragma once
#include <cstdint>
#include <cstring>
#include <string_view>

namespace retort::tok {

constexpr char kMagic[8] = {'R', 'T', 'O', 'K', 'T', 'B', 'L', '1'};
constexpr uint32_t kVersion = 1;
constexpr uint32_t kNone = 0xFFFFFFFF;

struct FileHeader {
  char magic[8];
  uint32_t version, sections;
  uint64_t bytes; ///< of the whole file
};
struct SectionHeader {
  uint32_t kind, index;
  uint64_t offset, bytes;
};

enum SectionKind : uint32_t {
  kConfig = 1,
  kTokenOffsets,      ///< u32[vocab + 1] into kTokenBytes
  kTokenBytes,        ///< what each token decodes to when it is not the first
  kPieceOffsets,      ///< u32[vocab + 1] into kPieceBytes; absent for byte-level vocabularies
  kPieceBytes,        ///< the model's own spelling of each token
  kTokenFlags,        ///< u8[vocab]: TokenFlag
  kStopIds,           ///< i32[], ascending
  kPrefixIds,         ///< i32[]
  kSuffixIds,         ///< i32[]
  kNormalizerSteps,   ///< NormalizerStep[]
  kPreTokenizerSteps, ///< PreTokenizerStep[]
  kStrings,           ///< the texts that steps name
  kByteIds,           ///< i32[256]: byte-level: the token of each byte; else of <0xNN>; -1: none
  kCharIds,           ///< BPE over characters: CharSlot[], open addressing
  kMerges,            ///< MergeSlot[], open addressing
  kWords,             ///< u32[], open addressing: tokens that encode as themselves, by their piece
  kBigrams,   ///< u64[], open addressing: pairs of characters that stand together in a token
  kPieceTrie, ///< a trie over the pieces (unigram)
  kPieceTrieEdges,
  kScores,         ///< f64[vocab] (unigram)
  kAddedTrie,      ///< tries over added tokens: index 0 in the raw text, 1 in the normalised text,
  kAddedTrieEdges, ///< 2 in the raw text where only trusted ranges hold special tokens
  kAutomaton,      ///< AutomatonHeader and tables; index = number in PreTokenizerStep
  kNfcIndex,       ///< two-stage table of code points to NfcRecord
  kNfcRecords,
  kNfcDecomposed, ///< u32[] code points
  kNfcPairs,      ///< NfcPair[], open addressing
  kWordClass,     ///< two-stage table: 1 for \w (only if an added token stands for single words)
  kSectionKinds
};

enum Model : uint32_t { kBpe, kUnigram };
enum ConfigFlag : uint32_t {
  kByteLevel = 1, ///< BPE starts from bytes
  kByteFallback = 2,
  kIgnoreMerges = 4,
  kFuseUnknown = 8,
  kAddsBos = 16,
  kDecodeBytes = 32,    ///< decode() treats byte tokens in runs, as HF's ByteFallback does
  kDecodeFirstBare = 64 ///< the first token loses its U+2581 (Metaspace)
};
enum TokenFlag : uint8_t {
  kSpecial = 1,
  kAdded = 2,
  kByte = 4, ///< <0xNN>
  kInModel = 8,
  kLstrip = 16,
  kRstrip = 32,
  kSingleWord = 64
};

/// The number of probes that finds any entry of an open-addressing table is in the config.
struct Config {
  uint32_t vocab, model, flags, stripSpaces;
  int32_t unknown, bos, eos, pad;
  uint32_t charProbes, mergeProbes, wordProbes, bigramProbes, nfcProbes;
  uint32_t longestPiece; ///< bytes
  double unknownScore;   ///< unigram
};

struct NormalizerStep {
  uint32_t kind;                                         ///< 0 NFC, 1 prepend, 2 replace
  uint32_t pattern, patternBytes, content, contentBytes; ///< in kStrings
};
struct PreTokenizerStep {
  uint32_t kind;      ///< 0 split, 1 prefix with `text`, 2 replace ' ' by `text`
  uint32_t automaton; ///< split
  uint32_t behavior;  ///< split: retort::SplitBehavior
  uint32_t invert;    ///< split
  uint32_t unless;    ///< prefix: 0 always, 1 only at the start of the whole text
  uint32_t text, textBytes;
};

struct MergeSlot {
  uint32_t left, right, rank, result; ///< left = kNone: empty
};
struct CharSlot {
  uint32_t code, id; ///< code = kNone: empty
};
struct TrieNode {
  uint32_t first, count; ///< of its edges, ascending by label
  uint32_t value;        ///< kNone: no entry ends here
};
struct TrieEdge {
  uint32_t label, target;
};
struct AutomatonHeader {
  uint32_t classes, states, start, blocks;
  // then: a two-stage table (blocks * 128 classes), and u16 next[states][classes + 1]
};
/// A two-stage table: u16 index[kStageOne], then u8 values[blocks][128].
constexpr uint32_t kStageOne = 0x110000 / 128;

struct NfcRecord {
  uint32_t decomposed; ///< into kNfcDecomposed
  uint8_t length;      ///< 0: itself
  uint8_t combiningClass;
  uint8_t mayCompose; ///< may join with what stands before it
  uint8_t inert;      ///< nothing at all happens to it
};
struct NfcPair {
  uint32_t first, second, composed; ///< first = kNone: empty
};

inline uint64_t hash64(uint64_t key) {
  key ^= key >> 32;
  key *= 0x9E3779B97F4A7C15ull;
  key ^= key >> 29;
  key *= 0xBF58476D1CE4E5B9ull;
  return key ^ key >> 32;
}
inline uint64_t hashPair(uint32_t a, uint32_t b) { return hash64(uint64_t(a) << 32 | b); }
inline uint64_t hashBytes(std::string_view bytes) {
  uint64_t h = 0xCBF29CE484222325ull ^ bytes.size();
  size_t i = 0;
  for (; i + 8 <= bytes.size(); i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes.data() + i, 8);
    h = hash64(h ^ word);
  }
  uint64_t word = 0;
  std::memcpy(&word, bytes.data() + i, bytes.size() - i);
  return hash64(h ^ word);
}

} // namespace retort::tok
