//===- Compile.cpp - From a spec to tokenizer.bin -------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Tokenizer/Internal.h"
#include "compiler/Tokenizer/Regex.h"
#include "runtime/base/Error.h"
#include "runtime/base/Utf8.h"
#include "runtime/src/tokenizer/Encoder.h"
#include "runtime/src/tokenizer/TableFormat.h"
#include <algorithm>
#include <limits>
#include <map>
#include <set>

namespace retort {
namespace {
using namespace tok;
using namespace tokspec;

/// Puts entries into an open-addressing table of a power of two of slots, at most half full, and
/// says how many steps the longest search takes.
template <class T, class Hash>
std::pair<std::vector<T>, uint32_t> hashTable(const std::vector<T> &entries, T empty, Hash hash,
                                              bool (*isEmpty)(const T &)) {
  size_t slots = 2;
  while (slots < entries.size() * 2)
    slots *= 2;
  for (;; slots *= 2) {
    std::vector<T> table(slots, empty);
    uint32_t longest = 0;
    for (const T &entry : entries) {
      uint64_t at = hash(entry);
      uint32_t probes = 0;
      for (; !isEmpty(table[at & (slots - 1)]); ++at)
        ++probes;
      table[at & (slots - 1)] = entry;
      longest = std::max(longest, probes);
    }
    if (longest <= 64 || slots > entries.size() * 16)
      return {std::move(table), longest};
  }
}

/// Collects sections and lays them out.
class TableWriter {
public:
  template <class T> void add(uint32_t kind, const std::vector<T> &values, uint32_t index = 0) {
    const auto *bytes = reinterpret_cast<const uint8_t *>(values.data());
    sections_.push_back({{kind, index, 0, values.size() * sizeof(T)},
                         std::vector<uint8_t>(bytes, bytes + values.size() * sizeof(T))});
  }

  std::vector<uint8_t> finish() const {
    uint64_t at = sizeof(FileHeader) + sections_.size() * sizeof(SectionHeader);
    std::vector<SectionHeader> directory;
    for (auto [header, bytes] : sections_) {
      header.offset = at = (at + 7) / 8 * 8;
      at += bytes.size();
      directory.push_back(header);
    }
    FileHeader header{{}, kVersion, uint32_t(sections_.size()), (at + 7) / 8 * 8};
    std::copy(std::begin(kMagic), std::end(kMagic), header.magic);
    std::vector<uint8_t> file(header.bytes);
    std::memcpy(file.data(), &header, sizeof header);
    if (!directory.empty())
      std::memcpy(file.data() + sizeof header, directory.data(),
                  directory.size() * sizeof(SectionHeader));
    for (size_t i = 0; i < directory.size(); ++i)
      std::copy(sections_[i].second.begin(), sections_[i].second.end(),
                file.begin() + directory[i].offset);
    return file;
  }

private:
  std::vector<std::pair<SectionHeader, std::vector<uint8_t>>> sections_;
};

/// A two-stage table of `values`[code point]: u16 index, then the blocks that differ.
template <class T>
std::pair<std::vector<uint16_t>, std::vector<T>> twoStage(const std::vector<T> &values) {
  std::vector<uint16_t> index;
  std::vector<T> blocks;
  std::map<std::vector<T>, uint16_t> known;
  for (size_t at = 0; at < kCodePoints; at += 128) {
    std::vector<T> block(values.begin() + at, values.begin() + at + 128);
    auto [it, fresh] = known.try_emplace(block, uint16_t(known.size()));
    if (fresh)
      blocks.insert(blocks.end(), block.begin(), block.end());
    index.push_back(it->second);
  }
  return {std::move(index), std::move(blocks)};
}

template <class T> void appendBytes(std::vector<uint8_t> &out, const std::vector<T> &values) {
  const auto *bytes = reinterpret_cast<const uint8_t *>(values.data());
  out.insert(out.end(), bytes, bytes + values.size() * sizeof(T));
}

/// A trie over texts; the first of equal ones stays.
class TrieBuilder {
public:
  void insert(std::string_view text, uint32_t value) {
    uint32_t node = 0;
    for (char c : text) {
      auto [it, fresh] = nodes_[node].kids.try_emplace(uint8_t(c), uint32_t(nodes_.size()));
      node = it->second;
      if (fresh)
        nodes_.emplace_back();
    }
    if (nodes_[node].value == kNone)
      nodes_[node].value = value;
    any_ = true;
  }
  void write(TableWriter &writer, uint32_t nodeKind, uint32_t edgeKind, uint32_t index) const {
    if (!any_)
      return;
    std::vector<TrieNode> nodes;
    std::vector<TrieEdge> edges;
    for (const Node &node : nodes_) {
      nodes.push_back({uint32_t(edges.size()), uint32_t(node.kids.size()), node.value});
      for (auto [label, target] : node.kids)
        edges.push_back({label, target});
    }
    writer.add(nodeKind, nodes, index);
    writer.add(edgeKind, edges, index);
  }

private:
  struct Node {
    std::map<uint8_t, uint32_t> kids;
    uint32_t value = kNone;
  };
  std::vector<Node> nodes_{1};
  bool any_ = false;
};

class TokenizerCompiler {
public:
  explicit TokenizerCompiler(const TokenizerSpec &spec) : s_(spec) {}

