//===- Expression.cpp - Sets of texts, as expressions ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/grammar/Expression.h"
#include "runtime/base/Error.h"
#include "runtime/base/Utf8.h"

#include <algorithm>
#include <string>

namespace retort::grammar {
namespace {

constexpr size_t kMostStates = 400'000, kMostFinalStates = 60'000, kMostWork = 20'000'000;

void take(size_t &used, size_t count, size_t most, const char *what) {
  used += count;
  if (count > most || used > most)
    fail(ExitCode::Resources, "it takes more than " + std::to_string(most) + " " + what +
                                  ": ask for less, with smaller counts or fewer alternatives");
}

Expr make(Expression expression) {
  return std::make_shared<const Expression>(std::move(expression));
}

constexpr uint32_t kLastChar = 0x10FFFF;

/// Ranges of characters whose UTF-8 differs in what no range of bytes says are split (Cox, "Regular
/// expression matching in the wild", 2010).
void addUtf8(uint32_t low, uint32_t high, std::vector<Expr> &out) {
  for (uint32_t last : {0x7Fu, 0x7FFu, 0xFFFFu})
    if (low <= last && high > last) {
      addUtf8(low, last, out);
      return addUtf8(last + 1, high, out);
    }
  if (high > 0x7F)
    for (int i = 1; i <= 3; ++i) {
      const uint32_t mask = (1u << (6 * i)) - 1;
      if ((low & ~mask) == (high & ~mask))
        continue;
      if ((low & mask) != 0) {
        addUtf8(low, low | mask, out);
        return addUtf8((low | mask) + 1, high, out);
      }
      if ((high & mask) != mask) {
        addUtf8(low, (high & ~mask) - 1, out);
        return addUtf8(high & ~mask, high, out);
      }
    }
  std::string first, last;
  appendUtf8(first, low);
  appendUtf8(last, high);
  std::vector<Expr> parts;
  for (size_t i = 0; i < first.size(); ++i)
    parts.push_back(bytes(uint8_t(first[i]), uint8_t(last[i])));
  out.push_back(sequence(std::move(parts)));
}

} // namespace

void Budget::takeStates(size_t count) { take(states_, count, kMostStates, "states"); }
void Budget::takeFinalStates(size_t count) {
  take(finalStates_, count, kMostFinalStates, "states of its automaton");
}
void Budget::takeWork(size_t count) { take(work_, count, kMostWork, "steps to compile"); }

Expr bytes(uint8_t low, uint8_t high) {
  return make({.kind = Expression::Bytes, .low = low, .high = high});
}
Expr call(uint32_t rule) { return make({.kind = Expression::Call, .rule = rule}); }
Expr sequence(std::vector<Expr> parts) {
  return make({.kind = Expression::Sequence, .parts = std::move(parts)});
}
Expr choice(std::vector<Expr> parts) {
  return make({.kind = Expression::Choice, .parts = std::move(parts)});
}
Expr repeat(Expr part, uint32_t least, uint32_t most) {
  return make(
      {.kind = Expression::Repeat, .least = least, .most = most, .parts = {std::move(part)}});
}
Expr literal(std::string_view text) {
  std::vector<Expr> parts;
  for (char byte : text)
    parts.push_back(bytes(uint8_t(byte), uint8_t(byte)));
  return sequence(std::move(parts));
}

CharSet normalised(CharSet set) {
  std::sort(set.begin(), set.end());
  CharSet result;
  for (const auto &[low, high] : set)
    if (!result.empty() && low <= result.back().second + 1)
      result.back().second = std::max(result.back().second, high);
    else
      result.emplace_back(low, high);
  return result;
}

CharSet complement(const CharSet &set) {
  CharSet with = set, result;
  with.emplace_back(0xD800, 0xDFFF);
  uint32_t next = 0;
  for (const auto &[low, high] : normalised(std::move(with))) {
    if (low > next)
      result.emplace_back(next, low - 1);
    next = high + 1;
  }
  if (next <= kLastChar)
    result.emplace_back(next, kLastChar);
  return result;
}

CharSet intersection(const CharSet &a, const CharSet &b) {
  CharSet outside = complement(a);
  for (const auto &range : complement(b))
    outside.push_back(range);
  return complement(normalised(std::move(outside)));
}

Expr utf8(const CharSet &set) {
  std::vector<Expr> parts;
  for (const auto &[low, high] : intersection(set, complement({})))
    addUtf8(low, high, parts);
  return choice(std::move(parts));
}

uint32_t Nfa::add() {
  budget_->takeStates(1);
  states.emplace_back();
  return uint32_t(states.size() - 1);
}

uint32_t Nfa::emit(uint32_t from, const Expr &expr) {
  switch (expr->kind) {
  case Expression::Bytes: {
    const uint32_t to = add();
    states[from].edges.push_back({expr->low, expr->high, to});
    return to;
  }
  case Expression::Call: {
    const uint32_t to = add();
    states[from].calls.push_back({expr->rule, to});
    return to;
  }
  case Expression::Sequence:
    for (const Expr &part : expr->parts)
      from = emit(from, part);
    return from;
  case Expression::Choice: {
    const uint32_t to = add();
    for (const Expr &part : expr->parts)
      empty(emit(from, part), to);
    return to;
  }
  case Expression::Repeat:
    break;
  }
  const Expr &part = expr->parts[0];
  for (uint32_t i = 0; i < expr->least; ++i) {
    budget_->takeStates(1); // also for a part that adds none
    from = emit(from, part);
  }
  const uint32_t to = add();
  if (expr->most == kMany) {
    empty(from, to);
    empty(emit(to, part), to);
    return to;
  }
  for (uint32_t i = expr->least; i < expr->most; ++i) {
    empty(from, to);
    budget_->takeStates(1);
    from = emit(from, part);
  }
  empty(from, to);
  return to;
}

} // namespace retort::grammar
