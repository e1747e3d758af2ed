//===- Grammar.h - What an answer may be ------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// A schema, a pattern or a list, compiled for a vocabulary. Most of a mask depends on nothing but the
// automaton's state (XGrammar, arXiv:2411.15100, section 3.1): which tokens stay inside the state's rule.
// States that take the same texts share it. It is known beforehand where it takes long to find, and the
// rest, tokens that reach beyond the rule, is a small trie of what follows there.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/src/grammar/Matcher.h"
#include <atomic>
#include <mutex>

namespace retort::grammar {

enum class Kind {
  JsonSchema, ///< JSON that a JSON Schema allows
  Pattern,    ///< texts that a regular expression matches as a whole
  Choice,     ///< one of a JSON list of texts
  Structure   ///< texts, tokens and grammars put together (Structure.h)
};

/// Tokens that may follow in a state, whatever follows its rule.
struct StateMask {
  TokenSet inside; ///< tokens that end inside the rule or with it; empty: they are in `few`
  std::vector<int32_t> few;    ///< the same
  Trie leaving;                ///< of tokens that reach beyond the rule: the part that does
  std::vector<uint32_t> below; ///< nodes of the vocabulary's trie behind which many tokens do
  bool ends = false;           ///< the rule may end before the token begins
  uint32_t reach = 0;          ///< calls that are open then, at most, with those that must follow
};

/// Immutable; any number of threads may use one.
class Grammar {
public:
  /// Throws Error: Usage if the text is wrong, not supported, or nothing can meet it; Resources if its
  /// automaton is too large. The message begins with the place that is wrong, as a JSON pointer, if
  /// there is one.
  Grammar(std::shared_ptr<const Vocabulary> vocabulary, Kind kind, std::string_view text);
  ~Grammar();

  const Automaton &automaton() const { return automaton_; }
  const Vocabulary &vocabulary() const { return *vocabulary_; }
  /// Null if the masks that are known already fill the memory that they may have.
  const StateMask *mask(uint32_t state) const;

private:
  std::unique_ptr<StateMask> findMask(uint32_t state) const;
  void prepare();

  std::shared_ptr<const Vocabulary> vocabulary_;
  Automaton automaton_;
  std::vector<uint32_t> kinds_;  ///< of each state: which mask is its own
  std::vector<uint32_t> states_; ///< of each mask: a state that has it
  mutable std::vector<std::atomic<const StateMask *>> masks_;
  mutable std::atomic<size_t> maskBytes_{0};
  mutable std::mutex mutex_; ///< of who makes one
};

} // namespace retort::grammar
