//===- PruneFFN.cpp - Keep the most important channels of gated units -----===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Prune/Passes.h"
#include "passes/Prune/Statistics.h"
#include "passes/Prune/Take.h"
#include <cmath>
#include <numeric>

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_PRUNEFFN
#include "passes/Prune/Passes.h.inc"
namespace {

/// A gated unit and what is to be kept of it.
struct Candidate {
  lm::GatedUnit unit;
  SmallVector<lm::UnitAxis> axes;
  std::vector<double> importance; ///< of the channels; sums to 1, or all 0
  int64_t width = 0;              ///< channels to keep

  int64_t channels() const { return unit.channels(); }
};

struct PruneFFN : impl::PruneFFNBase<PruneFFN> {
  using PruneFFNBase::PruneFFNBase;

  void runOnOperation() override {
    std::vector<Candidate> candidates;
    if (failed(collect(candidates)))
      return signalPassFailure();
    if (uniform)
      for (Candidate &candidate : candidates)
        candidate.width = roundWidth(candidate, keep * double(candidate.channels()));
    else
      allocate(candidates);
    for (Candidate &candidate : candidates)
      if (candidate.width < candidate.channels()) {
        keepParts(candidate.unit, candidate.axes,
                  mostImportant(candidate.importance, candidate.width));
        numDropped += candidate.channels() - candidate.width;
      }
  }

private:
  int64_t fewest(const Candidate &candidate) const {
    return std::min(candidate.channels(), minKeep > 0 ? minKeep : int64_t(multiple));
  }

  /// The multiple nearest to `width` that the unit may keep.
  int64_t roundWidth(const Candidate &candidate, double width) const {
    int64_t rounded = int64_t(std::llround(width / double(multiple))) * multiple;
    return std::clamp(rounded, fewest(candidate), candidate.channels());
  }

  LogicalResult collect(std::vector<Candidate> &candidates);
  void allocate(std::vector<Candidate> &candidates) const;
};

/// Checks every option and op before the first change.
LogicalResult PruneFFN::collect(std::vector<Candidate> &candidates) {
  auto model = lm::findModel(getOperation(), this->model);
  if (failed(model))
    return failure();
  if (!(keep > 0 && keep <= 1))
    return model->emitError() << "prune-ffn: keep must be above 0 and at most 1, is "
                              << double(keep);
  if (multiple < 1 || minKeep < 0)
    return model->emitError() << "prune-ffn: multiple must be at least 1 and min-keep at least 0";
  auto statistics = readStatistics(getOperation(), "prune-ffn", stats, distill::Statistic::FFN);
  if (failed(statistics))
    return failure();
  const auto &readers = getChildAnalysis<lm::ParamReaders>(*model);
  for (lm::BlockOp block : model->getBlocks()) {
    lm::Units units(block);
    for (const lm::GatedUnit &unit : units.gated()) {
      auto axes = prunableAxes(unit, readers, "prune-ffn", "a gated unit");
      if (failed(axes))
        return failure();
      auto values = importances(unit.core, *statistics, "prune-ffn", block.getLabel(),
                                distill::Statistic::FFN, unit.channels());
      if (failed(values))
        return failure();
      double sum = std::accumulate(values->begin(), values->end(), 0.0);
      for (double &value : *values)
        value = sum > 0 ? value / sum : 0;
      candidates.push_back({unit, std::move(*axes), std::move(*values)});
    }
    if (failed(refuseStrays(units, "prune-ffn")))
      return failure();
  }
  return success();
}

/// Counts each unit's channels among the most important of all, rounds down to multiples, and
/// hands what is over to the units that lost most, one multiple each.
void PruneFFN::allocate(std::vector<Candidate> &units) const {
  std::vector<std::pair<double, size_t>> all;
  for (auto [index, unit] : llvm::enumerate(units))
    for (double value : unit.importance)
      all.emplace_back(-value, index);
  llvm::sort(all);
  int64_t total = std::llround(keep * double(all.size()));
  std::vector<int64_t> wanted(units.size());
  for (int64_t i = 0; i < total; ++i)
    ++wanted[all[i].second];

  int64_t left = total;
  std::vector<size_t> order(units.size());
  std::iota(order.begin(), order.end(), 0);
  for (size_t i : order) {
    units[i].width =
        std::clamp(wanted[i] / multiple * multiple, fewest(units[i]), units[i].channels());
    if (wanted[i] == units[i].channels())
      units[i].width = units[i].channels(); // kept whole, a multiple or not
    left -= units[i].width;
  }
  llvm::sort(order, [&](size_t a, size_t b) {
    return std::pair(units[a].width - wanted[a], a) < std::pair(units[b].width - wanted[b], b);
  });
  for (size_t i : order) {
    if (2 * left < multiple)
      break;
    int64_t more = std::min(int64_t(multiple), units[i].channels() - units[i].width);
    units[i].width += more;
    left -= more;
  }
}

} // namespace
} // namespace retort
