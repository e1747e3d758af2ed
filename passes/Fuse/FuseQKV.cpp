//===- FuseQKV.cpp - Join query, key and value projections into one -------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Fuse/FuseLinears.h"
#include "passes/Fuse/Passes.h"

using namespace mlir;
namespace retort {
#define GEN_PASS_DEF_FUSEQKV
#include "passes/Fuse/Passes.h.inc"
namespace {

struct FuseQKV : impl::FuseQKVBase<FuseQKV> {
  using FuseQKVBase::FuseQKVBase;
  void runOnOperation() override {
    SmallVector<lm::AttentionOp> attentions;
    getOperation().walk([&](lm::AttentionOp op) { attentions.push_back(op); });
    for (lm::AttentionOp attention : attentions)
      if (succeeded(fuseInputs(lm::AttentionUnit(attention), "attn_qkv")))
        ++numFused;
  }
};
} // namespace
} // namespace retort
