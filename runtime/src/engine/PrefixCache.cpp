//===- PrefixCache.cpp - Which pages hold the same tokens -----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/PrefixCache.h"
#include "runtime/base/Mix.h"

#include <algorithm>
#include <bit>
#include <random>

namespace retort::engine {
namespace {

uint64_t randomSalt() {
  std::random_device device;
  return uint64_t(device()) << 32 | device();
}

} // namespace

PrefixCache::PrefixCache(uint64_t pages, uint32_t pageRows)
    : pageRows_(pageRows), salt_(randomSalt()), nodes_(pages), tokens_(pages * pageRows),
      buckets_(std::bit_ceil(pages), kNone) {}

size_t PrefixCache::bucketOf(int32_t parent, std::span<const int32_t> tokens) const {
  uint64_t hash = mix64(salt_ ^ uint32_t(parent));
  for (int32_t token : tokens)
    hash = mix64(hash + salt_ + uint32_t(token));
  return hash & (buckets_.size() - 1);
}

int32_t PrefixCache::find(int32_t parent, std::span<const int32_t> tokens) const {
  int32_t page = buckets_[bucketOf(parent, tokens)];
  while (page != kNone &&
         (nodes_[size_t(page)].parent != parent || !std::ranges::equal(tokensOf(page), tokens)))
    page = nodes_[size_t(page)].nextOfHash;
  return page;
}

int32_t PrefixCache::seal(int32_t parent, int32_t page) {
  if (const int32_t same = find(parent, tokensOf(page)); same != kNone) {
    hold(same);
    return same;
  }
  int32_t &first = buckets_[bucketOf(parent, tokensOf(page))];
  node(page) = {.isNode = true, .parent = parent, .nextOfHash = first, .holders = 1};
  first = page;
  if (parent != kNone)
    ++node(parent).children;
  return page;
}

void PrefixCache::hold(int32_t page) {
  if (node(page).holders++ == 0)
    leaveIdle(page);
}

void PrefixCache::release(int32_t page) {
  Node &released = node(page);
  if (--released.holders != 0)
    return;
  ++idle_;
  released.earlier = latest_;
  (latest_ == kNone ? earliest_ : node(latest_).later) = page;
  latest_ = page;
}

void PrefixCache::leaveIdle(int32_t page) {
  Node &own = node(page);
  (own.earlier == kNone ? earliest_ : node(own.earlier).later) = own.later;
  (own.later == kNone ? latest_ : node(own.later).earlier) = own.earlier;
  own.earlier = own.later = kNone;
  --idle_;
}

void PrefixCache::remove(int32_t page) {
  int32_t *link = &buckets_[bucketOf(node(page).parent, tokensOf(page))];
  while (*link != page)
    link = &node(*link).nextOfHash;
  *link = node(page).nextOfHash;
  if (node(page).parent != kNone)
    --node(node(page).parent).children;
  node(page) = {};
}

void PrefixCache::copyRows(int32_t from, int32_t page, uint32_t rows) {
  std::copy_n(&tokens_[size_t(from) * pageRows_], rows, &tokens_[size_t(page) * pageRows_]);
}

int32_t PrefixCache::evict() {
  const int32_t page = earliest_;
  leaveIdle(page);
  remove(page);
  return page;
}

} // namespace retort::engine
