//===- Spec.cpp - Checking and pruning a tokenizer ------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Tokenizer/Spec.h"
#include "compiler/Tokenizer/Internal.h"
#include "runtime/base/Error.h"
#include "runtime/base/Utf8.h"
#include "runtime/src/tokenizer/Tokenizer.h"
#include <algorithm>
#include <cmath>
#include <set>
#include <unordered_map>

namespace retort {
namespace tokspec {

namespace {
/// GPT-2's alphabet: printable bytes stand for themselves, the others for U+0100 on.
struct Alphabet {
  uint32_t letters[256];
  std::unordered_map<uint32_t, uint8_t> bytes;
  Alphabet() {
    uint32_t next = 256;
    for (uint32_t b = 0; b < 256; ++b) {
      bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      letters[b] = printable ? b : next++;
      bytes[letters[b]] = uint8_t(b);
    }
  }
};
const Alphabet &alphabet() {
  static const Alphabet instance;
  return instance;
}
} // namespace

std::string alphabetLetter(uint8_t byte) {
  std::string letter;
  appendUtf8(letter, alphabet().letters[byte]);
  return letter;
}

std::optional<std::string> alphabetBytes(std::string_view piece) {
  std::string bytes;
  for (const char *p = piece.data(), *end = p + piece.size(); p < end;) {
    auto it = alphabet().bytes.find(nextCode(p));
    if (it == alphabet().bytes.end())
      return std::nullopt;
    bytes += char(it->second);
  }
  return bytes;
}

int byteToken(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>')
    return -1;
  int value = 0;
  for (char c : token.substr(3, 2)) {
    int lower = c | 32;
    if (c >= '0' && c <= '9')
      value = value * 16 + (c - '0');
    else if (lower >= 'a' && lower <= 'f')
      value = value * 16 + (lower - 'a' + 10);
    else
      return -1;
  }
  return value;
}

std::string byteTokenName(uint8_t byte) {
  static const char digits[] = "0123456789ABCDEF";
  return std::string("<0x") + digits[byte >> 4] + digits[byte & 15] + '>';
}

std::string inQuotes(std::string_view text) {
  std::string out = "'";
  for (char c : text.substr(0, 60)) {
    static const char digits[] = "0123456789abcdef";
    if (uint8_t(c) < 32 || c == 127)
      out.append("\\x").append(1, digits[uint8_t(c) >> 4]).append(1, digits[c & 15]);
    else
      out += c;
  }
  return repaired(out) + (text.size() > 60 ? "...'" : "'");
}

namespace {

class Validator {
public:
  explicit Validator(const TokenizerSpec &spec) : s_(spec) {}

  void run() {
    tokens();
    ids();
    addedTokens();
    s_.model == TokenizerSpec::Model::Bpe ? merges() : scores();
    bytes();
    steps();
  }

private:
  [[noreturn]] void bad(const std::string &what) const {
    fail(ExitCode::BadInput, s_.source + ": tokenizer: " + what);
  }
  [[noreturn]] void unsupported(const std::string &what) const {
    fail(ExitCode::Unsupported, s_.source + ": tokenizer: " + what + " is not known to Retort");
  }
  std::string name(int32_t id) const {
    return "token " + std::to_string(id) + " (" + inQuotes(s_.tokens[id]) + ")";
  }
  bool inRange(int32_t id) const { return id >= 0 && id < s_.vocabSize(); }

  void tokens() {
    if (s_.tokens.empty())
      bad("the vocabulary is empty");
    if (s_.tokens.size() > 1u << 24)
      bad("a vocabulary of " + std::to_string(s_.tokens.size()) +
          " tokens: at most 16777216 are allowed");
    if (s_.inModel.size() != s_.tokens.size())
      bad("the vocabulary's lists have different lengths");
    size_t total = 0;
    for (size_t i = 0; i < s_.tokens.size(); ++i) {
      const std::string &token = s_.tokens[i];
      if (token.size() > 4096)
        bad(name(int32_t(i)) + " has " + std::to_string(token.size()) +
            " bytes: at most 4096 are allowed");
      if (validPrefix(token) != token.size())
        bad(name(int32_t(i)) + " is not UTF-8");
      total += token.size();
      if (!s_.inModel[i])
        continue;
      auto [it, fresh] = byName_.try_emplace(token, int32_t(i));
      if (!fresh)
        bad(name(int32_t(i)) + " stands twice in the vocabulary: also as " +
            std::to_string(it->second));
    }
    if (total > 1u << 29)
      bad("the vocabulary's texts take more than 512 MB");
  }

