//===- Vocabulary.cpp - Tokens by their bytes -----------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/grammar/Vocabulary.h"

#include <algorithm>

namespace retort::grammar {
namespace {

/// No byte of UTF-8 is as large; special tokens are spelt with those.
constexpr uint8_t kFirstForeign = 0xF5, kMark = 0xFF;

/// A mark, and the number to base 8.
std::string spelledSpecial(int32_t id) {
  std::string text(1, char(kMark));
  for (int shift = 27; shift >= 0; shift -= 3)
    text += char(kFirstForeign + (id >> shift & 7));
  return text;
}

bool isForeign(const std::string &text) {
  return std::any_of(text.begin(), text.end(),
                     [](char byte) { return uint8_t(byte) >= kFirstForeign; });
}

} // namespace

Trie::Trie(std::vector<std::pair<std::string_view, int32_t>> texts) {
  std::sort(texts.begin(), texts.end());
  std::vector<uint32_t> path; // the nodes of the last text
  std::string_view last;
  for (const auto &[text, token] : texts) {
    const size_t shared = size_t(
        std::mismatch(last.begin(), last.end(), text.begin(), text.end()).first - last.begin());
    for (; path.size() > shared; path.pop_back())
      nodes_[path.back()].next = uint32_t(nodes_.size());
    for (size_t i = shared; i < text.size(); ++i) {
      path.push_back(uint32_t(nodes_.size()));
      const uint32_t at = uint32_t(tokens_.size());
      nodes_.push_back({uint8_t(text[i]), uint32_t(i + 1), 0, at, at});
    }
    tokens_.push_back(token);
    nodes_[path.back()].endToken = uint32_t(tokens_.size());
    longest_ = std::max(longest_, uint32_t(text.size()));
    last = text;
  }
  for (uint32_t node : path)
    nodes_[node].next = uint32_t(nodes_.size());
}

Vocabulary::Vocabulary(std::vector<Token> tokens) : tokens_(std::move(tokens)) {
  std::vector<std::pair<std::string_view, int32_t>> texts, firsts;
  bool differ = false;
  for (int32_t id = 0; size_t(id) < tokens_.size(); ++id) {
    Token &token = tokens_[size_t(id)];
    if (token.stop) {
      stops_.push_back(id);
      continue;
    }
    if (token.special && !token.text.empty()) {
      specials_.emplace(token.text, id);
      token.text = token.first = spelledSpecial(id);
      for (int byte = kFirstForeign; byte <= kMark; ++byte)
        alphabet_[size_t(byte)] = true;
    } else if (isForeign(token.text) || isForeign(token.first)) {
      token.text = token.first = {}; // in no text that is UTF-8
    }
    differ |= token.text != token.first;
    if (!token.text.empty())
      texts.emplace_back(token.text, id);
    if (!token.first.empty())
      firsts.emplace_back(token.first, id);
    if (token.text.size() == 1)
      alphabet_[uint8_t(token.text[0])] = true;
  }
  trie_ = Trie(std::move(texts));
  if (differ)
    first_ = Trie(std::move(firsts));
}

std::string_view Vocabulary::special(const std::string &name) const {
  const auto at = specials_.find(name);
  return at == specials_.end() ? std::string_view() : tokens_[size_t(at->second)].text;
}

} // namespace retort::grammar
