//===- Bpe.cpp - Byte-pair encoding ---------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Merges the best-ranked pair first, the leftmost of equals (Sennrich et al., arXiv:1508.07909).
// Short words scan for the best pair; long ones keep pairs in a heap and symbols in a linked list,
// so a piece of n symbols takes O(n log n).
//
//===----------------------------------------------------------------------===//
#include "runtime/base/Utf8.h"
#include "runtime/src/tokenizer/Encoder.h"
#include <algorithm>
#include <functional>

namespace retort::tok {
namespace {
constexpr size_t kShort = 48;        ///< symbols
constexpr size_t kCacheSlots = 4096; ///< words
} // namespace

void BpeModel::encode(std::string_view piece) {
  if (t_.bigrams.empty())
    return encodeWord(piece);
  // No token crosses a pair of characters that stands in no token: cut there. It makes words of a
  // text that has no pre-tokeniser, and changes nothing else.
  const char *p = piece.data(), *end = p + piece.size(), *word = p;
  for (uint32_t previous = kNone; p < end;) {
    const char *here = p;
    uint32_t code = nextCode(p);
    if (previous != kNone && !t_.bigram(previous, code)) {
      encodeWord({word, size_t(here - word)});
      word = here;
    }
    previous = code;
  }
  encodeWord({word, size_t(end - word)});
}

void BpeModel::encodeWord(std::string_view word) {
  if (word.empty())
    return;
  if (int32_t id = t_.word(word); id >= 0)
    return out_.push_back(id);
  CacheEntry *entry = nullptr;
  if (word.size() <= sizeof entry->key) {
    if (cache_.empty() && ++words_ > 256) // short calls are better off without
      cache_.resize(kCacheSlots);
    if (!cache_.empty()) {
      entry = &cache_[hashBytes(word) & (kCacheSlots - 1)];
      if (entry->count && std::string_view(entry->key, entry->keyBytes) == word)
        return void(out_.insert(out_.end(), entry->ids, entry->ids + entry->count));
    }
  }
  size_t before = out_.size();
  symbols(word);
  if (ids_.size() <= kShort)
    mergeShort();
  else
    mergeLong();
  size_t made = out_.size() - before;
  if (entry && made > 0 && made <= std::size(entry->ids)) {
    entry->keyBytes = uint8_t(word.size());
    entry->count = uint8_t(made);
    std::copy(word.begin(), word.end(), entry->key);
    std::copy(out_.begin() + before, out_.end(), entry->ids);
  }
}

/// The symbols that merging starts from: bytes, or characters with their fallbacks.
void BpeModel::symbols(std::string_view word) {
  ids_.clear();
  bool unknownOpen = false;
  auto known = [&](int32_t id) { // or, for -1, the unknown token: one for a run if they are fused
    if (id >= 0)
      ids_.push_back(uint32_t(id));
    else if (t_.config.unknown >= 0 && !(t_.has(kFuseUnknown) && unknownOpen))
      ids_.push_back(uint32_t(t_.config.unknown));
    unknownOpen = id < 0;
  };
  for (const char *p = word.data(), *end = p + word.size(); p < end;) {
    const char *begin = p;
    if (t_.has(kByteLevel)) {
      // Bytes of one character that have no token count one by one, as the byte alphabet's letters
      // do.
      known(t_.byteIds[uint8_t(*p++)]);
      continue;
    }
    int32_t id = t_.charId(nextCode(p));
    if (id < 0 && t_.has(kByteFallback)) {
      for (; begin < p; ++begin)
        ids_.push_back(uint32_t(t_.byteIds[uint8_t(*begin)]));
    } else {
      known(id);
    }
  }
}

void BpeModel::mergeShort() {
  uint32_t ranks[kShort], results[kShort];
  size_t count = ids_.size();
  auto look = [&](size_t i) {
    const MergeSlot *merge = t_.merge(ids_[i], ids_[i + 1]);
    ranks[i] = merge ? merge->rank : kNone;
    results[i] = merge ? merge->result : 0;
  };
  for (size_t i = 0; i + 1 < count; ++i)
    look(i);
  while (count > 1) {
    size_t best = std::min_element(ranks, ranks + count - 1) - ranks;
    if (ranks[best] == kNone)
      break;
    ids_[best] = results[best];
    --count;
    std::move(ids_.begin() + best + 2, ids_.begin() + count + 1, ids_.begin() + best + 1);
    std::move(ranks + best + 1, ranks + count, ranks + best);
    std::move(results + best + 1, results + count, results + best);
    if (best > 0)
      look(best - 1);
    if (best + 1 < count)
      look(best);
  }
  out_.insert(out_.end(), ids_.begin(), ids_.begin() + count);
}

void BpeModel::pushPair(size_t left, size_t right) {
  const MergeSlot *merge = t_.merge(ids_[left], ids_[right]);
  ranks_[left] = merge ? merge->rank : kNone;
  if (!merge)
    return;
  heap_.push_back(uint64_t(merge->rank) << 32 | left);
  std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
}

void BpeModel::mergeLong() {
  size_t count = ids_.size();
  ranks_.assign(count, kNone);
  previous_.resize(count);
  next_.resize(count);
  heap_.clear();
  for (size_t i = 0; i < count; ++i) {
    previous_[i] = i == 0 ? kNone : uint32_t(i - 1);
    next_[i] = i + 1 < count ? uint32_t(i + 1) : kNone;
    const MergeSlot *merge = i + 1 < count ? t_.merge(ids_[i], ids_[i + 1]) : nullptr;
    if (!merge)
      continue;
    ranks_[i] = merge->rank;
    heap_.push_back(uint64_t(merge->rank) << 32 | i);
  }
  std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
  while (!heap_.empty()) {
    uint64_t top = heap_.front();
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    heap_.pop_back();
    size_t left = uint32_t(top);
    if (ranks_[left] != top >> 32 || ranks_[left] == kNone)
      continue; // a pair that is gone
    size_t right = next_[left];
    ids_[left] = t_.merge(ids_[left], ids_[right])->result;
    ranks_[right] = kNone;
    ids_[right] = kNone;
    next_[left] = next_[right];
    ranks_[left] = kNone;
    if (next_[left] != kNone) {
      previous_[next_[left]] = uint32_t(left);
      pushPair(left, next_[left]);
    }
    if (previous_[left] != kNone)
      pushPair(previous_[left], left);
  }
  for (size_t i = 0; i != kNone && i < count; i = next_[i])
    out_.push_back(int32_t(ids_[i]));
}

} // namespace retort::tok
