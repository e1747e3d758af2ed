//===- EmitCuda.cpp - Print the CUDA C++ of a module's programs -----------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Codegen/CudaEmitter.h"
#include "mlir/Dialect/EmitC/IR/EmitC.h"
#include "passes/Lower/Passes.h"
#include "runtime/base/Error.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
namespace retort {
#define GEN_PASS_DEF_EMITCUDA
#include "passes/Lower/Passes.h.inc"
namespace {
struct EmitCuda : impl::EmitCudaBase<EmitCuda> {
  using EmitCudaBase::EmitCudaBase;

  void getDependentDialects(DialectRegistry &registry) const override {
    registry.insert<emitc::EmitCDialect>();
  }

  void runOnOperation() override {
    SmallVector<kernel::ProgramOp> programs;
    for (auto program : getOperation().getOps<kernel::ProgramOp>())
      if (program.isCuda())
        programs.push_back(program);
    if (programs.empty()) {
      getOperation().emitError("emit-cuda: the module has no kernel.program for CUDA");
      return signalPassFailure();
    }
    try { // MLIR's frames do not pass exceptions on.
      CudaForm chosen = parseCudaForm(form);
      if (printEmitC)
        llvm::outs() << *codegen::emitEmitC(programs, chosen) << "\n";
      else
        llvm::outs() << codegen::emitCudaText(programs, chosen);
    } catch (const Error &error) {
      getOperation().emitError() << "emit-cuda: " << error.message;
      signalPassFailure();
    }
  }
};
} // namespace
} // namespace retort
