//===- NearDuplicates.h - Texts that are almost the same ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace retort {

/// The hashes of a text's shingles (runs of `shingleWords` words), sorted, each once. Words are runs
/// of letters, marks, digits and '_', compared as a reader sees them (without case, composed or not,
/// without what is not shown); a letter of a script that writes no spaces is a word by itself. A text
/// of fewer words is one shingle; in one without any the signs take the words' place.
std::vector<uint64_t> shinglesOf(std::string_view text, unsigned shingleWords);

/// |a and b| / |a or b| of two results of shinglesOf; 1 if both are empty.
double jaccard(const std::vector<uint64_t> &a, const std::vector<uint64_t> &b);

/// Which of a set of shingles a stream of other texts holds. Memory: at most 36 bytes a shingle of
/// the set, whatever the stream is.
class ShingleSet {
public:
  /// The set is all shingles of `texts`.
  ShingleSet(const std::vector<std::string_view> &texts, unsigned shingleWords);
  /// Marks those of the set that `text` holds.
  void mark(std::string_view text);
  /// The share of `text`'s shingles that are marked; all of them must be of the set. 0 without any.
  double markedShare(std::string_view text) const;

private:
  size_t slotOf(uint64_t shingle) const;

  unsigned shingleWords_;
  std::vector<uint64_t> slots_; ///< open addressing; 0: free
  std::vector<char> marked_;    ///< by slot
};

/// Finds, among the texts added so far, one whose shingle set is at least `threshold` alike.
///
/// MinHash signatures of 128 permutations (Broder, "On the resemblance and containment of
/// documents", 1997) in 32 bands of 4 rows: a pair at Jaccard similarity s shares a band with
/// probability 1 - (1 - s^4)^32, which is 1 - 5e-8 at 0.8. Such a candidate is then judged by the
/// exact similarity, so a pair is never dropped for an estimate. Memory: 512 bytes of signature and
/// about 1.5 kB of bands a text; the texts themselves must stay where they are.
class NearDuplicateIndex {
public:
  static constexpr unsigned permutations = 128, bands = 32, bandRows = permutations / bands;

  NearDuplicateIndex(double threshold, unsigned shingleWords);
  /// The index (in order of adding, from 0) of a text at least `threshold` alike `text`; or adds
  /// `text` and returns -1.
  int64_t findOrAdd(std::string_view text);

private:
  using Signature = std::array<uint32_t, permutations>;
  Signature signatureOf(const std::vector<uint64_t> &shingles) const;

  double threshold_;
  unsigned shingleWords_;
  std::array<uint64_t, permutations> multipliers_, increments_;
  std::vector<std::string_view> texts_;
  std::vector<Signature> signatures_;
  std::unordered_multimap<uint64_t, uint32_t> buckets_; ///< hash of band number and rows -> text
};

} // namespace retort
