//===- PruneFFN.cpp - Keep the most important channels of gated units -----===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Prune/Passes.h"
#include "passes/Prune/Statistics.h"
#include "passes/Prune/Take.h"
#include <cmath>

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_PRUNEFFN
#include "passes/Prune/Passes.h.inc"
namespace {

/// A gated unit and what is to be kept of it.
struct Candidate {
  lm::GatedUnit unit;
  SmallVector<lm::UnitAxis> axes;
  std::vector<double>
      importance;    ///< of the channels: what is lost when they and all less important go
  int64_t width = 0; ///< channels to keep

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
      candidates.push_back({unit, std::move(*axes), std::move(*values)});
    }
    if (failed(refuseStrays(units, "prune-ffn")))
      return failure();
  }
  return success();
}

/// Channels that go together, and what is lost by it.
struct Step {
  double slope; ///< loss for a channel
  size_t unit;
  int64_t channels;
};

/// The widths that a unit may have, widest first, as the lower convex hull of what it loses: steps of
/// rising slope. A step of several multiples loses at most what its end does.
void addSteps(const std::vector<double> &importance, const std::vector<int64_t> &widths,
              size_t unit, std::vector<Step> &steps) {
  std::vector<double> ascending = importance;
  llvm::sort(ascending);
  const auto lossAt = [&](int64_t width) {
    const int64_t gone = int64_t(ascending.size()) - width;
    return gone ? ascending[size_t(gone - 1)] : 0.0;
  };
  const size_t before = steps.size();
  for (size_t w = 1; w < widths.size(); ++w) {
    Step step{0, unit, widths[w - 1] - widths[w]};
    double lost = lossAt(widths[w]) - lossAt(widths[w - 1]);
    while (steps.size() > before && lost / double(step.channels) <= steps.back().slope) {
      lost += steps.back().slope * double(steps.back().channels);
      step.channels += steps.back().channels;
      steps.pop_back();
    }
    step.slope = lost / double(step.channels);
    steps.push_back(step);
  }
}

/// Takes channels where a channel less loses least, as the greedy solution of a multiple-choice
/// knapsack does (Kellerer, Pferschy, Pisinger, "Knapsack Problems", section 11.2), until as many are
/// left as are to be kept, to the nearest multiple.
void PruneFFN::allocate(std::vector<Candidate> &units) const {
  int64_t all = 0;
  std::vector<Step> steps;
  for (auto [index, unit] : llvm::enumerate(units)) {
    const int64_t channels = unit.channels();
    unit.width = channels;
    all += channels;
    std::vector<int64_t> widths = {channels};
    for (int64_t width = (channels - 1) / multiple * multiple; width >= fewest(unit);
         width -= multiple)
      widths.push_back(width);
    addSteps(unit.importance, widths, index, steps);
  }
  // A unit's own steps rise strictly, so they stay in order.
  llvm::sort(steps, [](const Step &a, const Step &b) {
    return std::pair(a.slope, a.unit) < std::pair(b.slope, b.unit);
  });
  int64_t over = all - std::llround(keep * double(all));
  for (const Step &step : steps) {
    Candidate &unit = units[step.unit];
    for (int64_t gone = 0; gone < step.channels;) {
      // To the multiple below, which for a unit that is none is less than one away.
      const int64_t next = (unit.width - 1) / multiple * multiple, less = unit.width - next;
      if (2 * over < less)
        return;
      unit.width = next;
      over -= less;
      gone += less;
    }
  }
}

} // namespace
} // namespace retort
