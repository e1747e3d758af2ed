//===- PruneHeads.cpp - Keep the most important groups of heads -----------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Prune/Passes.h"
#include "passes/Prune/Statistics.h"
#include "passes/Prune/Take.h"

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_PRUNEHEADS
#include "passes/Prune/Passes.h.inc"
namespace {

/// An attention and what is known of its key/value heads.
struct Candidate {
  lm::AttentionUnit unit;
  SmallVector<lm::UnitAxis> axes;
  std::vector<double> importance; ///< of each key/value head
};

struct PruneHeads : impl::PruneHeadsBase<PruneHeads> {
  using PruneHeadsBase::PruneHeadsBase;

  void runOnOperation() override {
    std::vector<Candidate> candidates;
    if (failed(collect(candidates)))
      return signalPassFailure();
    for (Candidate &candidate : candidates) {
      if (candidate.unit.kvHeads() <= keep)
        continue;
      keepParts(candidate.unit, candidate.axes, mostImportant(candidate.importance, keep));
      numDropped += candidate.unit.kvHeads() - keep;
    }
  }

private:
  LogicalResult collect(std::vector<Candidate> &candidates);
};

/// Checks every option and op before the first change.
LogicalResult PruneHeads::collect(std::vector<Candidate> &candidates) {
  auto model = lm::findModel(getOperation(), this->model);
  if (failed(model))
    return failure();
  if (keep < 1)
    return model->emitError() << "prune-heads: keep must be at least 1, is " << int64_t(keep);
  auto statistics = readStatistics(getOperation(), "prune-heads", stats, distill::Statistic::Heads);
  if (failed(statistics))
    return failure();
  auto all = llvm::to_vector(model->getBlocks());
  for (unsigned index : blocks)
    if (index >= all.size())
      return model->emitError() << "prune-heads: cannot prune block " << index << ": the model has "
                                << all.size() << " blocks";
  const auto &readers = getChildAnalysis<lm::ParamReaders>(*model);
  for (auto [index, block] : llvm::enumerate(all)) {
    if (!blocks.empty() && !llvm::is_contained(blocks, unsigned(index)))
      continue;
    lm::Units units(block);
    for (const lm::AttentionUnit &unit : units.attentions()) {
      auto axes = prunableAxes(unit, readers, "prune-heads", "an attention");
      if (failed(axes))
        return failure();
      auto values = importances(unit.core, *statistics, "prune-heads", block.getLabel(),
                                distill::Statistic::Heads, unit.kvHeads());
      if (failed(values))
        return failure();
      candidates.push_back({unit, std::move(*axes), std::move(*values)});
    }
    if (failed(refuseStrays(units, "prune-heads")))
      return failure();
  }
  return success();
}

} // namespace
} // namespace retort
