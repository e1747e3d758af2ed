//===- RunDataWork.cpp - Execute the data work that has no result yet -----===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Distill/DistillOps.h"
#include "passes/Distill/Passes.h"

using namespace mlir;

namespace retort {
#define GEN_PASS_DEF_RUNDATAWORK
#include "passes/Distill/Passes.h.inc"
namespace {

/// Whether an op can have a result and has none.
bool isPending(Operation &op) {
  return isa_and_nonnull<distill::DistillDialect>(op.getDialect()) && !op.hasAttr("result") &&
         llvm::any_of(op.getName().getAttributeNames(),
                      [](StringAttr name) { return name == "result"; });
}

struct RunDataWork : impl::RunDataWorkBase<RunDataWork> {
  using RunDataWorkBase::RunDataWorkBase;

  void runOnOperation() override {
    auto *dialect = getContext().getLoadedDialect<distill::DistillDialect>();
    if (failed(dialect->getWorker() ? dialect->getWorker()(getOperation()) : checkDone()))
      signalPassFailure();
  }

private:
  LogicalResult checkDone() {
    for (Operation &op : getOperation().getOps())
      if (isPending(op))
        return op.emitError("run-data-work: has no result, and only `retort compile` executes work "
                            "on data");
    return success();
  }
};

} // namespace
} // namespace retort