  std::vector<uint8_t> run() {
    normaliseAdded();
    configure();
    tokens();
    wordClass();
    normalizers();
    preTokenizers();
    s_.model == TokenizerSpec::Model::Bpe ? bpe() : unigram();
    writer_.add(kStrings, strings_);
    addedTokens();
    if (s_.model == TokenizerSpec::Model::Bpe) {
      // Which words encode as themselves is found with the tables made so far.
      std::vector<uint8_t> first = file(writer_);
      words(Tokenizer::open(first, s_.source));
    }
    return file(writer_);
  }

private:
  std::vector<uint8_t> file(TableWriter writer) const {
    writer.add(kConfig, std::vector<Config>{config_});
    return writer.finish();
  }

  /// What added tokens look like after the normalisers, by a tokenizer that has nothing else.
  void normaliseAdded() {
    if (s_.normalizers.empty() || std::none_of(s_.added.begin(), s_.added.end(),
                                               [](const AddedToken &t) { return t.normalized; }))
      return;
    TokenizerSpec bare;
    bare.tokens = {"a"};
    bare.inModel = {true};
    bare.normalizers = s_.normalizers;
    bare.decoder.kind = DecoderSpec::SentencePiece;
    bare.source = s_.source;
    std::vector<uint8_t> tables = TokenizerCompiler(bare).run();
    Tokenizer tokenizer = Tokenizer::open(tables, s_.source);
    std::vector<int32_t> none;
    Encoder encoder(tokenizer.tables(), {}, none);
    for (const AddedToken &token : s_.added)
      if (token.normalized)
        normalised_[token.id] = encoder.normalise(token.content);
  }
  const std::string &spelling(int32_t id) const {
    auto it = normalised_.find(id);
    return it == normalised_.end() ? s_.tokens[id] : it->second;
  }

  void configure() {
    config_ = {};
    config_.vocab = uint32_t(s_.tokens.size());
    config_.model = s_.model == TokenizerSpec::Model::Bpe ? kBpe : kUnigram;
    config_.unknown = s_.unknown;
    config_.bos = s_.bos;
    config_.eos = s_.eos;
    config_.pad = s_.pad;
    bool addsBos =
        s_.bos >= 0 && std::find(s_.prefix.begin(), s_.prefix.end(), s_.bos) != s_.prefix.end();
    bool byteTokens = s_.decoder.kind == DecoderSpec::SentencePiece || s_.decoder.byteFallback;
    config_.stripSpaces =
        s_.decoder.kind == DecoderSpec::SentencePiece ? s_.decoder.stripSpaces : 0;
    config_.flags =
        (s_.byteLevel() ? kByteLevel : 0) | (s_.byteFallback ? kByteFallback : 0) |
        (s_.ignoreMerges ? kIgnoreMerges : 0) | (s_.fuseUnknown ? kFuseUnknown : 0) |
        (addsBos ? kAddsBos : 0) | (byteTokens && !s_.byteLevel() ? kDecodeBytes : 0) |
        (s_.decoder.kind == DecoderSpec::Metaspace && s_.decoder.prepend != PrependScheme::Never
             ? kDecodeFirstBare
             : 0);
    writer_.add(kStopIds, s_.stop);
    writer_.add(kPrefixIds, s_.prefix);
    writer_.add(kSuffixIds, s_.suffix);
  }

  std::string decoded(const std::string &token) const {
    if (s_.byteLevel())
      return alphabetBytes(token).value_or(token);
    if (int byte = byteToken(token); byte >= 0 && (config_.flags & kDecodeBytes))
      return std::string(1, char(byte));
    std::string text = token;
    for (size_t at; (at = text.find(kMetaspace)) != std::string::npos;)
      text.replace(at, kMetaspace.size(), " ");
    return text;
  }

