//===- Drafter.h - Guessing how a text goes on ------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// What a text says once it often says again: names, code, what is quoted, summed up or edited. So the tokens
// that followed the longest earlier occurrence of the text's end are a guess at what comes next (prompt
// lookup), and a step that computes several rows of a slot finds out how far it is right.
//
// Occurrences are found through chains of positions with the same last two tokens, as LZ77's compressors
// find theirs (RFC 1951, section 4): a token takes 16 bytes at most and a guess a bounded time, whatever the
// text, where a suffix automaton takes a table of transitions for each token.
//
// A guess must earn its rows. How often guesses were right is known by the length of what they matched, and
// only those go ahead whose probability is worth a row. The others may take 2 % of the time, so that what has
// become right is noticed.
//
//===----------------------------------------------------------------------===//
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace retort::engine {

class Sampler;

/// Follows one text. One thread at a time.
class Drafter {
public:
  /// The text goes on with these tokens. The last guess is right until the first that differs.
  void see(std::span<const int32_t> tokens);

  /// At most `most` tokens that may come next, perhaps none, until the next call. To be called once a step.
  /// `least`: how likely a token must be for its row to be worth its time, 0 to 1: the time that a row more
  /// takes over the time that a token takes without. `sampler`: of the answer; what its
  /// grammar forbids is not guessed. May be null.
  std::span<const int32_t> guess(double least, size_t most, const Sampler *sampler);

  uint64_t guessed() const { return guessed_; } ///< tokens in all
  uint64_t right() const { return right_; }

  /// The time that guesses may take where none is right: beside kFirst rows, this share.
  static constexpr double kShare = 0.02, kFirst = 2;
  /// `least` is taken for no less, since the time of a row is but estimated.
  static constexpr double kLeast = 0.1;

private:
  struct Match {
    size_t end = 0;    ///< the position behind the occurrence
    size_t length = 0; ///< 0: there is none
  };
  void index(size_t position);
  Match longest() const;
  size_t worth(size_t length, double least, size_t most);
  void judge(int32_t token);

  std::vector<int32_t> tokens_;
  std::vector<int32_t> heads_,
      before_;                 ///< by hash the last position; by position the one before; -1: none
  std::vector<int32_t> guess_; ///< that see() is to judge
  size_t matched_ = 0;         ///< by guess_
  size_t judged_ = 0;          ///< of guess_
  /// How likely guesses were right lately, by the length of the match: 2, to 4, to 8, more. Not falling.
  std::array<double, 4> likely_ = {};
  double allowed_ = kFirst; ///< rows that may be tried
  uint64_t guessed_ = 0, right_ = 0;
};

} // namespace retort::engine
