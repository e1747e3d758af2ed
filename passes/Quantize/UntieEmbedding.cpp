//===- UntieEmbedding.cpp - Give the logits a matrix of their own ---------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Quantize/Matrices.h"
#include "passes/Quantize/Passes.h"

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_UNTIEEMBEDDING
#include "passes/Quantize/Passes.h.inc"
namespace {

struct UntieEmbedding : impl::UntieEmbeddingBase<UntieEmbedding> {
  using UntieEmbeddingBase::UntieEmbeddingBase;

  void runOnOperation() override {
    auto model = lm::findModel(getOperation(), this->model);
    if (failed(model))
      return signalPassFailure();
    const lm::ParamReaders readers(*model);
    auto matrices = matricesOf(*model, "untie-embedding");
    if (failed(matrices))
      return signalPassFailure();
    for (const Matrix &matrix : *matrices)
      if (matrix.kind == Matrix::Kind::Embedding)
        for (const auto &[op, use] : readers.of(matrix.param))
          if (use.role == lm::ParamRole::Matrix && failed(untie(*model, matrix.param, op, use)))
            return signalPassFailure();
  }

private:
  LogicalResult untie(lm::ModelOp model, lm::ParamOp table, lm::ParamUserOpInterface reader,
                      const lm::ParamUse &use) {
    constexpr StringRef name = "output.weight";
    if (model.lookupParam(name))
      return model.emitError() << "untie-embedding: the name '" << name << "' is taken";
    auto copy = cast<lm::ParamOp>(OpBuilder(table).clone(*table));
    copy->moveAfter(table);
    copy.setSymName(name);
    reader->setAttr(use.attribute, FlatSymbolRefAttr::get(&getContext(), name));
    ++numUntied;
    return success();
  }
};

} // namespace
} // namespace retort