  void addTexts(uint32_t offsetsKind, uint32_t bytesKind, const std::vector<std::string> &texts) {
    std::vector<uint32_t> offsets{0};
    std::vector<char> bytes;
    for (const std::string &text : texts) {
      bytes.insert(bytes.end(), text.begin(), text.end());
      offsets.push_back(uint32_t(bytes.size()));
      config_.longestPiece = std::max(config_.longestPiece, uint32_t(text.size()));
    }
    writer_.add(offsetsKind, offsets);
    writer_.add(bytesKind, bytes);
  }

  void tokens() {
    std::vector<std::string> texts;
    std::vector<uint8_t> flags;
    for (size_t i = 0; i < s_.tokens.size(); ++i) {
      texts.push_back(decoded(spelling(int32_t(i))));
      bool byte = !s_.byteLevel() && byteToken(s_.tokens[i]) >= 0;
      flags.push_back(uint8_t((s_.inModel[i] ? kInModel : 0) | (byte ? kByte : 0)));
      if (s_.inModel[i])
        byName_[s_.tokens[i]] = int32_t(i);
    }
    for (const AddedToken &token : s_.added)
      flags[token.id] |= kAdded | (token.special ? kSpecial : 0) | (token.lstrip ? kLstrip : 0) |
                         (token.rstrip ? kRstrip : 0) | (token.singleWord ? kSingleWord : 0);
    addTexts(kTokenOffsets, kTokenBytes, texts);
    if (!s_.byteLevel())
      addTexts(kPieceOffsets, kPieceBytes, s_.tokens);
    writer_.add(kTokenFlags, flags);

    std::vector<int32_t> byteIds;
    for (int b = 0; b < 256; ++b) {
      auto it =
          byName_.find(s_.byteLevel() ? alphabetLetter(uint8_t(b)) : byteTokenName(uint8_t(b)));
      byteIds.push_back(it == byName_.end() ? -1 : it->second);
    }
    writer_.add(kByteIds, byteIds);
  }

  /// What may stand beside an added token that is a word of its own.
  void wordClass() {
    if (std::none_of(s_.added.begin(), s_.added.end(),
                     [](const AddedToken &t) { return t.singleWord; }))
      return;
    std::vector<uint8_t> isWord(kCodePoints);
    const CodeSet word = unicodeWord();
    for (auto [low, high] : word.ranges())
      std::fill(isWord.begin() + low, isWord.begin() + high + 1, 1);
    auto [index, blocks] = twoStage(isWord);
    std::vector<uint8_t> bytes;
    appendBytes(bytes, index);
    appendBytes(bytes, blocks);
    writer_.add(kWordClass, bytes);
  }

  std::pair<uint32_t, uint32_t> string(std::string_view text) {
    uint32_t at = uint32_t(strings_.size());
    strings_.insert(strings_.end(), text.begin(), text.end());
    return {at, uint32_t(text.size())};
  }

  void normalizers() {
    std::vector<tok::NormalizerStep> steps;
    bool nfc = false;
    for (const retort::NormalizerStep &step : s_.normalizers) {
      auto [pattern, patternBytes] = string(step.pattern);
      auto [content, contentBytes] = string(step.content);
      steps.push_back({uint32_t(step.kind), pattern, patternBytes, content, contentBytes});
      nfc |= step.kind == retort::NormalizerStep::Nfc;
    }
    writer_.add(kNormalizerSteps, steps);
    if (nfc)
      composition();
  }

