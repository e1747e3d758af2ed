//===- KernelOps.h - The kernel dialect ------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/cuda/layout.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/RegionKindInterface.h"
#include "mlir/IR/SymbolTable.h"

#include "dialects/Kernel/KernelDialect.h.inc"
#include "dialects/Kernel/KernelEnums.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/Kernel/KernelTypes.h.inc"

namespace retort::kernel {
/// What the `format` of a weights buffer says: "f32", "f16", "bf16", "i8g32", "f8g128",
/// "i4g64s", "i4g32a".
struct PackedFormat {
  enum class Kind { F32, F16, BF16, I8, F8, I4 };
  Kind kind;
  int64_t group;  ///< columns that share a scale; 0 if none
  bool symmetric; ///< codes have no minimum
  bool quantised() const { return kind == Kind::I8 || kind == Kind::F8 || kind == Kind::I4; }
  bool integers() const { return kind == Kind::I8 || kind == Kind::I4; }
  static std::optional<PackedFormat> parse(llvm::StringRef name);
};

/// How kernels/cuda store it.
cuda::WeightLayout mma16(const PackedFormat &format);

/// Tiles of a product with `outputs` rows of weights, or, gated, as many channels: blocks of 16
/// rows (gated: and as many of up); where a tile has `rowTile` rows of the step too, 8 blocks in
/// all.
int64_t productTiles(int64_t outputs, bool gated, int64_t rowTile);

/// Tiles of attention: a head of a row; where a tile has several rows, 128 queries (a row of a
/// head) that share a key/value head.
int64_t attentionTiles(int64_t heads, int64_t kvHeads, int64_t rowTile);
} // namespace retort::kernel

#define GET_OP_CLASSES
#include "dialects/Kernel/KernelOps.h.inc"

namespace retort::kernel {
/// "f32", "f16", "bf16" or "f8e4m3": the format of a cache buffer, as lm.attention has it.
llvm::StringRef cacheFormatName(BufferOp cache);
} // namespace retort::kernel
