//===- Matcher.h - Where an answer stands in its grammar --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/grammar/Vocabulary.h"

namespace retort::grammar {

class Grammar;

/// A set of tokens: token t is bit t % 64 of word t / 64.
using TokenSet = std::vector<uint64_t>;

/// A way to read the text so far: a state, and what follows its rule.
struct Place {
  uint32_t state, stack; ///< stack: a frame; 0: nothing is known of what follows, or nothing does
  bool operator==(const Place &) const = default;
};

/// Ways to read a text that are followed at a time, after a token and before the last byte of one. What
/// is left out makes fewer texts and none that is wrong, since each way that is followed leads to an end.
constexpr size_t kMostPlaces = 64, kMostPlacesInside = 16;

/// Reads bytes from places. Frames are shared by the places that have the same ends of their stacks.
class Walker {
public:
  struct Frame {
    uint32_t parent, target, depth;
  };
  explicit Walker(const Automaton &automaton) : automaton_(&automaton), frames_{{0, 0, 0}} {}

  /// Appends the places behind `byte`, each once.
  void step(Place place, uint8_t byte, std::vector<Place> &out);
  /// Whether the text may end here: every rule that is open may.
  bool completes(Place place) const;
  /// Whether anything may follow.
  bool goesOn(Place place) const;
  const Frame &frame(uint32_t index) const { return frames_[index]; }

  /// Calls visit(node, places) for each node of the trie that can be read from `places`, but below none
  /// that can be in too many ways. `first`: only the nodes below the one before it.
  template <class Visit>
  void walk(const Trie &trie, const std::vector<Place> &places, Visit visit, size_t first = 0) {
    const size_t kept = frames_.size();
    if (levels_.size() <= trie.longest())
      levels_.resize(trie.longest() + 1), marks_.resize(trie.longest() + 1);
    levels_[0] = places;
    marks_[0] = frames_.size();
    const std::vector<Trie::Node> &nodes = trie.nodes();
    const uint32_t base = first ? nodes[first - 1].depth : 0;
    const size_t last = first ? nodes[first - 1].next : nodes.size();
    for (size_t i = first; i < last;) {
      const Trie::Node &node = nodes[i];
      const uint32_t depth = node.depth - base;
      std::vector<Place> &to = levels_[depth];
      frames_.resize(marks_[depth - 1]);
      to.clear();
      for (const Place place : levels_[depth - 1])
        step(place, node.byte, to);
      marks_[depth] = frames_.size();
      if (to.empty()) {
        i = node.next;
        continue;
      }
      visit(i, to);
      i = to.size() > kMostPlacesInside ? size_t(node.next) : i + 1;
    }
    frames_.resize(kept);
  }
  /// Drops frames that no place has.
  void compact(std::vector<Place> &places);
  size_t numFrames() const { return frames_.size(); }
  void truncate(size_t frames) { frames_.resize(frames); }

  uint32_t reach = 0; ///< the most calls that were open, with those that had to follow

private:
  uint32_t push(uint32_t parent, uint32_t target);
  const Automaton *automaton_;
  std::vector<Frame> frames_;
  std::vector<std::vector<Place>> levels_; ///< places at each depth of a walk
  std::vector<size_t> marks_;              ///< frames of those
};

/// Follows one answer. One thread at a time; a copy goes its own way.
class Matcher {
public:
  /// `before`: tokens that stand before the answer. Behind one with text, the answer's first token adds
  /// what others add.
  explicit Matcher(std::shared_ptr<const Grammar> grammar, std::span<const int32_t> before = {});
  /// Takes the answer's next token. False: it may not follow, and nothing changed.
  bool accept(int32_t token);
  /// The tokens that may follow; those that end an answer where the text may end. `allowed` is made
  /// large enough for the vocabulary.
  void mask(TokenSet &allowed);
  /// The text meets the grammar as it is.
  bool complete() const;
  /// Nothing can follow: it is complete, or a token has ended it.
  bool done() const;

private:
  void follow(Place place, std::string_view text);
  void addMask(Place place, TokenSet &allowed);
  void addWalk(const Trie &trie, Place place, TokenSet &allowed, size_t first = 0);

  std::shared_ptr<const Grammar> grammar_;
  Walker walker_;
  std::vector<Place> places_, next_, now_, after_;
  bool began_ = false, ended_ = false;
};

} // namespace retort::grammar
