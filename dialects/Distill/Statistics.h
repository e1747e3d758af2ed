//===- Statistics.h - What a distill.observe finds -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// The statistics that there are, and the file that holds them (docs/ir.md). The executor fills it,
// passes that prune read it. No MLIR and no torch here.
//
//===----------------------------------------------------------------------===//
#pragma once
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace retort {
namespace distill {
enum class Statistic { Vocabulary, FFN, Influence, Heads, AttentionInfluence };
} // namespace distill

/// What a statistic has a value for.
enum class Observed { Vocabulary, Block, Channel, Group };

struct StatisticInfo {
  distill::Statistic statistic;
  const char *name; ///< in IR, options and files
  Observed each;
  const char *noun; ///< what is counted, in messages
};

/// Every statistic, in the enum's order. One of blocks is finite and at least 0; greater is more
/// important.
inline constexpr StatisticInfo kStatistics[] = {
    /// Occurrences of each token in the train documents.
    {distill::Statistic::Vocabulary, "vocabulary", Observed::Vocabulary, "tokens"},
    /// What the gated unit's output loses without the channel when those left make up for it:
    /// squares of the output, summed over features, mean over rows.
    {distill::Statistic::FFN, "ffn", Observed::Channel, "channels"},
    /// 1 - cosine of the block's input and output, mean over rows (arXiv:2403.03853).
    {distill::Statistic::Influence, "influence", Observed::Block, "influences"},
    /// L2 norm of the outputs of a key/value head's query heads, mean over rows.
    {distill::Statistic::Heads, "heads", Observed::Group, "key/value heads"},
    /// 1 - cosine of the stream before and after the block's attention is added, mean over rows
    /// (arXiv:2406.15786, section 3).
    {distill::Statistic::AttentionInfluence, "attention_influence", Observed::Block, "attentions"},
};

inline constexpr const StatisticInfo &infoOf(distill::Statistic statistic) {
  return kStatistics[size_t(statistic)];
}
/// The statistic of this name, if there is one.
std::optional<distill::Statistic> statisticNamed(std::string_view name);
/// "vocabulary, ffn, influence and heads".
std::string statisticNames();

/// A statistics file. What was not observed is empty.
struct Statistics {
  /// Values of one block: a number for each of what the statistic observes.
  class Block {
  public:
    std::vector<double> &operator[](distill::Statistic statistic) {
      return values_[size_t(statistic)];
    }
    const std::vector<double> &operator[](distill::Statistic statistic) const {
      return values_[size_t(statistic)];
    }

  private:
    std::array<std::vector<double>, std::size(kStatistics)> values_;
  };
  int64_t tokens = 0;                               ///< tokens that were run
  std::vector<int64_t> counts;                      ///< occurrences of each token id
  std::vector<std::array<int32_t, 3>> merges;       ///< left, right, result; most preferred first
  std::vector<int32_t> keep;                        ///< ids that every text may need
  std::map<std::string, Block, std::less<>> blocks; ///< by label

  /// Throws Error (BadInput) if a value is not finite.
  std::string toJson() const;
  /// Throws Error (BadInput) for what is no statistics file or has a token id out of range; `where`
  /// begins its message.
  static Statistics fromJson(std::string_view text, const std::string &where);
};

} // namespace retort
