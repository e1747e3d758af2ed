//===- Matcher.cpp - Where an answer stands in its grammar ----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/grammar/Matcher.h"
#include "runtime/src/grammar/Grammar.h"

#include <algorithm>

namespace retort::grammar {
namespace {

/// More than the walk for a mask has, since here what is inside a rule and behind it is one.
constexpr size_t kMostFollowed = 4096;
constexpr size_t kMostFrames = 4096; ///< kept before they are looked through

void add(TokenSet &set, int32_t token) { set[size_t(token) / 64] |= uint64_t(1) << (token % 64); }

} // namespace

uint32_t Walker::push(uint32_t parent, uint32_t target) {
  if (automaton_->ends(target)) // nothing to come back for
    return parent;
  frames_.push_back({parent, target, frames_[parent].depth + 1});
  return uint32_t(frames_.size() - 1);
}

void Walker::step(Place place, uint8_t byte, std::vector<Place> &out) {
  const Automaton::State &state = automaton_->state(place.state);
  for (const Automaton::Edge &edge : automaton_->edges(place.state)) {
    if (byte < edge.low || byte > edge.high)
      continue;
    const Place next = {edge.target, place.stack};
    const uint32_t depth = frames_[place.stack].depth + automaton_->state(edge.target).height;
    if (depth <= kMostDepth && std::find(out.begin(), out.end(), next) == out.end()) {
      out.push_back(next);
      reach = std::max(reach, depth);
    }
    break;
  }
  for (const Automaton::Call &call : automaton_->calls(place.state)) {
    if (!automaton_->mayBegin(call.rule, byte))
      continue;
    const size_t places = out.size(), frames = frames_.size();
    if (frames_[place.stack].depth + automaton_->state(call.target).height > kMostDepth)
      continue;
    step({call.enter, push(place.stack, call.target)}, byte, out);
    if (out.size() == places)
      frames_.resize(frames);
  }
  if (state.final && place.stack != 0)
    step({frames_[place.stack].target, frames_[place.stack].parent}, byte, out);
}

bool Walker::completes(Place place) const {
  for (; automaton_->state(place.state).final;
       place = {frames_[place.stack].target, frames_[place.stack].parent})
    if (place.stack == 0)
      return true;
  return false;
}

bool Walker::goesOn(Place place) const {
  for (;; place = {frames_[place.stack].target, frames_[place.stack].parent}) {
    if (!automaton_->ends(place.state))
      return true;
    if (place.stack == 0)
      return false;
  }
}

void Walker::compact(std::vector<Place> &places) {
  std::vector<uint32_t> renamed(frames_.size(), 0);
  for (const Place &place : places)
    for (uint32_t at = place.stack; at != 0 && renamed[at] == 0; at = frames_[at].parent)
      renamed[at] = 1;
  std::vector<Frame> kept = {frames_[0]};
  for (uint32_t i = 1; i < frames_.size(); ++i) // a parent is before what it is the parent of
    if (renamed[i]) {
      renamed[i] = uint32_t(kept.size());
      kept.push_back({renamed[frames_[i].parent], frames_[i].target, frames_[i].depth});
    }
  for (Place &place : places)
    place.stack = renamed[place.stack];
  frames_ = std::move(kept);
}

Matcher::Matcher(std::shared_ptr<const Grammar> grammar, std::span<const int32_t> before)
    : grammar_(std::move(grammar)), walker_(grammar_->automaton()),
      places_{{grammar_->automaton().start(), 0}} {
  const Vocabulary &vocabulary = grammar_->vocabulary();
  if (before.empty() || before.back() < 0 || size_t(before.back()) >= vocabulary.size())
    return;
  const Vocabulary::Token &last = vocabulary.token(before.back());
  began_ = !last.special && !last.text.empty();
}

/// Adds the places behind `text` to next_.
void Matcher::follow(Place place, std::string_view text) {
  now_ = {place};
  for (char byte : text) {
    if (now_.size() > kMostFollowed)
      return;
    after_.clear();
    for (const Place at : now_)
      walker_.step(at, uint8_t(byte), after_);
    now_.swap(after_);
  }
  for (const Place at : now_)
    if (next_.size() < kMostPlaces && std::find(next_.begin(), next_.end(), at) == next_.end())
      next_.push_back(at);
}

bool Matcher::accept(int32_t token) {
  const Vocabulary &vocabulary = grammar_->vocabulary();
  if (ended_ || token < 0 || size_t(token) >= vocabulary.size())
    return false;
  const Vocabulary::Token &taken = vocabulary.token(token);
  if (taken.stop)
    return complete() && (ended_ = true);
  const std::string &text = began_ ? taken.text : taken.first;
  if (text.empty())
    return false;
  const size_t frames = walker_.numFrames();
  next_.clear();
  for (const Place place : places_)
    follow(place, text);
  if (next_.empty()) {
    walker_.truncate(frames);
    return false;
  }
  places_.swap(next_);
  began_ = true;
  if (walker_.numFrames() > kMostFrames)
    walker_.compact(places_);
  return true;
}

void Matcher::mask(TokenSet &allowed) {
  const Vocabulary &vocabulary = grammar_->vocabulary();
  allowed.assign((vocabulary.size() + 63) / 64, 0);
  if (ended_)
    return;
  for (const Place place : places_)
    if (!began_ && vocabulary.firstTrie())
      addWalk(*vocabulary.firstTrie(), place, allowed);
    else
      addMask(place, allowed);
  if (complete())
    for (int32_t stop : vocabulary.stops())
      add(allowed, stop);
}

void Matcher::addWalk(const Trie &trie, Place place, TokenSet &allowed, size_t first) {
  walker_.walk(
      trie, {place},
      [&](size_t node, const std::vector<Place> &) {
        const Trie::Node &at = trie.nodes()[node];
        for (uint32_t i = at.firstToken; i < at.endToken; ++i)
          add(allowed, trie.tokens()[i]);
      },
      first);
}

void Matcher::addMask(Place place, TokenSet &allowed) {
  const StateMask *known = grammar_->mask(place.state);
  // Deep in a text some calls may not be made, of which the state's mask does not know.
  if (!known || walker_.frame(place.stack).depth + known->reach > kMostDepth)
    return addWalk(grammar_->vocabulary().trie(), place, allowed);
  const StateMask &mask = *known;
  for (size_t i = 0; i < mask.inside.size(); ++i)
    allowed[i] |= mask.inside[i];
  for (int32_t token : mask.few)
    add(allowed, token);
  if (place.stack == 0)
    return;
  const Place behind = {walker_.frame(place.stack).target, walker_.frame(place.stack).parent};
  if (mask.ends)
    addMask(behind, allowed);
  addWalk(mask.leaving, behind, allowed);
  for (uint32_t node : mask.below)
    addWalk(grammar_->vocabulary().trie(), behind, allowed, node + 1);
}

bool Matcher::complete() const {
  return ended_ || std::any_of(places_.begin(), places_.end(),
                               [&](const Place &place) { return walker_.completes(place); });
}

bool Matcher::done() const {
  return ended_ || std::none_of(places_.begin(), places_.end(),
                                [&](const Place &place) { return walker_.goesOn(place); });
}

} // namespace retort::grammar
