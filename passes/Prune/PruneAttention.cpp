//===- PruneAttention.cpp - Drop attentions, keep their blocks ------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Prune/Passes.h"
#include "passes/Prune/Statistics.h"
#include "passes/Prune/Take.h"

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_PRUNEATTENTION
#include "passes/Prune/Passes.h.inc"
namespace {

/// Where attentions are added to the stream, and how much each turns it.
struct Attentions {
  SmallVector<lm::ResidualOp> additions;
  std::vector<double> influences;
};

/// The stream passes by what was added to it, and what nothing reads any more goes.
void drop(lm::ResidualOp addition) {
  Block *block = addition->getBlock();
  addition.replaceAllUsesWith(addition.getStream());
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(*block)))
    if (isOpTriviallyDead(&op))
      op.erase();
}

struct PruneAttention : impl::PruneAttentionBase<PruneAttention> {
  using PruneAttentionBase::PruneAttentionBase;

  void runOnOperation() override {
    auto model = lm::findModel(getOperation(), this->model);
    if (failed(model))
      return signalPassFailure();
    if (count == 0)
      return;
    auto attentions = collect(*model);
    if (failed(attentions))
      return signalPassFailure();
    const auto kept = mostImportant(attentions->influences, attentions->influences.size() - count);
    for (auto [index, addition] : llvm::enumerate(attentions->additions))
      if (!llvm::is_contained(kept, int32_t(index)))
        drop(addition);
    numDropped += count;
    model->eraseUnusedParams();
  }

private:
  FailureOr<Attentions> collect(lm::ModelOp model);
};

/// Checks every option and op before the first change.
FailureOr<Attentions> PruneAttention::collect(lm::ModelOp model) {
  constexpr StringRef pass = "prune-attention";
  constexpr auto kInfluence = distill::Statistic::AttentionInfluence;
  auto statistics = readStatistics(getOperation(), pass, stats, kInfluence);
  if (failed(statistics))
    return failure();
  Attentions attentions;
  for (lm::BlockOp block : model.getBlocks()) {
    lm::Units units(block);
    for (const lm::AttentionUnit &unit : units.attentions()) {
      if (!unit.addition.residual)
        return unit.core->emitError() << pass << ": " << lm::placeOf(unit.core)
                                      << " has an attention that is not added to the stream alone";
      auto influence = importances(unit.core, *statistics, pass, block.getLabel(), kInfluence,
                                   int64_t(units.attentions().size()));
      if (failed(influence))
        return failure();
      attentions.additions.push_back(unit.addition.residual);
      attentions.influences.push_back(influence->front());
    }
  }
  if (count >= attentions.additions.size())
    return model.emitError() << pass << ": cannot drop " << unsigned(count) << " of "
                             << attentions.additions.size()
                             << " attentions: tokens see each other by them alone";
  return attentions;
}

} // namespace
} // namespace retort
