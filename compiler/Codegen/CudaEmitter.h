//===- CudaEmitter.h - kernel.program -> EmitC -> CUDA C++ -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/Kernel/KernelOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include <string>
#include <vector>

namespace retort {

/// How a step is launched: one cooperative kernel, or a kernel a phase in a CUDA graph.
enum class CudaForm { Persistent, Graph };

/// "persistent" or "graph". Throws retort::Error (Usage) for another word.
CudaForm parseCudaForm(const std::string &word);

namespace codegen {

/// A phase's function, and its kernel in the graph form.
struct CudaPhase {
  std::string name;   ///< "p017_blk3_ffn_down"
  std::string kernel; ///< "retort_decode_Matmul_1536x576_i4g32s", shared by phases of equal shape
  int64_t number = 0; ///< what the kernel is told
  // Of prefill in the graph form:
  int64_t sends = -1;    ///< the exchange for which it is the last phase that sends
  int64_t receives = -1; ///< the exchange that it waits for
  int64_t ctas = 0;      ///< that have a tile in the largest step, if few; 0: one a multiprocessor
};
/// The step's phases in order, without the one that draws.
std::vector<CudaPhase> cudaPhases(kernel::ProgramOp program);

/// The kernel that draws tokens, "retort_decode_sample", a launch of its own in both forms; "" if
/// the program has none.
std::string cudaSample(kernel::ProgramOp program);

/// The entry of the persistent form: "retort_decode", "retort_prefill"; of two devices
/// "retort_decode_0", ...
std::string cudaEntry(kernel::ProgramOp program);

/// u32 words of the step's `sync` that the program's kernels use.
int64_t cudaSyncWords(kernel::ProgramOp program);

/// The EmitC of planned CUDA programs (after plan-buffers). Throws retort::Error (Internal) for a
/// program that is not planned or not for CUDA.
mlir::OwningOpRef<mlir::ModuleOp> emitEmitC(mlir::ArrayRef<kernel::ProgramOp> programs,
                                            CudaForm form);

/// program.cu: the text of emitEmitC. The same programs give the same bytes.
std::string emitCudaText(mlir::ArrayRef<kernel::ProgramOp> programs, CudaForm form);

} // namespace codegen
} // namespace retort
