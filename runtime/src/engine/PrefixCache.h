//===- PrefixCache.h - Which pages hold the same tokens ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// A radix tree over pages of the KV cache (after SGLang's RadixAttention, arXiv:2312.07104): a full page is
// a node, whose parent is the page before it in its slot, so that it stands for all tokens from position 0
// to its end. Slots that begin alike hold the same pages. A page that no slot holds any longer stays until
// another page is needed; those that were let go of first are taken first.
//
// Slots let go of their pages from the end, and who holds a page holds its parent. So in the order in which
// pages were let go of, a page comes before its parent, and the first one has none that go on from it.
//
// Nothing allocates memory but the constructor.
//
//===----------------------------------------------------------------------===//
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace retort::engine {

class PrefixCache {
public:
  static constexpr int32_t kNone = -1; ///< no page; as a parent: the beginning

  PrefixCache(uint64_t pages, uint32_t pageRows);

  /// The page's token in that row is known. Of pages that are no nodes.
  void write(int32_t page, uint32_t row, int32_t token) {
    tokens_[size_t(page) * pageRows_ + row] = token;
  }
  /// A full page becomes a node, held once; or, if there is one of these tokens after `parent`
  /// already, that one is held once more. Returns which; in the second case `page` is the caller's.
  int32_t seal(int32_t parent, int32_t page);
  /// The node of these tokens ([pageRows]) after `parent`; kNone: there is none.
  int32_t find(int32_t parent, std::span<const int32_t> tokens) const;
  void hold(int32_t page);
  void release(int32_t page);
  /// Whether a node is held once and no other goes on from it.
  bool isLast(int32_t page) const {
    return nodes_[size_t(page)].holders == 1 && nodes_[size_t(page)].children == 0;
  }
  /// Makes such a node the caller's page again.
  void unseal(int32_t page) { remove(page); }
  /// Of the page's rows, the first `rows` are those of `from`.
  void copyRows(int32_t from, int32_t page, uint32_t rows);

  bool isNode(int32_t page) const { return nodes_[size_t(page)].isNode; }
  uint32_t holders(int32_t page) const { return nodes_[size_t(page)].holders; }
  /// Nodes that no slot holds.
  uint64_t idle() const { return idle_; }
  /// Takes the page of the node that has been idle longest; there must be one.
  int32_t evict();

private:
  struct Node {
    bool isNode = false;
    int32_t parent = kNone, nextOfHash = kNone;
    int32_t earlier = kNone, later = kNone; ///< among idle ones
    uint32_t holders = 0, children = 0;
  };
  std::span<const int32_t> tokensOf(int32_t page) const {
    return {&tokens_[size_t(page) * pageRows_], pageRows_};
  }
  Node &node(int32_t page) { return nodes_[size_t(page)]; }
  size_t bucketOf(int32_t parent, std::span<const int32_t> tokens) const;
  void leaveIdle(int32_t page);
  void remove(int32_t page);

  const uint32_t pageRows_;
  const uint64_t salt_;          ///< so that nobody can choose tokens whose hashes collide
  std::vector<Node> nodes_;      ///< [pages]
  std::vector<int32_t> tokens_;  ///< [pages][pageRows]
  std::vector<int32_t> buckets_; ///< a power of two of them: the first node of a hash
  int32_t earliest_ = kNone, latest_ = kNone; ///< idle
  uint64_t idle_ = 0;
};

} // namespace retort::engine
