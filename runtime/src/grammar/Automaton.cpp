//===- Automaton.cpp - A pushdown automaton over bytes --------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/grammar/Automaton.h"
#include "runtime/base/Error.h"
#include "runtime/base/Mix.h"

#include <algorithm>
#include <map>
#include <string>

namespace retort::grammar {
namespace {

constexpr uint32_t kUndefined = UINT32_MAX;
constexpr uint32_t kNever = UINT32_MAX / 2; ///< height of states from which no end is reached

uint64_t mixed(uint64_t seed, uint64_t value) {
  return mix64(seed * 0xD6E8FEB86659FD93ull + (value + 1) * 0x9E3779B97F4A7C15ull);
}

} // namespace

std::vector<uint64_t> Automaton::alike(size_t bytes) const {
  std::vector<uint64_t> now(size()), next(size());
  for (uint32_t s = 0; s < size(); ++s)
    now[s] = mixed(mixed(states_[s].height, states_[s].final), states_[s].root);
  for (size_t round = 0; round <= bytes; ++round) {
    for (uint32_t s = 0; s < size(); ++s) {
      uint64_t hash = mixed(mixed(states_[s].height, states_[s].final), states_[s].root);
      for (const Edge &edge : edges(s))
        hash = mixed(hash, now[edge.target] + (uint64_t(edge.low) << 8 | edge.high));
      uint64_t called = 0; // in any order
      for (const Call &call : calls(s))
        called += mixed(now[call.enter], now[call.target] + ends(call.target));
      next[s] = mixed(hash, called);
    }
    now.swap(next);
  }
  return now;
}

uint32_t AutomatonBuilder::add() {
  starts_.push_back(kUndefined);
  return uint32_t(starts_.size() - 1);
}

/// All that is reached without a byte, of it the end and what has edges or calls.
AutomatonBuilder::Set AutomatonBuilder::closure(const Nfa &nfa, Set states, uint32_t end) const {
  std::sort(states.begin(), states.end());
  states.erase(std::unique(states.begin(), states.end()), states.end());
  Set seen = states, todo = states;
  while (!todo.empty()) {
    const uint32_t state = todo.back();
    todo.pop_back();
    for (uint32_t next : nfa.states[state].empty) {
      const auto at = std::lower_bound(seen.begin(), seen.end(), next);
      if (at != seen.end() && *at == next)
        continue;
      seen.insert(at, next);
      todo.push_back(next);
    }
  }
  budget_.takeWork(seen.size());
  std::erase_if(seen, [&](uint32_t s) {
    return s != end && nfa.states[s].edges.empty() && nfa.states[s].calls.empty();
  });
  return seen;
}

void AutomatonBuilder::define(uint32_t rule, const Nfa &nfa, uint32_t end, bool root) {
  Automaton &out = automaton_;
  const uint32_t base = uint32_t(out.states_.size());
  std::map<Set, uint32_t> known;
  std::vector<const Set *> sets;
  const auto find = [&](Set targets) {
    const auto [at, isNew] =
        known.try_emplace(closure(nfa, std::move(targets), end), base + uint32_t(sets.size()));
    if (isNew) {
      budget_.takeFinalStates(1);
      sets.push_back(&at->first);
    }
    return at->second;
  };
  starts_[rule] = find({0});
  for (size_t i = 0; i < sets.size(); ++i) {
    const Set &set = *sets[i];
    out.states_.push_back({uint32_t(out.edges_.size()), uint32_t(out.calls_.size()), kNever,
                           std::binary_search(set.begin(), set.end(), end), root});
    // Bytes between two bounds lead to the same states.
    std::bitset<257> bounds;
    std::map<uint32_t, Set> calls;
    std::vector<Nfa::Edge> edges;
    for (uint32_t state : set) {
      for (const Nfa::Edge &edge : nfa.states[state].edges) {
        edges.push_back(edge);
        bounds[edge.low] = bounds[size_t(edge.high) + 1] = true;
      }
      for (const Nfa::Called &call : nfa.states[state].calls)
        calls[call.rule].push_back(call.target);
    }
    for (int byte = 1; byte < 256; ++byte)
      bounds[size_t(byte)] =
          bounds[size_t(byte)] || alphabet_[size_t(byte)] != alphabet_[size_t(byte) - 1];
    for (uint32_t low = 0, high; low < 256; low = high) {
      for (high = low + 1; high < 256 && !bounds[high];)
        ++high;
      Set targets;
      if (alphabet_[low])
        for (const Nfa::Edge &edge : edges)
          if (edge.low <= low && low <= edge.high)
            targets.push_back(edge.target);
      budget_.takeWork(edges.size());
      if (targets.empty())
        continue;
      const uint32_t target = find(std::move(targets));
      Automaton::Edge *last =
          out.edges_.size() > out.states_.back().firstEdge ? &out.edges_.back() : nullptr;
      if (last && last->target == target && last->high + 1u == low)
        last->high = uint8_t(high - 1);
      else
        out.edges_.push_back({uint8_t(low), uint8_t(high - 1), target});
    }
    for (auto &[called, targets] : calls)
      out.calls_.push_back({kUndefined, find(std::move(targets)), called}); // enter: in finish()
  }
}

void AutomatonBuilder::findHeights() {
  Automaton &a = automaton_;
  for (bool changed = true; changed;) {
    changed = false;
    budget_.takeWork(a.size());
    for (uint32_t s = uint32_t(a.size()); s-- > 0;) {
      uint32_t height = a.states_[s].final ? 0 : kNever;
      for (const Automaton::Edge &edge : a.edges(s))
        height = std::min(height, a.states_[edge.target].height);
      for (const Automaton::Call &call : a.calls(s))
        height = std::min(
            height, std::max(a.states_[call.enter].height + 1, a.states_[call.target].height));
      if (height < a.states_[s].height) {
        a.states_[s].height = height;
        changed = true;
      }
    }
  }
}

/// Takes out what leads to no end.
void AutomatonBuilder::dropDead() {
  Automaton &a = automaton_;
  const auto dead = [&](uint32_t state) { return a.states_[state].height > kMostDepth; };
  std::vector<Automaton::Edge> edges;
  std::vector<Automaton::Call> calls;
  for (uint32_t s = 0; s < a.size(); ++s) {
    const auto oldEdges = a.edges(s);
    const auto oldCalls = a.calls(s);
    const uint32_t firstEdge = uint32_t(edges.size()), firstCall = uint32_t(calls.size());
    for (const Automaton::Edge &edge : oldEdges)
      if (!dead(edge.target))
        edges.push_back(edge);
    for (const Automaton::Call &call : oldCalls)
      if (!dead(call.enter) && !dead(call.target))
        calls.push_back(call);
    a.states_[s].firstEdge = firstEdge; // the next state's are still the old ones
    a.states_[s].firstCall = firstCall;
  }
  a.states_.back().firstEdge = uint32_t(edges.size());
  a.states_.back().firstCall = uint32_t(calls.size());
  a.edges_ = std::move(edges);
  a.calls_ = std::move(calls);
}

/// The bytes that rules begin with. A rule that begins with itself would be entered without end.
void AutomatonBuilder::findFirsts() {
  Automaton &a = automaton_;
  a.firsts_.resize(starts_.size());
  std::vector<uint8_t> mark(starts_.size(), 0); // 1: open, 2: done
  for (uint32_t root = 0; root < starts_.size(); ++root) {
    std::vector<std::pair<uint32_t, size_t>> path;
    if (mark[root] == 0)
      path.emplace_back(root, 0);
    while (!path.empty()) {
      auto &[rule, next] = path.back();
      mark[rule] = 1;
      const auto calls = a.calls(starts_[rule]);
      if (next == calls.size()) {
        for (const Automaton::Edge &edge : a.edges(starts_[rule]))
          for (uint32_t byte = edge.low; byte <= edge.high; ++byte)
            a.firsts_[rule][byte] = true;
        for (const Automaton::Call &call : calls)
          a.firsts_[rule] |= a.firsts_[call.rule];
        mark[rule] = 2;
        path.pop_back();
        continue;
      }
      const uint32_t called = calls[next++].rule;
      if (mark[called] == 1)
        fail(ExitCode::Usage, "it refers to itself where a value begins, so it says nothing of it");
      if (mark[called] == 0)
        path.emplace_back(called, 0);
    }
  }
}

Automaton AutomatonBuilder::finish(uint32_t root) {
  Automaton &a = automaton_;
  a.states_.push_back({uint32_t(a.edges_.size()), uint32_t(a.calls_.size()), 0, false, false});
  for (Automaton::Call &call : a.calls_)
    call.enter = starts_[call.rule];
  a.start_ = starts_[root];
  findHeights();
  dropDead();
  findFirsts();
  if (a.states_[a.start_].height > kMostDepth)
    fail(ExitCode::Usage, a.states_[a.start_].height == kNever
                              ? "no text can ever meet it"
                              : "what meets it is nested too deep");
  for (uint32_t start : starts_)
    if (start != a.start_ && a.states_[start].final)
      fail(ExitCode::Internal, "a rule that is called has the empty text");
  return std::move(automaton_);
}

} // namespace retort::grammar
