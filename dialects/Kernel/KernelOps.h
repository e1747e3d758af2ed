//===- KernelOps.h - The kernel dialect ------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
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
/// What the `format` of a weights buffer says: "f32", "bf16", "i8g32", "i4g64s", "i4g32a".
struct PackedFormat {
  enum class Kind { F32, BF16, I8, I4 };
  Kind kind;
  int64_t group;  ///< columns that share a scale; 0 for floats
  bool symmetric; ///< codes have no minimum
  bool quantised() const { return kind == Kind::I8 || kind == Kind::I4; }
  static std::optional<PackedFormat> parse(llvm::StringRef name);
};
} // namespace retort::kernel

#define GET_OP_CLASSES
#include "dialects/Kernel/KernelOps.h.inc"
