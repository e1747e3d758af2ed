//===- Knapsack.cpp - One choice of each group, within a size -------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Quantize/Knapsack.h"
#include <algorithm>
#include <tuple>

namespace retort {
namespace {

constexpr size_t kMostStates = 16384;

/// A combination of choices of the groups so far.
struct State {
  double cost = 0;
  int64_t size = 0;
  uint32_t before = 0, choice = 0; ///< of the last group: the state before it, and its choice
};

/// Sorts by size and drops what another state beats.
void keepBest(std::vector<State> &states) {
  std::ranges::sort(states, [](const State &a, const State &b) {
    return std::tie(a.size, a.cost, a.before, a.choice) <
           std::tie(b.size, b.cost, b.before, b.choice);
  });
  std::vector<State> best;
  for (const State &state : states)
    if (best.empty() || state.cost < best.back().cost)
      best.push_back(state);
  states = std::move(best);
}

/// Of states sorted by size and falling cost, keeps the last, cheapest, of each part of the limit, and the
/// smallest of all.
void thin(std::vector<State> &states, int64_t limit) {
  if (states.size() <= kMostStates)
    return;
  const double part = double(limit) / double(kMostStates - 1);
  const auto partOf = [&](const State &state) { return int64_t(double(state.size) / part); };
  std::vector<State> kept = {states.front()};
  for (size_t i = 1; i < states.size(); ++i)
    if (i + 1 == states.size() || partOf(states[i]) != partOf(states[i + 1]))
      kept.push_back(states[i]);
  states = std::move(kept);
}

} // namespace

std::optional<std::vector<size_t>> cheapestWithin(std::span<const std::vector<Choice>> groups,
                                                  int64_t limit) {
  std::vector<std::vector<State>> stages(1, {State{}});
  for (const std::vector<Choice> &choices : groups) {
    std::vector<State> next;
    for (uint32_t s = 0; s < stages.back().size(); ++s)
      for (uint32_t c = 0; c < choices.size(); ++c) {
        const State &state = stages.back()[s];
        if (state.size + choices[c].size <= limit)
          next.push_back({state.cost + choices[c].cost, state.size + choices[c].size, s, c});
      }
    keepBest(next);
    thin(next, limit);
    if (next.empty())
      return std::nullopt;
    stages.push_back(std::move(next));
  }
  std::vector<size_t> chosen(groups.size());
  size_t at = stages.back().size() - 1; // the largest, which is the cheapest
  for (size_t g = groups.size(); g-- > 0;) {
    const State &state = stages[g + 1][at];
    chosen[g] = state.choice;
    at = state.before;
  }
  return chosen;
}

} // namespace retort
