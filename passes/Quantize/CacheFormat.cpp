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
    std::optional<lm::CacheFormat> wanted = lm::symbolizeCacheFormat(format);
    if (!wanted) {
      model->emitError("cache-format: '") << format << "' is neither f16 nor f32";
      return signalPassFailure();
    }
    model->walk([&](lm::AttentionOp attention) {
      if (attention.getCache() == *wanted)
        return;
      attention.setCache(*wanted);
      ++numChanged;
    });
  }
};

} // namespace
} // namespace retort
