//===- FuseQKV.cpp - Join query, key and value projections into one -------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Fuse/FuseLinears.h"
#include "passes/Fuse/Passes.h"

using namespace mlir;
namespace retort {
#define GEN_PASS_DEF_FUSEQKV
#include "passes/Fuse/Passes.h.inc"
namespace {

/// Whether a norm runs over all of a projection's rows, or over values, which attention does not
/// norm by itself: it needs them to itself.
bool normsWholeRows(const lm::AttentionUnit &unit) {
  const lm::Projection &value = unit.inputs[2];
  if (!value.between.empty())
    return true;
  return llvm::any_of(unit.inputs, [&](const lm::Projection &input) {
    return llvm::any_of(input.between, [&](lm::HeadwiseOpInterface op) {
      return lm::features(op->getResult(0)) / op.getNumHeads() != unit.headDim();
    });
  });
}

struct FuseQKV : impl::FuseQKVBase<FuseQKV> {
  using FuseQKVBase::FuseQKVBase;
  void runOnOperation() override {
    SmallVector<lm::AttentionOp> attentions;
    getOperation().walk([&](lm::AttentionOp op) { attentions.push_back(op); });
    for (lm::AttentionOp attention : attentions) {
      const lm::AttentionUnit unit(attention);
      if (!normsWholeRows(unit) && succeeded(fuseInputs(unit, "attn_qkv")))
        ++numFused;
    }
  }
};
} // namespace
} // namespace retort