  /// The tables of Nfc.cpp: a record for each different behaviour of a code point.
  void composition() {
    std::map<uint32_t, std::vector<uint32_t>> full;
    auto rows = unicodeDecompositions();
    std::map<uint32_t, Decomposition> byCode;
    for (const Decomposition &row : rows)
      byCode[row.code] = row;
    std::set<uint32_t> seconds;
    std::vector<NfcPair> pairs;
    for (const Decomposition &row : rows) {
      std::vector<uint32_t> parts{row.code};
      for (size_t i = 0; i < parts.size();) {
        auto it = byCode.find(parts[i]);
        if (it == byCode.end()) {
          ++i;
          continue;
        }
        parts[i] = it->second.first;
        if (it->second.second)
          parts.insert(parts.begin() + i + 1, it->second.second);
      }
      full[row.code] = parts;
      if (row.composes) {
        pairs.push_back({row.first, row.second, row.code});
        seconds.insert(row.second);
      }
    }
    for (uint32_t jamo = 0x1161; jamo <= 0x1175; ++jamo)
      seconds.insert(jamo);
    for (uint32_t jamo = 0x11A8; jamo <= 0x11C2; ++jamo)
      seconds.insert(jamo);

    std::vector<NfcRecord> records{{0, 0, 0, 0, 1}};
    std::vector<uint32_t> decomposed;
    std::vector<uint16_t> recordOf(kCodePoints);
    std::map<std::tuple<uint8_t, bool>, uint16_t> plain;
    std::map<uint32_t, uint8_t> classes;
    for (auto [code, combiningClass] : unicodeCombiningClasses())
      classes[code] = combiningClass;
    for (uint32_t code = 0; code < kCodePoints; ++code) {
      auto parts = full.find(code);
      auto cls = classes.find(code);
      uint8_t combiningClass = cls == classes.end() ? 0 : cls->second;
      bool second = seconds.count(code);
      if (parts == full.end()) {
        if (!combiningClass && !second)
          continue;
        auto [it, fresh] = plain.try_emplace({combiningClass, second}, uint16_t(records.size()));
        if (fresh)
          records.push_back({0, 0, combiningClass, second, 0});
        recordOf[code] = it->second;
        continue;
      }
      // A character that is put together again stays as it is if nothing near it moves.
      bool inert = byCode[code].composes && combiningClass == 0 && !second;
      recordOf[code] = uint16_t(records.size());
      records.push_back({uint32_t(decomposed.size()), uint8_t(parts->second.size()), combiningClass,
                         second, inert});
      decomposed.insert(decomposed.end(), parts->second.begin(), parts->second.end());
    }
    auto [index, blocks] = twoStage(recordOf);
    index.insert(index.end(), blocks.begin(), blocks.end());
    writer_.add(kNfcIndex, index);
    writer_.add(kNfcRecords, records);
    writer_.add(kNfcDecomposed, decomposed);
    auto [table, probes] = hashTable<NfcPair>(
        pairs, {kNone, 0, 0}, [](const NfcPair &p) { return hashPair(p.first, p.second); },
        [](const NfcPair &p) { return p.first == kNone; });
    config_.nfcProbes = probes;
    writer_.add(kNfcPairs, table);
  }

  void addAutomaton(const Automaton &automaton, SplitBehavior behavior, bool invert) {
    auto [index, blocks] = twoStage(automaton.classOf);
    AutomatonHeader header{automaton.classes, automaton.states(), automaton.start,
                           uint32_t(blocks.size() / 128)};
    std::vector<uint8_t> bytes;
    appendBytes(bytes, std::vector<AutomatonHeader>{header});
    appendBytes(bytes, index);
    appendBytes(bytes, blocks);
    appendBytes(bytes, automaton.next);
    writer_.add(kAutomaton, bytes, automata_);
    steps_.push_back({0, automata_++, uint32_t(behavior), invert, 0, 0, 0});
  }
  void addRewrite(uint32_t kind, std::string_view text, bool onlyAtStart) {
    auto [at, bytes] = string(text);
    steps_.push_back({kind, 0, 0, 0, onlyAtStart, at, bytes});
  }

  void preTokenizers() {
    using Step = retort::PreTokenizerStep;
    for (const Step &step : s_.preTokenizers) {
      switch (step.kind) {
      case Step::Split:
        addAutomaton(compilePattern(step.pattern, step.isRegex), step.behavior, step.invert);
        break;
      case Step::ByteLevel:
        if (step.addPrefixSpace)
          addRewrite(1, " ", false);
        if (step.useRegex)
          addAutomaton(compilePattern(kGpt2Pattern, true), SplitBehavior::Isolated, false);
        break;
      case Step::Digits:
        addAutomaton(compileSet(unicodeNumeric()),
                     step.individualDigits ? SplitBehavior::Isolated : SplitBehavior::Contiguous,
                     false);
        break;
      case Step::Metaspace:
        addRewrite(2, step.replacement, false);
        if (step.prepend != PrependScheme::Never)
          addRewrite(1, step.replacement, step.prepend == PrependScheme::First);
        if (step.split)
          addAutomaton(compilePattern(step.replacement, false), SplitBehavior::MergedWithNext,
                       false);
        break;
      }
    }
    writer_.add(kPreTokenizerSteps, steps_);
  }

  void bpe() {
    std::vector<MergeSlot> merges;
    for (size_t i = 0; i < s_.merges.size(); ++i) {
      const auto &m = s_.merges[i];
      merges.push_back({uint32_t(m[0]), uint32_t(m[1]), uint32_t(i), uint32_t(m[2])});
    }
    auto [table, probes] = hashTable<MergeSlot>(
        merges, {kNone, kNone, 0, 0}, [](const MergeSlot &m) { return hashPair(m.left, m.right); },
        [](const MergeSlot &m) { return m.left == kNone; });
    config_.mergeProbes = probes;
    writer_.add(kMerges, table);
    if (s_.byteLevel())
      return;
    std::vector<CharSlot> chars;
    for (size_t i = 0; i < s_.tokens.size(); ++i) {
      const std::string &token = s_.tokens[i];
      if (!s_.inModel[i] || token.empty())
        continue;
      const char *p = token.data();
      uint32_t code = nextCode(p);
      if (p == token.data() + token.size())
        chars.push_back({code, uint32_t(i)});
    }
    auto [charTable, charProbes] = hashTable<CharSlot>(
        chars, {kNone, 0}, [](const CharSlot &c) { return hash64(c.code); },
        [](const CharSlot &c) { return c.code == kNone; });
    config_.charProbes = charProbes;
    writer_.add(kCharIds, charTable);
    bigrams();
  }

