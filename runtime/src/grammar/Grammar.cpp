//===- Grammar.cpp - What an answer may be --------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/grammar/Grammar.h"
#include "runtime/base/Error.h"
#include "runtime/base/Json.h"
#include "runtime/base/Utf8.h"
#include "runtime/src/grammar/Pattern.h"
#include "runtime/src/grammar/Schema.h"
#include "runtime/src/grammar/Structure.h"

#include <algorithm>
#include <chrono>
#include <unordered_map>

namespace retort::grammar {
namespace {

constexpr size_t kMostBytes = 256 << 10; ///< of a schema or a pattern
constexpr uint32_t kManyBelow = 256;     ///< tokens that are not copied
constexpr size_t kMostMaskBytes = 16 << 20;
/// Masks are made beforehand for so long; then those that are left when they are first needed.
constexpr std::chrono::milliseconds kPrepare{250};

Automaton compileExpression(const Expr &expr, Budget &budget, const ByteSet &alphabet) {
  AutomatonBuilder builder(budget, alphabet);
  const uint32_t root = builder.add();
  Nfa nfa(budget);
  const uint32_t end = nfa.emit(nfa.add(), expr);
  builder.define(root, nfa, end, true);
  return builder.finish(root);
}

Expr readChoice(std::string_view text) {
  const nlohmann::json list = parseJson(text, "the choice", "give a JSON list of texts");
  std::vector<Expr> choices;
  if (!list.is_array() || list.empty())
    fail(ExitCode::Usage, "the choice is not a JSON list of at least one text");
  for (const nlohmann::json &value : list) {
    if (!value.is_string())
      fail(ExitCode::Usage, "/" + std::to_string(choices.size()) + " is not a text");
    choices.push_back(literal(value.get_ref<const std::string &>()));
  }
  return choice(std::move(choices));
}

Automaton compile(Kind kind, std::string_view text, const Vocabulary &vocabulary) {
  if (text.size() > kMostBytes)
    fail(ExitCode::Resources, "it has " + std::to_string(text.size()) + " bytes, more than " +
                                  std::to_string(kMostBytes));
  if (validPrefix(text) != text.size())
    fail(ExitCode::Usage, "it is not UTF-8");
  Budget budget;
  if (kind == Kind::JsonSchema)
    return compileSchema(text, budget, vocabulary.alphabet());
  if (kind == Kind::Structure)
    return compileStructure(text, budget, vocabulary);
  return compileExpression(kind == Kind::Pattern ? compilePattern(text, Spelling::Plain)
                                                 : readChoice(text),
                           budget, vocabulary.alphabet());
}

} // namespace

Grammar::Grammar(std::shared_ptr<const Vocabulary> vocabulary, Kind kind, std::string_view text)
    : vocabulary_(std::move(vocabulary)), automaton_(compile(kind, text, *vocabulary_)) {
  std::unordered_map<uint64_t, uint32_t> known;
  for (uint64_t kindOfState : automaton_.alike(vocabulary_->trie().longest())) {
    const auto [at, isNew] = known.try_emplace(kindOfState, uint32_t(states_.size()));
    if (isNew)
      states_.push_back(uint32_t(kinds_.size()));
    kinds_.push_back(at->second);
  }
  masks_ = std::vector<std::atomic<const StateMask *>>(states_.size());
  prepare();
}

Grammar::~Grammar() {
  for (const std::atomic<const StateMask *> &mask : masks_)
    delete mask.load();
}

/// Makes masks, those of states that many bytes may follow first: they take longest.
void Grammar::prepare() {
  std::vector<std::pair<uint32_t, uint32_t>> order;
  for (uint32_t kind = 0; kind < states_.size(); ++kind) {
    uint32_t width = 0;
    for (const Automaton::Edge &edge : automaton_.edges(states_[kind]))
      width += uint32_t(edge.high - edge.low) + 1;
    order.emplace_back(256 - width, states_[kind]);
  }
  std::sort(order.begin(), order.end());
  const auto until = std::chrono::steady_clock::now() + kPrepare;
  for (const auto &[narrow, state] : order) {
    if (std::chrono::steady_clock::now() > until)
      return;
    mask(state);
  }
}

const StateMask *Grammar::mask(uint32_t state) const {
  std::atomic<const StateMask *> &slot = masks_[kinds_[state]];
  const StateMask *known = slot.load(std::memory_order_acquire);
  if (known || maskBytes_ > kMostMaskBytes)
    return known;
  std::lock_guard lock(mutex_);
  known = slot.load(std::memory_order_relaxed);
  if (known)
    return known;
  known = findMask(state).release();
  maskBytes_ += sizeof *known + known->inside.size() * sizeof known->inside[0] +
                known->few.size() * sizeof known->few[0] +
                known->leaving.nodes().size() * sizeof known->leaving.nodes()[0] +
                known->leaving.tokens().size() * sizeof known->leaving.tokens()[0];
  slot.store(known, std::memory_order_release);
  return known;
}

std::unique_ptr<StateMask> Grammar::findMask(uint32_t state) const {
  auto mask = std::make_unique<StateMask>();
  const Trie &trie = vocabulary_->trie();
  Walker walker(automaton_);
  const Place start = {state, 0};
  const bool called = !automaton_.state(state).root; // something may follow its rule
  mask->ends = called && walker.completes(start);
  std::vector<std::pair<uint32_t, uint32_t>> leaving; // tokens, and how many bytes are inside
  walker.walk(trie, {start}, [&](size_t index, const std::vector<Place> &places) {
    const Trie::Node &node = trie.nodes()[index];
    for (uint32_t i = node.firstToken; i < node.endToken; ++i)
      mask->few.push_back(trie.tokens()[i]);
    if (called && trie.endBelow(index) > node.endToken &&
        std::any_of(places.begin(), places.end(),
                    [&](const Place &place) { return walker.completes(place); })) {
      if (trie.endBelow(index) - node.endToken > kManyBelow)
        return mask->below.push_back(uint32_t(index));
      for (uint32_t i = node.endToken; i < trie.endBelow(index); ++i)
        leaving.emplace_back(uint32_t(trie.tokens()[i]), node.depth);
    }
  });
  mask->reach = walker.reach;
  std::vector<std::pair<std::string_view, int32_t>> parts;
  for (const auto &[token, inside] : leaving)
    parts.emplace_back(std::string_view(vocabulary_->token(int32_t(token)).text).substr(inside),
                       int32_t(token));
  mask->leaving = Trie(std::move(parts));
  if (mask->few.size() > vocabulary_->size() / 64) { // a list of them would be larger
    mask->inside.assign((vocabulary_->size() + 63) / 64, 0);
    for (int32_t token : mask->few)
      mask->inside[size_t(token) / 64] |= uint64_t(1) << (token % 64);
    mask->few = {};
  }
  return mask;
}

} // namespace retort::grammar
