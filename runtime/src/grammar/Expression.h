//===- Expression.h - Sets of texts, as expressions -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// What the compilers of schemas and patterns write, and automata are made of: expressions over bytes and
// calls of rules, and the nondeterministic automaton of one rule.
//
//===----------------------------------------------------------------------===//
#pragma once
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace retort::grammar {

/// What one grammar may take together. Passing a limit throws Error (Resources).
class Budget {
public:
  /// States of nondeterministic automata.
  void takeStates(size_t count);
  /// States of the automaton that matchers walk.
  void takeFinalStates(size_t count);
  /// Steps of making it.
  void takeWork(size_t count);

private:
  size_t states_ = 0, finalStates_ = 0, work_ = 0;
};

constexpr uint32_t kMany = UINT32_MAX; ///< of Expression::most: no limit

struct Expression;
using Expr = std::shared_ptr<const Expression>;
struct Expression {
  enum Kind { Bytes, Call, Sequence, Choice, Repeat };
  Kind kind;
  uint8_t low = 0, high = 0;        ///< Bytes: one of them
  uint32_t rule = 0;                ///< Call
  uint32_t least = 0, most = kMany; ///< Repeat
  std::vector<Expr> parts = {};     ///< Sequence: in order; Choice: one of them; Repeat: of that
};

Expr bytes(uint8_t low, uint8_t high);
Expr call(uint32_t rule);
Expr sequence(std::vector<Expr> parts); ///< of none: the empty text
Expr choice(std::vector<Expr> parts);   ///< of none: no text at all
Expr repeat(Expr part, uint32_t least, uint32_t most = kMany);
Expr literal(std::string_view text);
inline Expr optional(Expr part) { return repeat(std::move(part), 0, 1); }

/// Characters, as ranges that ascend and do not touch. Surrogates are none.
using CharSet = std::vector<std::pair<uint32_t, uint32_t>>;
CharSet normalised(CharSet set);
CharSet complement(const CharSet &set);
CharSet intersection(const CharSet &a, const CharSet &b);
/// The set's characters in UTF-8.
Expr utf8(const CharSet &set);

/// The automaton of a rule before it is made deterministic.
class Nfa {
public:
  struct Edge {
    uint8_t low, high;
    uint32_t target;
  };
  struct Called {
    uint32_t rule, target;
  };
  struct State {
    std::vector<Edge> edges;
    std::vector<Called> calls;
    std::vector<uint32_t> empty; ///< reached without a byte
  };

  explicit Nfa(Budget &budget) : budget_(&budget) {}
  uint32_t add();
  void empty(uint32_t from, uint32_t to) { states[from].empty.push_back(to); }
  /// Adds the expression's states behind `from`. Returns where its texts end.
  uint32_t emit(uint32_t from, const Expr &expr);

  std::vector<State> states;

private:
  Budget *budget_;
};

} // namespace retort::grammar
