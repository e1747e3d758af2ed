//===- PruneDepth.cpp - Drop whole blocks ---------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Prune/Passes.h"
#include "passes/Prune/Statistics.h"
#include "llvm/ADT/BitVector.h"
#include <numeric>

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_PRUNEDEPTH
#include "passes/Prune/Passes.h.inc"
namespace {

struct PruneDepth : impl::PruneDepthBase<PruneDepth> {
  using PruneDepthBase::PruneDepthBase;

  void runOnOperation() override {
    auto model = lm::findModel(getOperation(), this->model);
    if (failed(model))
      return signalPassFailure();
    SmallVector<lm::BlockOp> blocks = model->getBlocks();
    // Every option is checked before the first change: a pass that fails changes nothing.
    auto dropped = choose(blocks, *model);
    if (failed(dropped))
      return signalPassFailure();
    for (unsigned index : dropped->set_bits()) {
      blocks[index].replaceAllUsesWith(blocks[index].getInput());
      blocks[index].erase();
      ++numDropped;
    }
    if (dropped->any())
      model->eraseUnusedParams();
  }

private:
  FailureOr<llvm::BitVector> choose(ArrayRef<lm::BlockOp> blocks, lm::ModelOp model) {
    llvm::BitVector dropped(blocks.size());
    if (!drop.empty() && count != 0)
      return model.emitError("prune-depth: give either drop or count");
    for (unsigned index : drop) {
      if (index >= blocks.size())
        return model.emitError() << "prune-depth: cannot drop block " << index << ": the model has "
                                 << blocks.size() << " blocks";
      dropped.set(index);
    }
    if (count == 0)
      return dropped;
    if (count >= blocks.size())
      return model.emitError() << "prune-depth: cannot drop " << unsigned(count) << " of "
                               << blocks.size() << " blocks";
    auto influences = readInfluences(blocks);
    if (failed(influences))
      return failure();
    std::vector<unsigned> order(blocks.size());
    std::iota(order.begin(), order.end(), 0);
    llvm::sort(order, [&](unsigned a, unsigned b) {
      return std::pair((*influences)[a], a) < std::pair((*influences)[b], b);
    });
    for (unsigned i = 0; i < count; ++i)
      dropped.set(order[i]);
    return dropped;
  }

  FailureOr<std::vector<double>> readInfluences(ArrayRef<lm::BlockOp> blocks) {
    auto statistics =
        readStatistics(getOperation(), "prune-depth", stats, distill::Statistic::Influence);
    if (failed(statistics))
      return failure();
    std::vector<double> influences;
    for (lm::BlockOp block : blocks) {
      auto influence = importances(block, *statistics, "prune-depth", block.getLabel(),
                                   distill::Statistic::Influence, 1);
      if (failed(influence))
        return failure();
      influences.push_back(influence->front());
    }
    return influences;
  }
};

} // namespace
} // namespace retort