  void ids() const {
    auto check = [&](int32_t id, const char *what) {
      if (id != -1 && !inRange(id))
        bad(std::string(what) + " is " + std::to_string(id) + ", but there are " +
            std::to_string(s_.tokens.size()) + " tokens");
    };
    check(s_.unknown, "the unknown token");
    check(s_.bos, "the beginning token");
    check(s_.eos, "the end token");
    check(s_.pad, "the padding token");
    for (const auto *list : {&s_.prefix, &s_.suffix, &s_.stop})
      for (int32_t id : *list)
        if (check(id, "a listed token"); id == -1)
          bad("a listed token is -1");
  }

  void addedTokens() const {
    std::set<std::string_view> seen;
    int32_t last = -1;
    for (const AddedToken &token : s_.added) {
      if (!inRange(token.id))
        bad("added token " + inQuotes(token.content) + " has the id " + std::to_string(token.id) +
            ", but there are " + std::to_string(s_.tokens.size()) + " tokens");
      if (token.id <= last)
        bad("added token " + inQuotes(token.content) + " is out of order or repeats an id");
      last = token.id;
      if (token.content.empty())
        bad("added token " + std::to_string(token.id) + " is empty");
      if (token.content != s_.tokens[token.id])
        bad("added token " + inQuotes(token.content) + " differs from " + name(token.id));
      if (!seen.insert(token.content).second)
        bad("added token " + inQuotes(token.content) + " stands twice");
      auto it = byName_.find(token.content);
      if (it != byName_.end() && it->second != token.id)
        bad("added token " + inQuotes(token.content) + " has the id " + std::to_string(token.id) +
            ", but the model's is " + std::to_string(it->second));
    }
  }

  void merges() const {
    std::set<std::pair<int32_t, int32_t>> seen;
    for (size_t i = 0; i < s_.merges.size(); ++i) {
      auto [left, right, result] = s_.merges[i];
      std::string which = "merge " + std::to_string(i);
      if (!inRange(left) || !inRange(right) || !inRange(result))
        bad(which + " names a token out of range");
      if (s_.tokens[left] + s_.tokens[right] != s_.tokens[result])
        bad(which + ": " + name(left) + " and " + name(right) + " do not make " + name(result));
      if (!s_.inModel[left] || !s_.inModel[right] || !s_.inModel[result])
        bad(which + " names a token that is not of the model");
      if (!seen.insert({left, right}).second)
        bad(which + " of " + name(left) + " and " + name(right) + " stands twice");
    }
  }

  void scores() const {
    if (s_.scores.size() != s_.tokens.size())
      bad(std::to_string(s_.scores.size()) + " scores for " + std::to_string(s_.tokens.size()) +
          " tokens");
    for (size_t i = 0; i < s_.scores.size(); ++i)
      if (!std::isfinite(s_.scores[i]) || std::abs(s_.scores[i]) > 1e30)
        bad("the score of " + name(int32_t(i)) + " is no finite number");
    if (s_.unknown < 0)
      bad("a unigram model without an unknown token");
  }

  void bytes() const {
    if (!s_.byteFallback)
      return;
    if (s_.byteLevel())
      unsupported("byte fallback in a byte-level vocabulary");
    for (int b = 0; b < 256; ++b)
      if (!byName_.count(byteTokenName(uint8_t(b))))
        bad("byte fallback, but the token " + byteTokenName(uint8_t(b)) + " is missing");
  }

