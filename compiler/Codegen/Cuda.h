//===- Cuda.h - From kernel.programs to a CUDA program ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Codegen/Codegen.h"
#include "compiler/Codegen/CudaEmitter.h"
#include "compiler/Codegen/Nvcc.h"

namespace retort {

/// What a bundle needs of a model compiled for GPUs: the fat binary, its source, and the numbers
/// for its manifest.
struct CompiledCuda {
  /// A step: decode, for few rows, or prefill.
  struct Entry {
    std::string step; ///< "decode" or "prefill"
    int64_t device = 0;
    int64_t logitsBegin = 0, logitsCount = 0; ///< that it writes
    struct Kernel {
      std::string symbol;
      int64_t phase = 0; ///< graph: the kernel's second parameter
      int64_t ctas = 0;  ///< of the grid; 0: one a multiprocessor
    };
    std::vector<Kernel> kernels; ///< one in the persistent form, else in order
    int64_t maxRows = 0, activationBytes = 0, syncWords = 0;
    int threads = 0;     ///< of each kernel
    bool argmax = false; ///< keeps the largest logits (kernel.argmax)
    std::string sample;  ///< the kernel that draws tokens (kernel.sample); "": none
  };
  std::string text;   ///< program.cu
  std::string fatbin; ///< program.fatbin
  CudaForm form = CudaForm::Persistent;
  std::vector<Entry> entries;
  std::vector<CudaArch> arches;     ///< a cubin each
  CudaArch ptx;                     ///< for later GPUs
  std::vector<ModelLayout> layouts; ///< of each device's weights and cache
  int64_t bytesPerToken = 0;        ///< weight bytes read to decode one token, on all devices
  std::map<std::string, std::vector<CudaResources>> resources;
};

struct CudaOptions {
  std::vector<CudaArch> arches; ///< at least one
  CudaForm form = CudaForm::Persistent;
  std::function<bool()> interrupted; ///< true stops nvcc
};

/// Compiles planned programs: decode and prefill of a model over the same weights and cache, for
/// one device or for each of two. Throws retort::Error as compileFatBinary, and Internal if a
/// device's programs disagree about their weights.
CompiledCuda emitCuda(llvm::ArrayRef<kernel::ProgramOp> programs, const CudaOptions &options);

} // namespace retort
