//===- Drafter.cpp - Guessing how a text goes on --------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/Drafter.h"
#include "runtime/base/Mix.h"
#include "runtime/src/engine/Sampler.h"

#include <algorithm>
#include <bit>

namespace retort::engine {
namespace {

constexpr size_t kMostMatched = 32;    ///< longer matches are no better
constexpr size_t kMostCandidates = 32; ///< occurrences that are looked at
constexpr size_t kFewestHeads = 256;
constexpr double kMostAllowed = 4; ///< rows that a long text without guesses may save up
constexpr double kWeight = 0.25;   ///< of the last row in what is likely

size_t kindOf(size_t matched) { return size_t(std::bit_width((matched - 1) / 2)); }

} // namespace

/// Puts the two tokens up to `position` in front of their chain.
void Drafter::index(size_t position) {
  const uint64_t pair =
      uint64_t(uint32_t(tokens_[position - 1])) << 32 | uint32_t(tokens_[position]);
  int32_t &head = heads_[size_t(mix64(pair)) & (heads_.size() - 1)];
  before_[position] = head;
  head = int32_t(position);
}

void Drafter::see(std::span<const int32_t> tokens) {
  for (size_t i = 0; i < tokens.size() && judged_ < guess_.size(); ++i)
    judge(tokens[i]);
  size_t from = tokens_.size();
  tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
  before_.resize(tokens_.size(), -1);
  if (heads_.size() < tokens_.size()) {
    heads_.assign(std::max(kFewestHeads, std::bit_ceil(2 * tokens_.size())), -1);
    from = 0;
  }
  for (size_t i = std::max<size_t>(from, 1); i < tokens_.size(); ++i)
    index(i);
}

/// The token came where the next one of the guess was expected.
void Drafter::judge(int32_t token) {
  const bool right = guess_[judged_] == token;
  const size_t kind = std::min(kindOf(matched_ + judged_), likely_.size() - 1);
  likely_[kind] += kWeight * (double(right) - likely_[kind]);
  // A longer match is no worse than a shorter one.
  for (size_t k = kind + 1; k < likely_.size(); ++k)
    likely_[k] = std::max(likely_[k], likely_[kind]);
  for (size_t k = 0; k < kind; ++k)
    likely_[k] = std::min(likely_[k], likely_[kind]);
  right_ += right;
  judged_ = right ? judged_ + 1 : guess_.size(); // behind a wrong one nothing is known
}

/// The longest earlier occurrence of the text's end, of equal ones the last.
Drafter::Match Drafter::longest() const {
  Match best;
  if (tokens_.size() < 3)
    return best;
  const size_t last = tokens_.size() - 1;
  size_t looked = 0;
  for (int32_t at = before_[last]; at > 0 && looked < kMostCandidates;
       at = before_[size_t(at)], ++looked) {
    const size_t most = std::min(size_t(at) + 1, kMostMatched);
    size_t length = 0;
    while (length < most && tokens_[size_t(at) - length] == tokens_[last - length])
      ++length;
    if (length >= 2 && length > best.length)
      best = {size_t(at) + 1, length};
    if (best.length == kMostMatched)
      break;
  }
  return best;
}

/// How many tokens behind a match of that length are worth their rows.
size_t Drafter::worth(size_t length, double least, size_t most) {
  double all = 1;
  size_t rows = 0;
  for (; rows < most; ++rows) {
    all *= likely_[std::min(kindOf(length + rows), likely_.size() - 1)];
    if (all < least)
      break;
  }
  if (rows > 0 || most == 0)
    return rows;
  // Matches of two tokens are often by chance: they wait for what longer ones leave.
  if (allowed_ < double(std::max<size_t>(3 - std::min<size_t>(kindOf(length), 2), 1)))
    return 0;
  allowed_ -= 1;
  return 1;
}

std::span<const int32_t> Drafter::guess(double least, size_t most, const Sampler *sampler) {
  guess_.clear();
  judged_ = 0;
  least = std::clamp(least, kLeast, 1.0);
  allowed_ = std::min(allowed_ + kShare / least, kMostAllowed);
  const Match match = longest();
  if (match.length == 0)
    return {};
  const double before = allowed_;
  const size_t rows = worth(match.length, least, most);
  for (size_t i = 0; i < rows; ++i) { // behind the text's end stands the guess itself
    const size_t at = match.end + i;
    guess_.push_back(at < tokens_.size() ? tokens_[at] : guess_[at - tokens_.size()]);
  }
  if (sampler)
    guess_.resize(sampler->allowed(guess_));
  if (guess_.empty())
    allowed_ = before;
  matched_ = match.length;
  guessed_ += guess_.size();
  return guess_;
}

} // namespace retort::engine
