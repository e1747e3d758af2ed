//===- PrintKernelCosts.cpp - Print what each phase moves and computes ----===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Kernel/KernelCost.h"
#include "passes/Lower/Passes.h"
#include "llvm/Support/raw_ostream.h"

namespace retort {
#define GEN_PASS_DEF_PRINTKERNELCOSTS
#include "passes/Lower/Passes.h.inc"
namespace {
struct PrintKernelCosts : impl::PrintKernelCostsBase<PrintKernelCosts> {
  using PrintKernelCostsBase::PrintKernelCostsBase;
  void runOnOperation() override { kernel::printCosts(getOperation(), llvm::outs()); }
};
} // namespace
} // namespace retort
