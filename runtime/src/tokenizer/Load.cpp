//===- Load.cpp - Opening and checking tokenizer.bin ----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/Error.h"
#include "runtime/base/Utf8.h"
#include "runtime/src/tokenizer/Tables.h"
#include <bit>

namespace retort {
using namespace tok;

namespace {

class Loader {
public:
  Loader(std::span<const uint8_t> file, Tokenizer::Tables &tables) : file_(file), t_(tables) {}

  void run() {
    directory();
    auto config = section<Config>(kConfig);
    need(config.size() == 1, "the configuration has the wrong size");
    t_.config = config[0];
    checkConfig();
    tokens();
    steps();
    model();
    addedTokens();
    normalisation();
  }

private:
  [[noreturn]] void refuse(const std::string &what) const {
    fail(ExitCode::BadInput, t_.name + ": tokenizer tables: " + what + ": make the bundle again");
  }
  void need(bool condition, const char *what) const {
    if (!condition)
      refuse(what);
  }

  void directory() {
    need(reinterpret_cast<uintptr_t>(file_.data()) % 8 == 0,
         "they do not start at a multiple of 8");
    FileHeader header;
    need(file_.size() >= sizeof header, "shorter than their header");
    std::memcpy(&header, file_.data(), sizeof header);
    need(std::memcmp(header.magic, kMagic, 8) == 0, "they do not start with RTOKTBL1");
    need(header.version == kVersion, "a version that this runtime does not know");
    need(header.bytes == file_.size(), "the file has another length than its header says");
    need(header.sections <= 256, "more than 256 sections");
    need(file_.size() - sizeof header >= header.sections * sizeof(SectionHeader),
         "shorter than their directory");
    sections_ = {reinterpret_cast<const SectionHeader *>(file_.data() + sizeof header),
                 header.sections};
    for (const SectionHeader &s : sections_)
      if (s.offset % 8 || s.offset > file_.size() || s.bytes > file_.size() - s.offset)
        refuse("section " + std::to_string(s.kind) + " lies outside the file");
  }

  template <class T> std::span<const T> section(uint32_t kind, uint32_t index = 0) const {
    for (const SectionHeader &s : sections_)
      if (s.kind == kind && s.index == index) {
        if (s.bytes % sizeof(T))
          refuse("section " + std::to_string(kind) + " has a broken last entry");
        return {reinterpret_cast<const T *>(file_.data() + s.offset), s.bytes / sizeof(T)};
      }
    return {};
  }
  /// An open-addressing table: a power of two of slots, or none.
  template <class T> std::span<const T> table(uint32_t kind) const {
    auto slots = section<T>(kind);
    need(slots.empty() || std::has_single_bit(slots.size()),
         "a hash table's size is no power of two");
    return slots;
  }

  void checkConfig() const {
    const Config &c = t_.config;
    need(c.vocab > 0 && c.vocab <= 1u << 24, "the vocabulary's size is out of range");
    need(c.model <= kUnigram, "an unknown kind of model");
    need(c.stripSpaces <= 1, "more spaces to strip than one");
    for (uint32_t probes : {c.charProbes, c.mergeProbes, c.wordProbes, c.bigramProbes, c.nfcProbes})
      need(probes <= 4096, "a hash table with too long a search");
    for (int32_t id : {c.unknown, c.bos, c.eos, c.pad})
      need(id >= -1 && id < int32_t(c.vocab), "a special token's id is out of range");
  }

  std::span<const int32_t> ids(uint32_t kind) const {
    auto list = section<int32_t>(kind);
    for (int32_t id : list)
      need(t_.inRange(id), "a listed id is out of range");
    return list;
  }

  void tokens() {
    size_t vocab = t_.config.vocab;
    t_.tokenOffsets = section<uint32_t>(kTokenOffsets);
    t_.tokenBytes = section<char>(kTokenBytes);
    t_.pieceOffsets = section<uint32_t>(kPieceOffsets);
    t_.pieceBytes = section<char>(kPieceBytes);
    t_.flags = section<uint8_t>(kTokenFlags);
    need(t_.tokenOffsets.size() == vocab + 1, "the token offsets do not fit the vocabulary");
    need(t_.flags.size() == vocab, "the token flags do not fit the vocabulary");
    need(t_.has(kByteLevel) ? t_.pieceOffsets.empty() : t_.pieceOffsets.size() == vocab + 1,
         "the piece offsets do not fit the vocabulary");
    t_.stop = ids(kStopIds);
    t_.prefix = ids(kPrefixIds);
    t_.suffix = ids(kSuffixIds);
  }

  void checkText(uint32_t at, uint32_t bytes) const {
    need(at <= t_.strings.size() && bytes <= t_.strings.size() - at,
         "a step's text is out of range");
    need(validPrefix(t_.string(at, bytes)) == bytes, "a step's text is not UTF-8");
  }

