//===- Headers.h - The CUDA device code, carried in the compiler --*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <span>
#include <string_view>

namespace retort {

/// A file that program.cu includes.
struct CudaHeader {
  std::string_view path; ///< as included: "kernels/cuda/program.cuh"
  std::string_view text;
};

/// All of them, so that whoever runs `retort compile` needs nvcc alone.
std::span<const CudaHeader> cudaHeaders();

} // namespace retort