  /// Pairs of characters that stand together in a result of a merge: a text can be cut between any
  /// other two. That holds only if a character without a token becomes bytes that no merge touches;
  /// otherwise it may vanish, or fuse with the next.
  void bigrams() {
    if (!s_.byteFallback)
      return;
    std::set<uint64_t> keys;
    for (const auto &merge : s_.merges) {
      if (byteToken(s_.tokens[merge[0]]) >= 0 || byteToken(s_.tokens[merge[1]]) >= 0)
        return;
      const std::string &piece = s_.tokens[merge[2]];
      const char *p = piece.data(), *end = p + piece.size();
      for (uint32_t previous = nextCode(p); p < end;) {
        uint32_t code = nextCode(p);
        keys.insert((uint64_t(previous) << 21 | code) + 1);
        previous = code;
      }
    }
    auto [table, probes] = hashTable<uint64_t>(
        std::vector<uint64_t>(keys.begin(), keys.end()), 0,
        [](const uint64_t &k) { return hash64(k); }, [](const uint64_t &k) { return k == 0; });
    config_.bigramProbes = probes;
    writer_.add(kBigrams, table);
  }

  void words(const Tokenizer &tokenizer) {
    std::vector<uint32_t> words;
    std::vector<int32_t> ids;
    BpeModel model(tokenizer.tables(), ids);
    for (uint32_t i = 0; i < s_.tokens.size(); ++i) {
      if (!s_.inModel[i] || s_.tokens[i].empty() ||
          (s_.byteLevel() && !alphabetBytes(s_.tokens[i])))
        continue;
      ids.clear();
      if (!s_.ignoreMerges)
        model.encode(tokenizer.tables().pieceOf(i));
      if (s_.ignoreMerges || (ids.size() == 1 && ids[0] == int32_t(i)))
        words.push_back(i);
    }
    auto [table, probes] = hashTable<uint32_t>(
        words, kNone, [&](const uint32_t &id) { return hashBytes(tokenizer.tables().pieceOf(id)); },
        [](const uint32_t &id) { return id == kNone; });
    config_.wordProbes = probes;
    writer_.add(kWords, table);
  }

  void unigram() {
    double lowest = std::numeric_limits<double>::infinity();
    TrieBuilder trie;
    for (size_t i = 0; i < s_.tokens.size(); ++i)
      if (s_.inModel[i]) {
        lowest = std::min(lowest, s_.scores[i]);
        if (!s_.tokens[i].empty())
          trie.insert(s_.tokens[i], uint32_t(i));
      }
    config_.unknownScore = lowest - 10; // SentencePiece's penalty
    trie.write(writer_, kPieceTrie, kPieceTrieEdges, 0);
    writer_.add(kScores, s_.scores);
  }

  void addedTokens() {
    TrieBuilder tries[3];
    bool normalisedSpecial = false;
    for (bool special : {true, false}) // of equal ones the special token wins
      for (const AddedToken &token : s_.added) {
        if (token.special != special)
          continue;
        tries[token.normalized].insert(spelling(token.id), uint32_t(token.id));
        if (!token.normalized || special)
          tries[2].insert(token.content, uint32_t(token.id));
        normalisedSpecial |= token.normalized && special;
      }
    for (uint32_t i = 0; i < (normalisedSpecial ? 3 : 2); ++i)
      tries[i].write(writer_, kAddedTrie, kAddedTrieEdges, i);
  }

  const TokenizerSpec &s_;
  Config config_;
  TableWriter writer_;
  std::vector<char> strings_;
  std::vector<tok::PreTokenizerStep> steps_;
  uint32_t automata_ = 0;
  std::map<std::string, int32_t> byName_;
  std::map<int32_t, std::string>
      normalised_; ///< of added tokens that are matched after normalising
};

} // namespace

std::vector<uint8_t> compileTokenizer(const TokenizerSpec &spec) {
  tokspec::validate(spec);
  return TokenizerCompiler(spec).run();
}

} // namespace retort
