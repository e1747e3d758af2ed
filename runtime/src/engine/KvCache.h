//===- KvCache.h - Which page holds which positions -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Pages of `pageRows` positions for all layers, given to slots as they grow (after vLLM,
// arXiv:2309.06180) and taken back when they shrink. Freed pages are used again first, so memory
// stays at its high-water mark. This is the table alone: the pages' memory belongs to the device.
// With a prefix cache, full pages outlive their slots, and slots that begin alike share them.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/src/engine/PrefixCache.h"
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace retort::engine {

class KvCache {
public:
  /// Throws Error (Resources) if the sizes overflow. `pages` may be less than all slots' need.
  KvCache(uint32_t slots, uint32_t maxContext, uint32_t pageRows, uint64_t pageBytes,
          uint64_t pages, bool sharesPrefixes);

  bool hasSlot(int64_t slot) const { return slot >= 0 && size_t(slot) < lengths_.size(); }
  uint32_t slots() const { return uint32_t(lengths_.size()); }
  uint32_t maxContext() const { return maxContext_; }
  uint32_t pageRows() const { return pageRows_; }
  uint32_t pagesPerSlot() const { return pagesPerSlot_; }
  uint64_t pages() const { return pages_; }
  /// Those that a slot can have: also pages that are kept for what they hold.
  uint64_t freePages() const {
    return free_.size() + (pages_ - fresh_) + (prefixes_ ? prefixes_->idle() : 0);
  }
  size_t length(int32_t slot) const { return lengths_[size_t(slot)]; }
  /// Pages that a slot lacks to grow by `rows`.
  uint64_t missingPages(int32_t slot, size_t rows) const;
  /// Makes room for `rows` more positions; they must fit the context and the free pages.
  void grow(int32_t slot, size_t rows);
  /// The token of a position is in the cache now. With a prefix cache, a page that this fills is shared
  /// from now on.
  void wrote(int32_t slot, size_t position, int32_t token);
  /// A page to be copied, since what follows in it will not be the same for all that have it.
  struct Copy {
    int32_t from, to;
  };
  /// Whether the page that a truncation must copy, if any, finds a free one.
  bool canTruncate(int32_t slot, size_t length) const;
  /// Forgets positions from `length` on.
  std::optional<Copy> truncate(int32_t slot, size_t length);
  /// Gives an empty slot the pages that are known to hold its first tokens, whole ones, and leaves one
  /// of the tokens out at least. Returns how many positions that are; 0 without a prefix cache.
  size_t reuse(int32_t slot, std::span<const int32_t> tokens);

  /// Of all pages together.
  uint64_t bytes() const { return bytes_; }
  /// [slots][pagesPerSlot]; entries past a slot's length are 0.
  std::span<const int32_t> table() const { return table_; }
  /// Changes with every change of table(), so that a copy of it can be kept.
  uint64_t version() const { return version_; }

private:
  uint64_t pagesFor(size_t length) const { return (length + pageRows_ - 1) / pageRows_; }
  int32_t *pagesOf(int32_t slot) { return &table_[size_t(slot) * pagesPerSlot_]; }
  bool truncateCopies(int32_t slot, size_t length) const;
  int32_t takePage();
  void giveBack(int32_t page);

  uint32_t maxContext_, pageRows_, pagesPerSlot_;
  uint64_t pages_, bytes_;
  uint64_t fresh_ = 0; ///< pages from fresh_ on were never used
  uint64_t version_ = 1;
  std::vector<int32_t> free_; ///< used before; the last one is taken first
  std::vector<int32_t> table_;
  std::vector<size_t> lengths_;
  std::optional<PrefixCache> prefixes_;
};

} // namespace retort::engine