  void steps() {
    t_.strings = section<char>(kStrings);
    t_.normalizers = section<NormalizerStep>(kNormalizerSteps);
    t_.preTokenizers = section<PreTokenizerStep>(kPreTokenizerSteps);
    need(t_.normalizers.size() <= 64 && t_.preTokenizers.size() <= 64, "more than 64 steps");
    for (const NormalizerStep &s : t_.normalizers) {
      need(s.kind <= 2, "an unknown normaliser");
      checkText(s.pattern, s.patternBytes);
      checkText(s.content, s.contentBytes);
      need(s.kind != 2 || s.patternBytes > 0, "a normaliser replaces the empty text");
    }
    for (const PreTokenizerStep &s : t_.preTokenizers) {
      need(s.kind <= 2 && s.behavior <= 4, "an unknown pre-tokeniser");
      checkText(s.text, s.textBytes);
      if (s.kind != 0)
        continue;
      need(s.automaton <= t_.automata.size(), "the automata are out of order");
      if (s.automaton == t_.automata.size())
        t_.automata.push_back(automaton(s.automaton));
    }
  }

  /// Checks a two-stage table at the start of `bytes` and takes it off.
  CodeTable codeTable(std::span<const uint8_t> &bytes, size_t blocks, uint32_t values) const {
    need(blocks <= kStageOne && bytes.size() >= kStageOne * 2 + blocks * 128,
         "a table of code points is too short");
    CodeTable table{reinterpret_cast<const uint16_t *>(bytes.data()), bytes.data() + kStageOne * 2};
    for (uint32_t i = 0; i < kStageOne; ++i)
      need(table.index[i] < blocks, "a table of code points is broken");
    for (size_t i = 0; i < blocks * 128; ++i)
      need(table.values[i] < values, "a table of code points holds a value out of range");
    bytes = bytes.subspan(kStageOne * 2 + blocks * 128);
    return table;
  }

  AutomatonView automaton(uint32_t index) const {
    auto bytes = section<uint8_t>(kAutomaton, index);
    need(bytes.size() >= sizeof(AutomatonHeader), "an automaton is missing");
    AutomatonHeader header;
    std::memcpy(&header, bytes.data(), sizeof header);
    bytes = bytes.subspan(sizeof header);
    need(header.classes > 0 && header.classes <= 255 && header.states > 0 &&
             header.states <= 0x7FFF && header.start < header.states,
         "an automaton's size is out of range");
    AutomatonView view;
    view.classOf = codeTable(bytes, header.blocks, header.classes);
    view.width = header.classes + 1;
    view.start = header.start;
    size_t entries = size_t(header.states) * view.width;
    need(bytes.size() >= entries * 2, "an automaton is too short");
    view.next = reinterpret_cast<const uint16_t *>(bytes.data());
    for (size_t i = 0; i < entries; ++i)
      need((view.next[i] & 0x7FFF) < header.states, "an automaton's state is out of range");
    for (int c = 0; c < 128; ++c)
      view.asciiClass[c] = view.classOf[c];
    return view;
  }

  Trie trie(uint32_t nodes, uint32_t edges, uint32_t index) const {
    return {section<TrieNode>(nodes, index), section<TrieEdge>(edges, index)};
  }

  void model() {
    t_.byteIds = section<int32_t>(kByteIds);
    need(t_.byteIds.size() == 256, "the byte tokens are missing");
    for (int32_t id : t_.byteIds)
      need(id >= (t_.has(kByteFallback) ? 0 : -1) && id < int32_t(t_.config.vocab),
           "a byte token's id is out of range");
    t_.chars = table<CharSlot>(kCharIds);
    t_.merges = table<MergeSlot>(kMerges);
    t_.words = table<uint32_t>(kWords);
    t_.bigrams = table<uint64_t>(kBigrams);
    t_.scores = section<double>(kScores);
    t_.pieces = trie(kPieceTrie, kPieceTrieEdges, 0);
    if (t_.config.model == kUnigram) {
      need(t_.scores.size() == t_.config.vocab, "the scores do not fit the vocabulary");
      need(!t_.pieces.nodes.empty() && t_.config.unknown >= 0, "the unigram tables are missing");
    }
  }

  void addedTokens() {
    for (uint32_t i = 0; i < 3; ++i)
      t_.added[i] = trie(kAddedTrie, kAddedTrieEdges, i);
    auto bytes = section<uint8_t>(kWordClass);
    if (!bytes.empty()) {
      need(bytes.size() >= kStageOne * 2, "a table of code points is too short");
      t_.wordClass = codeTable(bytes, (bytes.size() - kStageOne * 2) / 128, 2);
    }
    for (size_t i = 0; i < t_.flags.size(); ++i)
      need(!(t_.flags[i] & kSingleWord) || t_.wordClass.index,
           "the table of word characters is missing");
  }

