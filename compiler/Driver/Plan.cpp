//===- Plan.cpp - What a compile will do and take ----------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Plan.h"
#include "compiler/Codegen/CudaEmitter.h"
#include "runtime/base/Machine.h"
#include "runtime/base/Output.h"

#include <algorithm>
#include <cstdio>
#include <set>

namespace retort {
namespace {

/// Bytes of a bundle besides weights and tokenizer: what is there once (tables of characters, curves and
/// scores of the report), for each block (IR, manifest and report), and code for each instruction set.
constexpr uint64_t kBundleBytes = 400'000, kBlockBytes = 16'000, kIsaBytes = 150'000;
/// Bytes of a GPU program for one architecture and, once, of its PTX and its text.
constexpr uint64_t kCudaArchBytes = 2'000'000;
/// Memory of one nvcc, of which two run at a time, and seconds that it takes for each distinct
/// shape of a phase, as measured on an EPYC 9004.
constexpr uint64_t kNvccBytes = 300'000'000;
constexpr double kNvccSecondsPerShape = 0.5;
/// Memory and seconds of a compile without data work and nvcc: MLIR, code generation, and pieces
/// of parameters.
constexpr uint64_t kCompileBytes = 500'000'000;
constexpr double kCompileSeconds = 10;

/// Distinct shapes of the phases for GPUs.
size_t cudaShapes(LoweredModel &lowered) {
  std::set<std::string> shapes;
  for (LoweredTarget &target : lowered.targets)
    for (kernel::ProgramOp program : target.programs)
      if (program.isCuda())
        for (const codegen::CudaPhase &phase : codegen::cudaPhases(program))
          shapes.insert(phase.kernel);
  return shapes.size();
}

} // namespace

Plan planOf(const std::vector<PlannedWork> &work, LoweredModel &lowered,
            const CompileTargets &targets, uint64_t tokenizerBytes) {
  uint64_t blocks = 0;
  for (const LoweredTarget &target : lowered.targets)
    target.model->walk([&](lm::BlockOp) { ++blocks; });
  // An nvcc for each architecture and one for PTX.
  const size_t compilers = targets.cuda.empty() ? 0 : targets.cuda.size() + 1;
  Plan plan{.work = work,
            .weightBytes = lowered.weightBytes,
            .bytesPerToken = lowered.bytesPerToken,
            .codeBytes = kBundleBytes + tokenizerBytes + blocks * kBlockBytes +
                         targets.cpu.size() * kIsaBytes + compilers * kCudaArchBytes,
            .emitMemory = kCompileBytes,
            .emitSeconds = kCompileSeconds};
  if (compilers) {
    plan.emitMemory += 2 * kNvccBytes;
    plan.emitSeconds +=
        kNvccSecondsPerShape * static_cast<double>(cudaShapes(lowered) * compilers) / 2;
  }
  return plan;
}

uint64_t Plan::peakMemory() const {
  uint64_t peak = emitMemory;
  for (const PlannedWork &stage : work)
    if (!stage.cached)
      peak = std::max(peak, stage.memoryBytes);
  return peak;
}

uint64_t Plan::workspaceBytes() const {
  uint64_t bytes = 0;
  for (const PlannedWork &stage : work)
    bytes += stage.cached ? 0 : stage.diskBytes;
  return bytes;
}

double Plan::wholeSeconds() const {
  double seconds = emitSeconds;
  for (const PlannedWork &stage : work)
    seconds += stage.seconds;
  return seconds;
}

void Plan::print() const {
  const std::string emit = "emit and write the bundle";
  size_t width = emit.size();
  for (const PlannedWork &stage : work)
    width = std::max(width, stage.name.size());
  const int columns = static_cast<int>(width);
  output::print("%-*s %10s %10s %10s\n", columns, "stage", "time", "memory", "disk");
  double seconds = emitSeconds;
  for (const PlannedWork &stage : work) {
    output::print("%-*s %10s %10s %10s  %s\n", columns, stage.name.c_str(),
                  stage.cached ? "-" : ("~" + formatSeconds(stage.seconds)).c_str(),
                  formatBytes(stage.memoryBytes).c_str(), formatBytes(stage.diskBytes).c_str(),
                  stage.cached ? "cached" : "");
    seconds += stage.cached ? 0 : stage.seconds;
  }
  output::print("%-*s %10s %10s %10s\n", columns, emit.c_str(),
                ("~" + formatSeconds(emitSeconds)).c_str(), formatBytes(emitMemory).c_str(),
                formatBytes(bundleBytes()).c_str());
  output::print("\nin all about %s, peak memory %s (free: %s), bundle %s, %s of weights a token\n",
                formatSeconds(seconds).c_str(), formatBytes(peakMemory()).c_str(),
                formatBytes(availableMemoryBytes()).c_str(), formatBytes(bundleBytes()).c_str(),
                formatBytes(bytesPerToken).c_str());
}

void Plan::check(const std::string &workspace, const std::string &output) const {
  if (uint64_t free = availableMemoryBytes(); peakMemory() > free)
    fail(ExitCode::Resources,
         "the compile needs about " + formatBytes(peakMemory()) + " of memory but " +
             formatBytes(free) +
             " are free: see --dry-run for which stage, close other programs or use a smaller "
             "teacher");
  if (uint64_t free = freeDiskBytes(workspace); workspaceBytes() > free)
    fail(ExitCode::Resources, workspace + ": the workspace needs " + formatBytes(workspaceBytes()) +
                                  " but " + formatBytes(free) +
                                  " are free: name another with --workspace");
  if (uint64_t free = freeDiskBytes(output); bundleBytes() > free)
    fail(ExitCode::Resources, output + ": the bundle needs " + formatBytes(bundleBytes()) +
                                  " but " + formatBytes(free) + " are free on that disk");
}

} // namespace retort
