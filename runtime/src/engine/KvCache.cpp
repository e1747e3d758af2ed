//===- KvCache.cpp - Which page holds which positions ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/KvCache.h"
#include "runtime/base/Error.h"
#include "runtime/src/engine/Buffer.h"

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
                 uint64_t pages)
    : maxContext_(maxContext), pageRows_(pageRows),
      pagesPerSlot_((maxContext + pageRows - 1) / pageRows), pages_(pages),
      bytes_(checkedProduct(pages, pageBytes)), table_(size_t(slots) * pagesPerSlot_),
      lengths_(slots) {
  free_.reserve(pages); // truncate() then never allocates
}

uint64_t KvCache::missingPages(int32_t slot, size_t rows) const {
  return pagesFor(length(slot) + rows) - pagesFor(length(slot));
}

void KvCache::grow(int32_t slot, size_t rows) {
  const size_t before = length(slot), after = before + rows;
  int32_t *row = &table_[size_t(slot) * pagesPerSlot_];
  version_ += pagesFor(before) != pagesFor(after);
  for (uint64_t i = pagesFor(before); i < pagesFor(after); ++i) {
    if (free_.empty()) {
      row[i] = int32_t(fresh_++);
    } else {
      row[i] = free_.back();
      free_.pop_back();
    }
  }
  lengths_[size_t(slot)] = after;
}

void KvCache::truncate(int32_t slot, size_t length) {
  int32_t *row = &table_[size_t(slot) * pagesPerSlot_];
  version_ += pagesFor(lengths_[size_t(slot)]) != pagesFor(length);
  for (uint64_t i = pagesFor(lengths_[size_t(slot)]); i > pagesFor(length); --i) {
    free_.push_back(row[i - 1]);
    row[i - 1] = 0;
  }
  lengths_[size_t(slot)] = length;
}

} // namespace retort::engine
