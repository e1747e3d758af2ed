//===- Nvcc.h - CUDA C++ text -> fat binary --------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Codegen/Targets.h"
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace retort {

/// What ptxas says of a function that it compiled.
struct CudaResources {
  std::string function; ///< as in the object: kernels by name, others mangled
  bool isKernel = false;
  int registers = 0; ///< a thread; kernels only
  int barriers = 0;
  int64_t stackBytes = 0, spillStoreBytes = 0, spillLoadBytes = 0;
  int64_t sharedBytes = 0; ///< static; dynamic comes on top
};

/// Reads the lines of `ptxas -v`, in order; lines that it does not know are passed over.
std::vector<CudaResources> parsePtxasReport(std::string_view text);

/// What is wrong with a kernel of `threads` threads and `dynamicBytes` of shared memory a CTA,
/// which is to have a multiprocessor of `arch` for itself: spills, registers, shared memory. Empty:
/// nothing.
std::string residencyProblem(const CudaResources &function, const CudaArch &arch, int threads,
                             int64_t dynamicBytes);

struct NvccOptions {
  std::vector<CudaArch> arches;      ///< a cubin each, and PTX of the last; ascending
  int threads = 0;                   ///< the most that a kernel has
  unsigned jobs = 2;                 ///< processes at a time
  std::function<bool()> interrupted; ///< asked now and then; true stops the compile
};

struct FatBinary {
  std::string bytes;                                           ///< what cuModuleLoadData takes
  std::map<std::string, std::vector<CudaResources>> resources; ///< by architecture: "sm_90a"
};

/// nvcc: the file that CUDACXX names, or on the PATH, or /usr/local/cuda/bin/nvcc. Throws
/// retort::Error (Unsupported) that says how to install it.
std::string findNvcc();

/// Compiles `text` with the headers that this build carries (kernels/cuda/Headers.h). The same text
/// and toolkit give the same bytes. Throws retort::Error: Unsupported without nvcc or a host
/// compiler for it, or if it does not know an architecture; Internal with the compiler's first
/// error, or for a kernel that spills or cannot be resident; Io; Interrupted.
FatBinary compileFatBinary(const std::string &text, const NvccOptions &options);

} // namespace retort
