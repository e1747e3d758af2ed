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

/// The ops from a projection to an attention's operand: a linear layer, then norms and ropes.
struct Chain {
  lm::LinearOp linear;
  SmallVector<Operation *> others; ///< lm.norm and lm.rope, last first
  lm::ParamOp weight, bias;
};

struct Unit {
  lm::AttentionOp attention;
  Chain query, key, value;
  lm::LinearOp output;
  lm::ParamOp outputWeight;
  std::vector<double> importance; ///< of each key/value head
};

FailureOr<Chain> traceProjection(lm::AttentionOp attention, Value operand) {
  auto label = attention->getParentOfType<lm::BlockOp>().getLabel();
  Chain chain;
  for (Operation *op = operand.getDefiningOp(); op; op = op->getOperand(0).getDefiningOp()) {
    if (!op->hasOneUse())
      break;
    if ((chain.linear = dyn_cast<lm::LinearOp>(op)))
      break;
    if (!isa<lm::NormOp, lm::RopeOp>(op))
      break;
    chain.others.push_back(op);
  }
  if (!chain.linear)
    return attention.emitError() << "prune-heads: block \"" << label
                                 << "\" has an attention that no plain linear layers feed: prune "
                                    "before fusing";
  for (Operation *op : chain.others)
    if (auto norm = dyn_cast<lm::NormOp>(op);
        norm && norm.getGroups() == 1 && lm::features(norm.getResult()) != attention.getHeadDim())
      return norm.emitError() << "prune-heads: block \"" << label
                              << "\" normalises all heads together";
  auto weight = prunableParam(chain.linear, chain.linear.getWeight(), "prune-heads");
  if (failed(weight))
    return failure();
  chain.weight = *weight;
  if (!chain.linear.getBias())
    return chain;
  auto bias = prunableParam(chain.linear, *chain.linear.getBias(), "prune-heads");
  if (failed(bias))
    return failure();
  chain.bias = *bias;
  return chain;
}

/// The features of these heads, head after head.
std::vector<int32_t> featuresOf(ArrayRef<int32_t> heads, int64_t headDim) {
  std::vector<int32_t> indices;
  for (int32_t head : heads)
    for (int64_t i = 0; i < headDim; ++i)
      indices.push_back(int32_t(head * headDim + i));
  return indices;
}

void pruneChain(Chain &chain, ArrayRef<int32_t> heads, int64_t headDim) {
  std::vector<int32_t> indices = featuresOf(heads, headDim);
  takeParam(chain.weight, weight::Axis::Rows, indices);
  if (chain.bias)
    takeParam(chain.bias, weight::Axis::Rows, indices);
  setFeatures(chain.linear.getResult(), indices.size());
  for (Operation *op : chain.others) {
    if (auto norm = dyn_cast<lm::NormOp>(op))
      norm.setGroups(heads.size());
    else
      cast<lm::RopeOp>(op).setHeads(heads.size());
    setFeatures(op->getResult(0), indices.size());
  }
}

struct PruneHeads : impl::PruneHeadsBase<PruneHeads> {
  using PruneHeadsBase::PruneHeadsBase;

  void runOnOperation() override {
    std::vector<Unit> units;
    if (failed(collect(units)))
      return signalPassFailure();
    for (Unit &unit : units)
      if (unit.attention.getKvHeads() > keep)
        prune(unit);
  }

private:
  LogicalResult collect(std::vector<Unit> &units);
  FailureOr<Unit> collect(lm::AttentionOp attention, StringRef label, const Statistics &statistics);
  void prune(Unit &unit);
};

/// Checks every option and op before the first change.
LogicalResult PruneHeads::collect(std::vector<Unit> &units) {
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
  for (auto [index, block] : llvm::enumerate(all)) {
    if (!blocks.empty() && !llvm::is_contained(blocks, unsigned(index)))
      continue;
    for (auto attention : block.getBody()->getOps<lm::AttentionOp>()) {
      auto unit = collect(attention, block.getLabel(), *statistics);
      if (failed(unit))
        return failure();
      units.push_back(std::move(*unit));
    }
  }
  return success();
}

FailureOr<Unit> PruneHeads::collect(lm::AttentionOp attention, StringRef label,
                                    const Statistics &statistics) {
  auto query = traceProjection(attention, attention.getQuery());
  auto key = traceProjection(attention, attention.getKey());
  auto value = traceProjection(attention, attention.getValue());
  if (failed(query) || failed(key) || failed(value))
    return failure();
  auto output =
      attention->hasOneUse() ? dyn_cast<lm::LinearOp>(*attention->user_begin()) : lm::LinearOp();
  if (!output)
    return attention.emitError() << "prune-heads: block \"" << label
                                 << "\" has an attention that no plain linear layer follows";
  auto outputWeight = prunableParam(output, output.getWeight(), "prune-heads");
  auto values = importances(attention, statistics, "prune-heads", label, distill::Statistic::Heads,
                            attention.getKvHeads());
  if (failed(outputWeight) || failed(values))
    return failure();
  return Unit{attention, *query, *key, *value, output, *outputWeight, std::move(*values)};
}

void PruneHeads::prune(Unit &unit) {
  lm::AttentionOp attention = unit.attention;
  int64_t headDim = attention.getHeadDim(), kvHeads = attention.getKvHeads();
  int64_t perGroup = attention.getHeads() / kvHeads;
  std::vector<int32_t> groups = mostImportant(unit.importance, keep);
  std::vector<int32_t> heads;
  for (int32_t group : groups)
    for (int64_t i = 0; i < perGroup; ++i)
      heads.push_back(int32_t(group * perGroup + i));
  pruneChain(unit.query, heads, headDim);
  pruneChain(unit.key, groups, headDim);
  pruneChain(unit.value, groups, headDim);
  takeParam(unit.outputWeight, weight::Axis::Columns, featuresOf(heads, headDim));
  attention.setHeads(heads.size());
  attention.setKvHeads(groups.size());
  setFeatures(attention.getResult(), int64_t(heads.size()) * headDim);
  numDropped += kvHeads - int64_t(groups.size());
}

} // namespace
} // namespace retort
