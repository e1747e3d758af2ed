//===- FuseQKV.cpp - Join query, key and value projections into one -------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Fuse/FuseLinears.h"
#include "passes/Fuse/Passes.h"

using namespace mlir;
namespace retort {
#define GEN_PASS_DEF_FUSEQKV
#include "passes/Fuse/Passes.h.inc"
namespace {

/// The linear layer that an attention's operand comes from, through rope and head norms.
lm::LinearOp projection(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (auto linear = dyn_cast<lm::LinearOp>(op))
      return linear;
    if (!isa<lm::RopeOp, lm::NormOp>(op))
      break;
    value = op->getOperand(0);
  }
  return {};
}

struct FuseQKV : impl::FuseQKVBase<FuseQKV> {
  using FuseQKVBase::FuseQKVBase;
  void runOnOperation() override {
    SmallVector<lm::AttentionOp> attentions;
    getOperation().walk([&](lm::AttentionOp op) { attentions.push_back(op); });
    for (lm::AttentionOp attention : attentions) {
      lm::LinearOp query = projection(attention.getQuery());
      lm::LinearOp key = projection(attention.getKey());
      lm::LinearOp value = projection(attention.getValue());
      if (!query || !key || !value || query == key || key == value || query == value)
        continue;
      if (succeeded(
              fuseLinears({query, key, value}, renamed(query.getWeight(), "attn_q", "attn_qkv"))))
        ++numFused;
    }
  }
};
} // namespace
} // namespace retort
