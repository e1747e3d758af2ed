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
    if (rows < 1 || context < 1 || devices < 1 || devices > 2) {
      getOperation().emitError() << "print-kernel-costs: rows=" << rows.getValue()
                                 << " context=" << context.getValue()
                                 << " devices=" << devices.getValue()
                                 << ": rows and context are positive, devices 1 or 2";
      return signalPassFailure();
    }
    kernel::Device device = *known;
    for (llvm::StringRef text : assume) {
      auto [field, number] = text.split(':');
      double value = 0;
      if (number.getAsDouble(value) || value <= 0 || !device.assume(field, value)) {
        getOperation().emitError() << "print-kernel-costs: assume=" << text
                                   << ": not a number of a device, as in wait_us:0.5";
        return signalPassFailure();
      }
    }
    const kernel::StepShape step{rows, context, devices, graph};
    kernel::printTimes(kernel::predict(kernel::phaseCosts(getOperation()), device, step), device,
                       step, llvm::outs());
  }
};
} // namespace
} // namespace retort
