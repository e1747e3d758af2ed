//===- PrintKernelCosts.cpp - Print what each phase moves and computes ----===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Kernel/Prediction.h"
#include "passes/Lower/Passes.h"
#include "llvm/Support/raw_ostream.h"

namespace retort {
#define GEN_PASS_DEF_PRINTKERNELCOSTS
#include "passes/Lower/Passes.h.inc"
namespace {
struct PrintKernelCosts : impl::PrintKernelCostsBase<PrintKernelCosts> {
  using PrintKernelCostsBase::PrintKernelCostsBase;
  void runOnOperation() override {
    if (on.empty())
      return kernel::printCosts(getOperation(), llvm::outs());
    const kernel::Device *known = kernel::findDevice(on);
    if (!known) {
      getOperation().emitError() << "print-kernel-costs: no device '" << on.getValue()
                                 << "': known are " << kernel::deviceNames();
      return signalPassFailure();
    }
    if (rows < 1 || context < 1) {
      getOperation().emitError() << "print-kernel-costs: rows=" << rows.getValue()
                                 << " context=" << context.getValue()
                                 << ": rows and context are positive";
      return signalPassFailure();
    }
    kernel::Device device = *known;
    for (llvm::StringRef text : assume) {
      if (!device.assume(text)) {
        getOperation().emitError() << "print-kernel-costs: assume=" << text
                                   << ": not a number of a device, as in wait_us:0.5";
        return signalPassFailure();
      }
    }
    const kernel::StepShape step{rows, context, graph};
    kernel::ProgramOp program = getOperation();
    std::string title;
    if (program.getDevice())
      title = ("device " + llvm::Twine(*program.getDevice()) + " of 2").str();
    kernel::printTimes(kernel::predict(kernel::phaseCosts(program), device, step), device, step,
                       title, llvm::outs());
  }
};
} // namespace
} // namespace retort