  void steps() const {
    size_t byteLevels = 0;
    if (s_.preTokenizers.size() > 32 || s_.normalizers.size() > 32)
      unsupported("a sequence of more than 32 steps");
    for (const NormalizerStep &step : s_.normalizers)
      if (step.kind == NormalizerStep::Replace && step.pattern.empty())
        unsupported("the normaliser Replace of the empty text");
    for (const PreTokenizerStep &step : s_.preTokenizers) {
      if (byteLevels)
        unsupported("a pre-tokeniser after ByteLevel");
      if (step.kind == PreTokenizerStep::ByteLevel)
        ++byteLevels;
      if (step.kind == PreTokenizerStep::Split && step.pattern.empty())
        unsupported("the pre-tokeniser Split at the empty text");
      if (step.kind == PreTokenizerStep::Metaspace && step.replacement != kMetaspace)
        unsupported("the pre-tokeniser Metaspace with the replacement " +
                    inQuotes(step.replacement));
    }
    if (s_.byteLevel() != (byteLevels > 0))
      unsupported("the pre-tokeniser ByteLevel without its decoder, or the other way round,");
    if (s_.byteLevel() && s_.model == TokenizerSpec::Model::Unigram)
      unsupported("a byte-level unigram model");
    if (s_.decoder.stripSpaces < 0 || s_.decoder.stripSpaces > 1)
      unsupported("a decoder that strips " + std::to_string(s_.decoder.stripSpaces) + " spaces");
  }

