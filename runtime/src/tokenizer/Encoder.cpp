//===- Encoder.cpp - From text to pieces ----------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/tokenizer/Encoder.h"
#include "runtime/base/Error.h"
#include "runtime/base/Utf8.h"
#include <algorithm>

namespace retort::tok {
namespace {

/// Unicode's White_Space, which is what \s means to the crate that strips around added tokens.
bool isSpace(uint32_t c) {
  return c == ' ' || (c >= 9 && c <= 13) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

uint32_t codeBefore(std::string_view text, size_t at, size_t &begin) {
  begin = at - 1;
  while (begin > 0 && (uint8_t(text[begin]) & 0xC0) == 0x80)
    --begin;
  const char *p = text.data() + begin;
  return nextCode(p);
}

uint32_t codeAt(std::string_view text, size_t at, size_t &end) {
  const char *p = text.data() + at;
  uint32_t code = nextCode(p);
  end = p - text.data();
  return code;
}

enum Behavior : uint32_t { Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous };

} // namespace

Encoder::Encoder(const Tables &tables, const EncodeOptions &options, std::vector<int32_t> &out)
    : t_(tables), options_(options), out_(out), bpe_(tables, out), unigram_(tables, out) {}

void Encoder::run(std::string_view text) {
  if (text.size() >= size_t(1) << 30)
    fail(ExitCode::Resources, "a text of " + std::to_string(text.size()) +
                                  " bytes is too long for one call: pass less than 1 GiB");
  text = repair(text);
  if (options_.addSpecial)
    out_.insert(out_.end(), t_.prefix.begin(), t_.prefix.end());
  // With trusted ranges the special tokens stand in the raw text: only its places are known.
  unsigned which = options_.trusted.empty() || t_.added[2].nodes.empty() ? 0 : 2;
  splitAdded(which, text, [&](std::string_view part, size_t begin) { segment(part, begin == 0); });
  if (options_.addSpecial)
    out_.insert(out_.end(), t_.suffix.begin(), t_.suffix.end());
}

/// Valid UTF-8, with the trusted ranges moved to where they are then.
std::string_view Encoder::repair(std::string_view text) {
  if (validPrefix(text) == text.size())
    return text;
  auto move = [&](std::span<const std::pair<size_t, size_t>> ranges,
                  std::vector<std::pair<size_t, size_t>> &moved) {
    size_t at = 0;
    repaired_.clear();
    auto upTo = [&](size_t end) {
      end = std::clamp(end, at, text.size());
      appendRepaired(repaired_, text.substr(at, end - at));
      at = end;
      return repaired_.size();
    };
    for (auto [begin, end] : ranges) {
      size_t from = upTo(begin);
      moved.push_back({from, upTo(end)});
    }
    upTo(text.size());
  };
  move(options_.trusted, trusted_);
  move(options_.answers, answers_);
  options_.trusted = trusted_;
  options_.answers = answers_;
  return repaired_;
}

/// The leftmost match of an added token, the longest one there.
bool Encoder::nextAdded(const Trie &trie, std::string_view text, size_t from, Found &found) const {
  for (size_t begin = from; begin < text.size(); ++begin) {
    uint32_t node = 0;
    bool any = false;
    for (size_t at = begin; at < text.size(); ++at) {
      node = trie.child(node, uint8_t(text[at]));
      if (node == kNone)
        break;
      if (t_.inRange(trie.nodes[node].value)) {
        found = {{begin, at + 1}, trie.nodes[node].value};
        any = true;
      }
    }
    if (any)
      return true;
  }
  return false;
}

/// Whether the token may stand where its text does.
bool Encoder::isTrusted(const Found &found, bool raw) const {
  auto inOneOf = [&](std::span<const std::pair<size_t, size_t>> ranges) {
    auto it =
        std::upper_bound(ranges.begin(), ranges.end(), std::pair{found.range.begin, SIZE_MAX});
    return it != ranges.begin() && std::prev(it)->second >= found.range.end;
  };
  if (t_.flags[found.id] & kSpecial)
    return options_.trusted.empty() ? options_.parseSpecial : raw && inOneOf(options_.trusted);
  return !raw ||
         !std::binary_search(options_.markers.begin(), options_.markers.end(), int32_t(found.id)) ||
         inOneOf(options_.answers);
}

bool Encoder::mayMatch(const Found &found, std::string_view text) const {
  uint8_t flags = t_.flags[found.id];
  if (flags & kSingleWord) {
    size_t edge;
    if (found.range.begin > 0 && t_.wordClass[codeBefore(text, found.range.begin, edge)])
      return false;
    if (found.range.end < text.size() && t_.wordClass[codeAt(text, found.range.end, edge)])
      return false;
  }
  return true;
}

/// Emits the added tokens of `text` and hands the text between them to `onText`.
template <class F> void Encoder::splitAdded(unsigned which, std::string_view text, F &&onText) {
  const Trie &trie = t_.added[which];
  size_t done = 0;
  Found found;
  for (size_t from = 0; !trie.nodes.empty() && nextAdded(trie, text, from, found);) {
    if (!isTrusted(found, which != 1)) { // one that begins inside its text may be
      from = found.range.begin + 1;
      continue;
    }
    from = found.range.end;
    if (!mayMatch(found, text))
      continue;
    auto [begin, end] = found.range;
    size_t edge;
    if (t_.flags[found.id] & kLstrip)
      while (begin > done && isSpace(codeBefore(text, begin, edge)))
        begin = edge;
    if (t_.flags[found.id] & kRstrip)
      while (end < text.size() && isSpace(codeAt(text, end, edge)))
        end = edge;
    if (done < begin)
      onText(text.substr(done, begin - done), done);
    out_.push_back(int32_t(found.id));
    done = end;
  }
  if (done < text.size())
    onText(text.substr(done), done);
}

std::string_view Encoder::normalise(std::string_view text) {
  unsigned which = 0;
  for (const NormalizerStep &step : t_.normalizers) {
    std::string &out = normalised_[which];
    std::string_view pattern = t_.string(step.pattern, step.patternBytes);
    std::string_view content = t_.string(step.content, step.contentBytes);
    if (step.kind == 0) {
      std::string_view composed = composeNfc(t_, text, out);
      if (composed.data() == text.data())
        continue;
      text = composed;
    } else if (step.kind == 1) {
      if (text.empty())
        continue;
      out.assign(content).append(text);
      text = out;
    } else {
      out.clear();
      for (size_t at = 0;;) {
        size_t hit = text.find(pattern, at);
        out.append(text.substr(at, hit - at));
        if (hit == std::string_view::npos)
          break;
        out.append(content);
        at = hit + pattern.size();
      }
      text = out;
    }
    which ^= 1;
  }
  return text;
}

void Encoder::segment(std::string_view text, bool atStart) {
  text = normalise(text);
  splitAdded(1, text, [&](std::string_view part, size_t begin) {
    preTokenise(part, atStart && begin == 0);
  });
}

void Encoder::preTokenise(std::string_view text, bool atStart) {
  ranges_.assign(1, {0, text.size()});
  for (const PreTokenizerStep &step : t_.preTokenizers) {
    if (step.kind == 0)
      split(step, text);
    else
      text = rewrite(step, text, atStart);
  }
  for (Range range : ranges_)
    model(text.substr(range.begin, range.end - range.begin));
}

/// Copies the text with a prefix before its ranges, or with another text for each space.
std::string_view Encoder::rewrite(const PreTokenizerStep &step, std::string_view text,
                                  bool atStart) {
  std::string &out = rewritten_[text.data() == rewritten_[0].data() ? 1 : 0];
  std::string_view insert = t_.string(step.text, step.textBytes);
  out.clear();
  nextRanges_.clear();
  for (Range range : ranges_) {
    size_t begin = out.size();
    std::string_view part = text.substr(range.begin, range.end - range.begin);
    if (step.kind == 1) {
      bool here = step.unless == 0 || (atStart && range.begin == 0);
      if (here && !part.starts_with(insert))
        out.append(insert);
      out.append(part);
    } else {
      for (char c : part)
        c == ' ' ? out.append(insert) : out.append(1, c);
    }
    if (out.size() > begin)
      nextRanges_.push_back({begin, out.size()});
  }
  ranges_.swap(nextRanges_);
  return out;
}

void Encoder::split(const PreTokenizerStep &step, std::string_view text) {
  nextRanges_.clear();
  for (Range range : ranges_) {
    Scanner scanner(t_.automata[step.automaton], text.substr(range.begin, range.end - range.begin));
    splitRange(step, scanner, text, range);
  }
  ranges_.swap(nextRanges_);
}

/// Splits one range the way `tokenizers` does: all matches and gaps, then what becomes of them.
void Encoder::splitRange(const PreTokenizerStep &step, Scanner &scanner, std::string_view text,
                         Range range) {
  matches_.clear();
  size_t size = range.end - range.begin, gap = 0;
  auto add = [&](size_t begin, size_t end, bool isMatch) {
    if (begin < end)
      matches_.push_back({{range.begin + begin, range.begin + end}, isMatch != (step.invert != 0)});
  };
  for (size_t at = 0; at < size;) {
    size_t end = scanner.match(at);
    if (end == std::string_view::npos || end == at) {
      const char *p = text.data() + range.begin + at;
      nextCode(p);
      at = p - text.data() - range.begin;
      continue;
    }
    add(gap, at, false);
    add(at, end, true);
    at = gap = end;
  }
  add(gap, size, false);

  size_t base = nextRanges_.size(); // ranges before belong to other pieces
  bool previous = false;
  if (step.behavior == MergedWithNext) {
    for (size_t i = matches_.size(); i-- > 0; previous = matches_[i].second) {
      if (matches_[i].second && !previous && nextRanges_.size() > base)
        nextRanges_.back().begin = matches_[i].first.begin;
      else
        nextRanges_.push_back(matches_[i].first);
    }
    std::reverse(nextRanges_.begin() + base, nextRanges_.end());
    return;
  }
  for (size_t i = 0; i < matches_.size(); previous = matches_[i++].second) {
    auto [part, isMatch] = matches_[i];
    bool join = nextRanges_.size() > base &&
                ((step.behavior == MergedWithPrevious && isMatch && !previous) ||
                 (step.behavior == Contiguous && isMatch == previous));
    if (step.behavior == Removed && isMatch)
      continue;
    if (join)
      nextRanges_.back().end = part.end;
    else
      nextRanges_.push_back(part);
  }
}

void Encoder::model(std::string_view piece) {
  if (t_.config.model == kUnigram)
    unigram_.encode(piece);
  else
    bpe_.encode(piece);
}

} // namespace retort::tok

namespace retort {

void Tokenizer::encode(std::string_view text, const EncodeOptions &options,
                       std::vector<int32_t> &ids) const {
  tok::Encoder(*tables_, options, ids).run(text);
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool addSpecial,
                                       bool parseSpecial) const {
  std::vector<int32_t> ids;
  encode(text, {addSpecial, parseSpecial, {}}, ids);
  return ids;
}

} // namespace retort