  void normalisation() {
    t_.nfcIndex = section<uint16_t>(kNfcIndex);
    t_.nfcRecords = section<NfcRecord>(kNfcRecords);
    t_.nfcDecomposed = section<uint32_t>(kNfcDecomposed);
    t_.nfcPairs = table<NfcPair>(kNfcPairs);
    bool wanted = false;
    for (const NormalizerStep &s : t_.normalizers)
      wanted |= s.kind == 0;
    if (!wanted)
      return;
    need(t_.nfcIndex.size() >= kStageOne, "the normalisation tables are missing");
    size_t blocks = (t_.nfcIndex.size() - kStageOne) / 128;
    for (size_t i = 0; i < kStageOne + blocks * 128; ++i)
      need(t_.nfcIndex[i] < (i < kStageOne ? blocks : t_.nfcRecords.size()),
           "a normalisation index is out of range");
    for (const NfcRecord &r : t_.nfcRecords)
      need(r.decomposed <= t_.nfcDecomposed.size() &&
               r.length <= t_.nfcDecomposed.size() - r.decomposed,
           "a decomposition is out of range");
    for (uint32_t code : t_.nfcDecomposed)
      need(code < 0x110000, "a decomposition holds no code point");
    for (const NfcPair &p : t_.nfcPairs)
      need(p.first == kNone || p.composed < 0x110000, "a composition is no code point");
  }

  std::span<const uint8_t> file_;
  Tokenizer::Tables &t_;
  std::span<const SectionHeader> sections_;
};

std::string_view slice(std::span<const uint32_t> offsets, std::span<const char> bytes,
                       uint32_t id) {
  uint32_t begin = offsets[id], end = offsets[id + 1];
  if (begin > end || end > bytes.size())
    return {};
  return {bytes.data() + begin, end - begin};
}

} // namespace

Tokenizer Tokenizer::open(std::span<const uint8_t> bytes, std::string name) {
  auto tables = std::make_unique<Tables>();
  tables->name = std::move(name);
  Loader(bytes, *tables).run();
  return Tokenizer(std::move(tables));
}

std::string_view Tokenizer::Tables::bytesOf(uint32_t id) const {
  return slice(tokenOffsets, tokenBytes, id);
}
std::string_view Tokenizer::Tables::pieceOf(uint32_t id) const {
  return pieceOffsets.empty() ? bytesOf(id) : slice(pieceOffsets, pieceBytes, id);
}

const MergeSlot *Tokenizer::Tables::merge(uint32_t left, uint32_t right) const {
  if (merges.empty())
    return nullptr;
  uint64_t at = hashPair(left, right);
  for (uint32_t probe = 0; probe <= config.mergeProbes; ++probe, ++at) {
    const MergeSlot &slot = merges[at & (merges.size() - 1)];
    if (slot.left == left && slot.right == right)
      return inRange(slot.result) ? &slot : nullptr;
    if (slot.left == kNone)
      return nullptr;
  }
  return nullptr;
}

int32_t Tokenizer::Tables::charId(uint32_t code) const {
  if (chars.empty())
    return -1;
  uint64_t at = hash64(code);
  for (uint32_t probe = 0; probe <= config.charProbes; ++probe, ++at) {
    const CharSlot &slot = chars[at & (chars.size() - 1)];
    if (slot.code == code)
      return inRange(slot.id) ? int32_t(slot.id) : -1;
    if (slot.code == kNone)
      return -1;
  }
  return -1;
}

int32_t Tokenizer::Tables::word(std::string_view piece) const {
  if (words.empty())
    return -1;
  uint64_t at = hashBytes(piece);
  for (uint32_t probe = 0; probe <= config.wordProbes; ++probe, ++at) {
    uint32_t id = words[at & (words.size() - 1)];
    if (!inRange(id))
      return -1;
    if (pieceOf(id) == piece)
      return int32_t(id);
  }
  return -1;
}

bool Tokenizer::Tables::bigram(uint32_t first, uint32_t second) const {
  uint64_t key = (uint64_t(first) << 21 | second) + 1;
  uint64_t at = hash64(key);
  for (uint32_t probe = 0; probe <= config.bigramProbes; ++probe, ++at) {
    uint64_t slot = bigrams[at & (bigrams.size() - 1)];
    if (slot == key)
      return true;
    if (slot == 0)
      return false;
  }
  return false;
}

uint32_t Trie::child(uint32_t node, uint8_t label) const {
  const TrieNode &n = nodes[node];
  if (n.first > edges.size() || n.count > edges.size() - n.first)
    return kNone;
  const TrieEdge *low = edges.data() + n.first, *end = low + n.count;
  for (uint32_t count = n.count; count > 0;) {
    uint32_t half = count / 2;
    if (low[half].label < label) {
      low += half + 1;
      count -= half + 1;
    } else {
      count = half;
    }
  }
  return low != end && low->label == label && low->target < nodes.size() ? low->target : kNone;
}

} // namespace retort
