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

/// A gated unit and its channels.
struct Unit {
  lm::GluOp glu;
  lm::LinearOp gate, up, down;
  lm::ParamOp gateWeight, upWeight, downWeight, gateBias, upBias;
  int64_t channels = 0;
  std::vector<double> importance; ///< sums to 1, or all 0
  int64_t width = 0;              ///< channels to keep
};

struct PruneFFN : impl::PruneFFNBase<PruneFFN> {
  using PruneFFNBase::PruneFFNBase;

  void runOnOperation() override {
    std::vector<Unit> units;
    if (failed(collect(units)))
      return signalPassFailure();
    if (uniform)
      for (Unit &unit : units)
        unit.width = roundWidth(unit, keep * double(unit.channels));
    else
      allocate(units);
    for (Unit &unit : units)
      if (unit.width < unit.channels)
        prune(unit);
  }

private:
  int64_t fewest(const Unit &unit) const {
    return std::min(unit.channels, minKeep > 0 ? minKeep : int64_t(multiple));
  }

  /// The multiple nearest to `width` that the unit may keep.
  int64_t roundWidth(const Unit &unit, double width) const {
    int64_t rounded = int64_t(std::llround(width / double(multiple))) * multiple;
    return std::clamp(rounded, fewest(unit), unit.channels);
  }

  LogicalResult collect(std::vector<Unit> &units);
  LogicalResult collect(lm::BlockOp block, const Statistics &statistics, std::vector<Unit> &units);
  void allocate(std::vector<Unit> &units) const;
  void prune(Unit &unit);
};

/// Checks every option and op before the first change.
LogicalResult PruneFFN::collect(std::vector<Unit> &units) {
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
  for (lm::BlockOp block : model->getBlocks())
    if (failed(collect(block, *statistics, units)))
      return failure();
  return success();
}

LogicalResult PruneFFN::collect(lm::BlockOp block, const Statistics &statistics,
                                std::vector<Unit> &units) {
  for (auto glu : block.getBody()->getOps<lm::GluOp>()) {
    Unit unit;
    unit.glu = glu;
    unit.gate = glu.getGate().getDefiningOp<lm::LinearOp>();
    unit.up = glu.getUp().getDefiningOp<lm::LinearOp>();
    unit.down = glu->hasOneUse() ? dyn_cast<lm::LinearOp>(*glu->user_begin()) : lm::LinearOp();
    if (!unit.gate || !unit.up || !unit.down || !unit.gate->hasOneUse() || !unit.up->hasOneUse())
      return glu.emitError() << "prune-ffn: block \"" << block.getLabel()
                             << "\" has a gated unit that is not between plain linear layers: "
                                "prune before fusing";
    for (auto [param, op, name] :
         {std::tuple(&unit.gateWeight, unit.gate, std::optional(unit.gate.getWeight())),
          std::tuple(&unit.upWeight, unit.up, std::optional(unit.up.getWeight())),
          std::tuple(&unit.downWeight, unit.down, std::optional(unit.down.getWeight())),
          std::tuple(&unit.gateBias, unit.gate, unit.gate.getBias()),
          std::tuple(&unit.upBias, unit.up, unit.up.getBias())}) {
      if (!name)
        continue;
      auto found = prunableParam(op, *name, "prune-ffn");
      if (failed(found))
        return failure();
      *param = *found;
    }
    unit.channels = lm::features(glu.getResult());
    auto values = importances(glu, statistics, "prune-ffn", block.getLabel(),
                              distill::Statistic::FFN, unit.channels);
    if (failed(values))
      return failure();
    double sum = std::accumulate(values->begin(), values->end(), 0.0);
    for (double &value : *values)
      value = sum > 0 ? value / sum : 0;
    unit.importance = std::move(*values);
    units.push_back(std::move(unit));
  }
  return success();
}

/// Counts each unit's channels among the most important of all, rounds down to multiples, and
/// hands what is over to the units that lost most, one multiple each.
void PruneFFN::allocate(std::vector<Unit> &units) const {
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
        std::clamp(wanted[i] / multiple * multiple, fewest(units[i]), units[i].channels);
    if (wanted[i] == units[i].channels)
      units[i].width = units[i].channels; // kept whole, a multiple or not
    left -= units[i].width;
  }
  llvm::sort(order, [&](size_t a, size_t b) {
    return std::pair(units[a].width - wanted[a], a) < std::pair(units[b].width - wanted[b], b);
  });
  for (size_t i : order) {
    if (2 * left < multiple)
      break;
    int64_t more = std::min(int64_t(multiple), units[i].channels - units[i].width);
    units[i].width += more;
    left -= more;
  }
}

void PruneFFN::prune(Unit &unit) {
  std::vector<int32_t> kept = mostImportant(unit.importance, unit.width);
  for (lm::ParamOp param : {unit.gateWeight, unit.upWeight, unit.gateBias, unit.upBias})
    if (param)
      takeParam(param, weight::Axis::Rows, kept);
  takeParam(unit.downWeight, weight::Axis::Columns, kept);
  for (Value value : {unit.gate.getResult(), unit.up.getResult(), unit.glu.getResult()})
    setFeatures(value, unit.width);
  numDropped += unit.channels - unit.width;
}

} // namespace
} // namespace retort
