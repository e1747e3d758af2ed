//===- KvCache.cpp - Which page holds which positions ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/KvCache.h"
#include "runtime/base/Error.h"
#include "runtime/src/engine/Buffer.h"

#include <algorithm>

namespace retort::engine {
namespace {

uint64_t checkedProduct(uint64_t a, uint64_t b) {
  uint64_t product;
  if (__builtin_mul_overflow(a, b, &product))
    fail(ExitCode::Resources, "no memory for the KV cache: " + std::to_string(a) + " pages of " +
                                  sizeText(b) + ": ask for fewer slots or a shorter max_context");
  return product;
}

} // namespace

KvCache::KvCache(uint32_t slots, uint32_t maxContext, uint32_t pageRows, uint64_t pageBytes,
                 uint64_t pages, bool sharesPrefixes)
    : maxContext_(maxContext), pageRows_(pageRows),
      pagesPerSlot_((maxContext + pageRows - 1) / pageRows), pages_(pages),
      bytes_(checkedProduct(pages, pageBytes)), table_(size_t(slots) * pagesPerSlot_),
      lengths_(slots) {
  free_.reserve(pages); // truncate() then never allocates
  if (sharesPrefixes)
    prefixes_.emplace(pages, pageRows);
}

uint64_t KvCache::missingPages(int32_t slot, size_t rows) const {
  return pagesFor(length(slot) + rows) - pagesFor(length(slot));
}

int32_t KvCache::takePage() {
  if (free_.empty())
    return fresh_ < pages_ ? int32_t(fresh_++) : prefixes_->evict();
  const int32_t page = free_.back();
  free_.pop_back();
  return page;
}

void KvCache::giveBack(int32_t page) {
  if (prefixes_ && prefixes_->isNode(page))
    prefixes_->release(page);
  else
    free_.push_back(page);
}

void KvCache::grow(int32_t slot, size_t rows) {
  const size_t before = length(slot), after = before + rows;
  version_ += pagesFor(before) != pagesFor(after);
  for (uint64_t i = pagesFor(before); i < pagesFor(after); ++i)
    pagesOf(slot)[i] = takePage();
  lengths_[size_t(slot)] = after;
}

void KvCache::wrote(int32_t slot, size_t position, int32_t token) {
  if (!prefixes_)
    return;
  const size_t index = position / pageRows_, row = position % pageRows_;
  int32_t *page = pagesOf(slot) + index;
  prefixes_->write(*page, uint32_t(row), token);
  if (row + 1 != pageRows_)
    return;
  const int32_t kept = prefixes_->seal(index ? page[-1] : PrefixCache::kNone, *page);
  if (kept == *page)
    return;
  free_.push_back(*page); // the same was computed twice
  *page = kept;
  ++version_;
}

/// Whether the last page that stays is to be copied: it was full, others hold it or go on from it, and it
/// will be written to again.
bool KvCache::truncateCopies(int32_t slot, size_t length) const {
  if (length >= lengths_[size_t(slot)] || length % pageRows_ == 0 || !prefixes_)
    return false;
  const int32_t page = table_[size_t(slot) * pagesPerSlot_ + pagesFor(length) - 1];
  return prefixes_->isNode(page) && !prefixes_->isLast(page);
}

bool KvCache::canTruncate(int32_t slot, size_t length) const {
  if (!truncateCopies(slot, length) || freePages() > 0)
    return true;
  // Pages behind it that nobody else holds become free.
  const int32_t *const row = &table_[size_t(slot) * pagesPerSlot_];
  return std::any_of(
      row + pagesFor(length), row + pagesFor(lengths_[size_t(slot)]),
      [&](int32_t page) { return !prefixes_->isNode(page) || prefixes_->holders(page) == 1; });
}

std::optional<KvCache::Copy> KvCache::truncate(int32_t slot, size_t length) {
  const size_t before = lengths_[size_t(slot)], kept = pagesFor(length);
  int32_t *const row = pagesOf(slot);
  const bool copies = truncateCopies(slot, length);
  version_ += pagesFor(before) != kept;
  for (uint64_t i = pagesFor(before); i > kept; --i) {
    giveBack(row[i - 1]);
    row[i - 1] = 0;
  }
  lengths_[size_t(slot)] = length;
  if (!copies) {
    if (length % pageRows_ != 0 && prefixes_ && prefixes_->isNode(row[kept - 1]))
      prefixes_->unseal(row[kept - 1]);
    return std::nullopt;
  }
  const Copy copy = {row[kept - 1], takePage()};
  prefixes_->copyRows(copy.from, copy.to, uint32_t(length % pageRows_));
  prefixes_->release(copy.from);
  row[kept - 1] = copy.to;
  ++version_;
  return copy;
}

size_t KvCache::reuse(int32_t slot, std::span<const int32_t> tokens) {
  size_t pages = 0;
  int32_t page = PrefixCache::kNone;
  const size_t most = std::min<size_t>(tokens.size(), maxContext_);
  while (prefixes_ && (pages + 1) * pageRows_ < most) {
    page = prefixes_->find(page, tokens.subspan(pages * pageRows_, pageRows_));
    if (page == PrefixCache::kNone)
      break;
    prefixes_->hold(page);
    pagesOf(slot)[pages++] = page;
  }
  version_ += pages != 0;
  return lengths_[size_t(slot)] = pages * pageRows_;
}

} // namespace retort::engine
