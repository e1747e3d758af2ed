//===- Bitcode.h - The CPU microkernels as LLVM bitcode ---------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace retort {

/// The kernels of kernels.h as one LLVM 19 bitcode module for `isa`, "x86-64-v3" or "x86-64-v4"
/// (with VNNI and BF16); empty for any other name. It lives in the binary's read-only data.
std::span<const uint8_t> cpuKernelsBitcode(std::string_view isa);

} // namespace retort
