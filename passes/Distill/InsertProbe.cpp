//===- InsertProbe.cpp - Ask for what rounding each matrix costs ----------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Distill/Insert.h"
#include "passes/Distill/Passes.h"

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_INSERTPROBE
#include "passes/Distill/Passes.h.inc"
namespace {

struct InsertProbe : impl::InsertProbeBase<InsertProbe> {
  using InsertProbeBase::InsertProbeBase;

  void runOnOperation() override {
    auto model = lm::findModel(getOperation(), this->model);
    if (failed(model))
      return signalPassFailure();
    if (formats.empty()) {
      model->emitError("insert-probe: say which formats");
      return signalPassFailure();
    }
    auto emitError = [&] { return model->emitError("insert-probe: "); };
    SmallVector<Attribute> wanted;
    for (const NumberFormat &format : formats) {
      wanted.push_back(weight::FormatAttr::getChecked(emitError, &getContext(), format));
      if (!wanted.back())
        return signalPassFailure();
    }
    auto builder = OpBuilder::atBlockEnd(getOperation().getBody());
    builder.create<distill::ProbeOp>(model->getLoc(), uniqueSymbol(getOperation(), "probe"),
                                     model->getSymName(), tokens, measured, sequenceLength,
                                     builder.getArrayAttr(wanted), distill::FileAttr());
  }
};

} // namespace
} // namespace retort
