//===- Bitcode.cpp - The bitcode files, carried in the binary ---------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "kernels/cpu/Bitcode.h"

#define RETORT_INCBIN(symbol, file)                                                                \
  __asm__(".section .rodata." #symbol ",\"a\",@progbits\n"                                         \
          ".balign 16\n"                                                                           \
          ".globl " #symbol "\n" #symbol ":\n"                                                     \
          ".incbin \"" RETORT_BITCODE_DIR "/" file "\"\n"                                          \
          ".globl " #symbol "_end\n" #symbol "_end:\n"                                             \
          ".previous\n");                                                                          \
  extern "C" const uint8_t symbol[], symbol##_end[]

RETORT_INCBIN(retortCpuKernelsV3, "kernels-x86-64-v3.bc");
RETORT_INCBIN(retortCpuKernelsV4, "kernels-x86-64-v4.bc");

std::span<const uint8_t> retort::cpuKernelsBitcode(std::string_view isa) {
  if (isa == "x86-64-v3")
    return {retortCpuKernelsV3, retortCpuKernelsV3_end};
  if (isa == "x86-64-v4")
    return {retortCpuKernelsV4, retortCpuKernelsV4_end};
  return {};
}
