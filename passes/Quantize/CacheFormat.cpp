//===- CacheFormat.cpp - Choose how attention keeps keys and values --------===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/LM/LMOps.h"
#include "passes/Quantize/Passes.h"

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_CACHEFORMAT
#include "passes/Quantize/Passes.h.inc"
namespace {

struct CacheFormat : impl::CacheFormatBase<CacheFormat> {
  using CacheFormatBase::CacheFormatBase;

  void runOnOperation() override {
    auto model = lm::findModel(getOperation(), this->model);
    if (failed(model))
      return signalPassFailure();
    model->walk([&](lm::AttentionOp attention) {
      if (attention.getCache() == format || !chosen(attention))
        return;
      attention.setCache(format);
      ++numChanged;
    });
  }

private:
  bool chosen(lm::AttentionOp attention) const {
    auto block = attention->getParentOfType<lm::BlockOp>();
    return only.empty() || (block && llvm::is_contained(only, block.getLabel().str()));
  }
};

} // namespace
} // namespace retort
