//===- Unigram.cpp - The unigram language model ---------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/Utf8.h"
#include "runtime/src/tokenizer/Encoder.h"

namespace retort::tok {

void UnigramModel::encode(std::string_view piece) {
  best_.assign(piece.size() + 1, {0, kNone, 0});
  best_[0].start = 0;
  auto relax = [&](size_t from, size_t to, double score, uint32_t id) {
    Best &target = best_[to];
    score += best_[from].score;
    if (target.start == kNone || score > target.score)
      target = {score, uint32_t(from), id};
  };
  const Trie &trie = t_.pieces;
  for (const char *p = piece.data(), *end = p + piece.size(); p < end;) {
    size_t begin = p - piece.data();
    nextCode(p);
    size_t afterOne = p - piece.data();
    bool single = false;
    uint32_t node = 0;
    for (size_t at = begin; at < piece.size(); ++at) {
      node = trie.child(node, uint8_t(piece[at]));
      if (node == kNone)
        break;
      uint32_t id = trie.nodes[node].value;
      if (!t_.inRange(id))
        continue;
      relax(begin, at + 1, t_.scores[id], id);
      single |= at + 1 == afterOne;
    }
    if (!single)
      relax(begin, afterOne, t_.config.unknownScore, uint32_t(t_.config.unknown));
  }
  pieces_.clear();
  for (size_t end = piece.size(); end > 0; end = best_[end].start)
    pieces_.push_back({best_[end].id, {best_[end].start, end}});
  for (size_t i = pieces_.size(); i-- > 0;) {
    auto [id, range] = pieces_[i];
    if (id != uint32_t(t_.config.unknown)) {
      out_.push_back(int32_t(id));
      continue;
    }
    while (t_.has(kFuseUnknown) && i > 0 && pieces_[i - 1].first == id)
      range.end = pieces_[--i].second.end;
    emitUnknown(piece.substr(range.begin, range.end - range.begin));
  }
}

/// A run of characters outside the vocabulary: bytes if the model has them, else one unknown token.
void UnigramModel::emitUnknown(std::string_view run) {
  uint32_t node = 0;
  for (size_t i = 0; i < run.size() && node != kNone; ++i)
    node = t_.pieces.child(node, uint8_t(run[i]));
  if (node != kNone && t_.inRange(t_.pieces.nodes[node].value))
    return out_.push_back(int32_t(t_.pieces.nodes[node].value));
  if (!t_.has(kByteFallback))
    return out_.push_back(t_.config.unknown);
  for (char c : run)
    out_.push_back(t_.byteIds[uint8_t(c)]);
}

} // namespace retort::tok
