//===- Cuda.cpp - From kernel.programs to a CUDA program ------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Codegen/Cuda.h"
#include "dialects/Kernel/KernelCost.h"
#include "kernels/cuda/machine.h"
#include "runtime/base/Error.h"

using namespace mlir;
namespace retort {
namespace {

CompiledCuda::Entry describe(kernel::ProgramOp program, CudaForm form) {
  CompiledCuda::Entry entry;
  entry.step = program.getStep()->str();
  entry.device = program.getDevice().value_or(0);
  entry.logitsBegin = program.getLogitsBegin().value_or(0);
  for (auto buffer : program.getBody().getOps<kernel::BufferOp>())
    if (buffer.getKind() == kernel::BufferKind::Output &&
        buffer.getTensor().getRank() == 2) // the other one is what was chosen
      entry.logitsCount = buffer.getTensor().getShape().back();
  entry.maxRows = program.getMaxRows();
  entry.activationBytes = *program.getActivationBytes();
  entry.syncWords = codegen::cudaSyncWords(program);
  entry.threads = program.isDecode() ? cuda::kThreads : cuda::kPrefillThreads;
  program.walk([&](kernel::ArgmaxOp) { entry.argmax = true; });
  entry.sample = codegen::cudaSample(program);
  if (form == CudaForm::Persistent)
    entry.kernels.push_back({codegen::cudaEntry(program)});
  else
    for (const codegen::CudaPhase &phase : codegen::cudaPhases(program))
      entry.kernels.push_back({phase.kernel, phase.number, phase.ctas});
  return entry;
}

} // namespace

CompiledCuda emitCuda(ArrayRef<kernel::ProgramOp> programs, const CudaOptions &options) {
  CompiledCuda result;
  result.form = options.form;
  result.text = codegen::emitCudaText(programs, options.form);
  for (kernel::ProgramOp program : programs) {
    ModelLayout layout = layOut(program);
    const size_t device = program.getDevice().value_or(0);
    if (device < result.layouts.size() && layout != result.layouts[device])
      fail(ExitCode::Internal, "codegen: '" + program.getSymName().str() +
                                   "' has its weights or its cache elsewhere than the program "
                                   "before it");
    result.layouts.resize(std::max(result.layouts.size(), device + 1));
    result.layouts[device] = std::move(layout);
    result.entries.push_back(describe(program, options.form));
    if (program.isDecode())
      result.bytesPerToken += kernel::bytesPerToken(program);
  }
  NvccOptions nvcc{.arches = options.arches, .interrupted = options.interrupted};
  for (const CompiledCuda::Entry &entry : result.entries)
    nvcc.threads = std::max(nvcc.threads, entry.threads);
  FatBinary binary = compileFatBinary(result.text, nvcc);
  result.fatbin = std::move(binary.bytes);
  result.resources = std::move(binary.resources);
  result.arches = options.arches;
  result.ptx = options.arches.back().withoutSuffix();
  return result;
}

} // namespace retort