  const TokenizerSpec &s_;
  std::unordered_map<std::string_view, int32_t> byName_;
};

} // namespace

void validate(const TokenizerSpec &spec) { Validator(spec).run(); }

} // namespace tokspec

namespace {

/// Bytes, added tokens and what the spec names by id.
std::vector<bool> indispensable(const TokenizerSpec &spec) {
  std::vector<bool> keep(spec.tokens.size());
  for (size_t i = 0; i < spec.tokens.size(); ++i) {
    if (!spec.inModel[i])
      continue;
    auto bytes = spec.byteLevel() ? tokspec::alphabetBytes(spec.tokens[i]) : std::nullopt;
    keep[i] = spec.byteLevel() ? bytes && bytes->size() == 1
                               : spec.byteFallback && tokspec::byteToken(spec.tokens[i]) >= 0;
  }
  for (const AddedToken &token : spec.added)
    keep[token.id] = true;
  for (int32_t id : {spec.unknown, spec.bos, spec.eos, spec.pad})
    if (id >= 0)
      keep[id] = true;
  for (const auto *list : {&spec.prefix, &spec.suffix, &spec.stop})
    for (int32_t id : *list)
      keep[id] = true;
  return keep;
}

} // namespace

std::vector<int32_t> keepAlways(const TokenizerSpec &spec) {
  tokspec::validate(spec);
  std::vector<bool> keep = indispensable(spec);
  if (spec.chat) {
    std::vector<uint8_t> tables = compileTokenizer(spec);
    Tokenizer tokenizer = Tokenizer::open(tables, spec.source);
    for (const std::string &text : spec.chat->texts)
      for (int32_t id : tokenizer.encode(text, false, true))
        keep[id] = true;
  }
  // A kept token needs the parts of its best merge, and so do those parts in turn.
  std::vector<int32_t> best(spec.tokens.size(), -1);
  for (size_t i = spec.merges.size(); i-- > 0;)
    best[spec.merges[i][2]] = int32_t(i);
  std::vector<int32_t> work, kept;
  for (size_t i = 0; i < keep.size(); ++i)
    if (keep[i])
      work.push_back(int32_t(i));
  while (!work.empty()) {
    int32_t id = work.back();
    work.pop_back();
    if (best[id] < 0)
      continue;
    for (int part = 0; part < 2; ++part)
      if (int32_t needed = spec.merges[best[id]][part]; !keep[needed]) {
        keep[needed] = true;
        work.push_back(needed);
      }
  }
  for (size_t i = 0; i < keep.size(); ++i)
    if (keep[i])
      kept.push_back(int32_t(i));
  return kept;
}

TokenizerSpec pruneVocabulary(const TokenizerSpec &spec, std::span<const int32_t> keptIds) {
  tokspec::validate(spec);
  auto refuse = [&](const std::string &what) {
    fail(ExitCode::Usage, spec.source + ": pruning the vocabulary: " + what);
  };
  auto name = [&](int32_t id) {
    return "token " + std::to_string(id) + " (" + tokspec::inQuotes(spec.tokens[id]) + ")";
  };
  std::vector<int32_t> renumbered(spec.tokens.size(), -1);
  for (size_t i = 0; i < keptIds.size(); ++i) {
    if (keptIds[i] < 0 || keptIds[i] >= spec.vocabSize() || (i > 0 && keptIds[i] <= keptIds[i - 1]))
      refuse("kept id " + std::to_string(keptIds[i]) + " is out of range or out of order");
    renumbered[keptIds[i]] = int32_t(i);
  }
  std::vector<bool> needed = indispensable(spec);
  for (size_t i = 0; i < needed.size(); ++i)
    if (needed[i] && renumbered[i] < 0)
      refuse(name(int32_t(i)) + " cannot go: keep what keepAlways lists");

  TokenizerSpec out = spec;
  out.tokens.clear();
  out.inModel.clear();
  out.scores.clear();
  out.merges.clear();
  for (int32_t id : keptIds) {
    out.tokens.push_back(spec.tokens[id]);
    out.inModel.push_back(spec.inModel[id]);
    if (!spec.scores.empty())
      out.scores.push_back(spec.scores[id]);
  }
  std::vector<bool> made(spec.tokens.size()), stillMade(spec.tokens.size());
  for (const auto &merge : spec.merges) {
    made[merge[2]] = true;
    std::array<int32_t, 3> mapped;
    for (int i = 0; i < 3; ++i)
      mapped[i] = renumbered[merge[i]];
    if (std::find(mapped.begin(), mapped.end(), -1) != mapped.end())
      continue;
    stillMade[merge[2]] = true;
    out.merges.push_back(mapped);
  }
  for (int32_t id : keptIds)
    if (made[id] && !stillMade[id])
      refuse(name(id) + " is kept, but none of the merges that make it has both its parts");

  auto map = [&](int32_t &id) { id = id < 0 ? -1 : renumbered[id]; };
  for (int32_t *id : {&out.unknown, &out.bos, &out.eos, &out.pad})
    map(*id);
  for (auto *list : {&out.prefix, &out.suffix, &out.stop})
    std::for_each(list->begin(), list->end(), map);
  for (AddedToken &token : out.added)
    map(token.id);
  tokspec::validate(out);
  return out;
}

TokenizerSpec fitVocabulary(TokenizerSpec spec, int64_t rows, std::vector<std::string> &notes) {
  const int64_t tokens = spec.vocabSize();
  if (tokens <= rows)
    return spec;
  std::vector<bool> unreachable(spec.tokens.size());
  for (const AddedToken &token : spec.added)
    unreachable[token.id] = !spec.inModel[token.id];
  for (int32_t id : {spec.unknown, spec.bos, spec.eos})
    if (id >= 0)
      unreachable[id] = false;
  for (const auto *list : {&spec.prefix, &spec.suffix})
    for (int32_t id : *list)
      unreachable[id] = false;
  for (int64_t id = rows; id < tokens; ++id)
    if (!unreachable[id])
      fail(ExitCode::BadInput,
           spec.source + ": the tokenizer has " + std::to_string(tokens) +
               " tokens, but the model has rows for " + std::to_string(rows) + ": token " +
               std::to_string(id) + " (" + tokspec::inQuotes(spec.tokens[id]) +
               ") could never be run: use the tokenizer that the model was trained with");
  const auto beyond = [&](int32_t id) { return id >= rows; };
  notes.push_back("left out " + std::to_string(tokens - rows) +
                  (tokens - rows == 1 ? " added token" : " added tokens") +
                  " that the model has no row for, the first " +
                  tokspec::inQuotes(spec.tokens[rows]));
  spec.tokens.resize(rows);
  spec.inModel.resize(rows);
  if (!spec.scores.empty())
    spec.scores.resize(rows);
  std::erase_if(spec.added, [&](const AddedToken &token) { return beyond(token.id); });
  std::erase_if(spec.stop, beyond);
  if (beyond(spec.pad))
    spec.pad = -1;
  return spec;
}

} // namespace retort
