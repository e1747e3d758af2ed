//===- LowerToKernel.cpp - The pass lower-to-kernel ------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Lower/Lowering.h"
#include "passes/Lower/Passes.h"

using namespace mlir;
namespace retort {
#define GEN_PASS_DEF_LOWERTOKERNEL
#include "passes/Lower/Passes.h.inc"
namespace {
struct LowerToKernel : impl::LowerToKernelBase<LowerToKernel> {
  using LowerToKernelBase::LowerToKernelBase;

  LogicalResult refuse(const llvm::Twine &why) {
    return getOperation().emitError() << "lower-to-kernel: " << why;
  }

  /// What the options ask for.
  FailureOr<ProgramKind> chooseKind() {
    if (target != "cpu" && target != "cuda")
      return refuse("target is '" + target + "': cpu or cuda is needed");
    bool cuda = target == "cuda", decode = step == "decode";
    if (cuda ? !decode && step != "prefill" : !step.empty())
      return refuse("step is '" + step +
                    "': " + (cuda ? "decode or prefill is needed" : "only target=cuda has steps"));
    ProgramKind kind;
    kind.name = cuda ? step.getValue() : "kernel";
    kind.target = cuda ? "cuda" : "";
    kind.step = step;
    kind.maxRows = maxRows ? int64_t(maxRows) : !cuda ? 64 : decode ? 16 : 512;
    kind.rowTile = cuda && !decode ? cuda::PrefillTile::kRows : 0;
    if (kind.maxRows < 1)
      return refuse("max-rows is " + Twine(kind.maxRows) + ": at least 1 is needed");
    if (decode && kind.maxRows > 16)
      return refuse("max-rows is " + Twine(kind.maxRows) + ": a decode step has at most 16");
    if (splits < 0 || splits > kMaxSplits)
      return refuse("splits is " + Twine(splits) + ": at most " + Twine(kMaxSplits) +
                    " are possible");
    if (multiprocessors < 1)
      return refuse("multiprocessors is " + Twine(multiprocessors) + ": at least 1 is needed");
    return kind;
  }

  void runOnOperation() override {
    FailureOr<ProgramKind> kind = chooseKind();
    if (failed(kind))
      return signalPassFailure();
    auto chosen = lm::findModel(getOperation(), model);
    if (failed(chosen))
      return signalPassFailure();
    Lowering lowering(*chosen, *kind, SplitChoice{splits, multiprocessors});
    if (failed(lowering.run())) {
      lowering.getBuilder().getProgram().erase();
      return signalPassFailure();
    }
    numPhases += lowering.getBuilder().numPhases();
    numWaits += lowering.getBuilder().numWaits();
  }
};
} // namespace
} // namespace retort
