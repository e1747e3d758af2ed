//===- Automaton.h - A pushdown automaton over bytes ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Rules call each other; each is a deterministic automaton over bytes and calls. What follows a call is
// known only to whoever has the stack, so a text may be read in more than one way at a time.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/src/grammar/Expression.h"
#include <bitset>
#include <span>

namespace retort::grammar {

using ByteSet = std::bitset<256>;

/// Calls that may be open at a time. JSON that is nested deeper few parsers read.
constexpr uint32_t kMostDepth = 128;

class Automaton {
public:
  struct Edge {
    uint8_t low, high;
    uint32_t target;
  };
  struct Call {
    uint32_t enter;  ///< the first state of the rule
    uint32_t target; ///< where its texts end
    uint32_t rule;
  };
  struct State {
    uint32_t firstEdge, firstCall; ///< the last are before those of the next state
    uint32_t height; ///< calls that must be open at a time, at least, before the rule's end
    bool final;      ///< the rule may end here
    bool root;       ///< of the rule that nobody calls
  };

  std::span<const Edge> edges(uint32_t state) const {
    return {edges_.data() + states_[state].firstEdge, edges_.data() + states_[state + 1].firstEdge};
  }
  std::span<const Call> calls(uint32_t state) const {
    return {calls_.data() + states_[state].firstCall, calls_.data() + states_[state + 1].firstCall};
  }
  const State &state(uint32_t index) const { return states_[index]; }
  size_t size() const { return states_.size() - 1; }
  uint32_t start() const { return start_; }
  /// Whether a text of the rule may begin with a byte.
  bool mayBegin(uint32_t rule, uint8_t byte) const { return firsts_[rule][byte]; }
  /// Nothing can follow in the rule.
  bool ends(uint32_t state) const { return edges(state).empty() && calls(state).empty(); }

  /// A number for each state: two that have the same take the same texts of up to `bytes` bytes.
  std::vector<uint64_t> alike(size_t bytes) const;

private:
  friend class AutomatonBuilder;
  std::vector<State> states_; ///< one more at the end
  std::vector<Edge> edges_;
  std::vector<Call> calls_;
  std::vector<ByteSet> firsts_; ///< of each rule
  uint32_t start_ = 0;
};

/// Makes an automaton of rules.
class AutomatonBuilder {
public:
  /// `alphabet`: bytes that texts may hold.
  AutomatonBuilder(Budget &budget, const ByteSet &alphabet)
      : budget_(budget), alphabet_(alphabet) {}
  /// A rule that is yet to be defined.
  uint32_t add();
  /// The rule's texts lead from state 0 of `nfa` to `end`.
  void define(uint32_t rule, const Nfa &nfa, uint32_t end, bool root = false);
  /// Throws Error (Usage) if no text of the rule `root` ends, or a rule calls itself before its texts
  /// begin.
  Automaton finish(uint32_t root);

private:
  using Set = std::vector<uint32_t>;
  Set closure(const Nfa &nfa, Set states, uint32_t end) const;
  void findHeights();
  void dropDead();
  void findFirsts();

  Budget &budget_;
  ByteSet alphabet_;
  Automaton automaton_;
  std::vector<uint32_t> starts_; ///< of each rule
};

} // namespace retort::grammar
