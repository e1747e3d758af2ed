//===- KernelOps.h - The kernel dialect ------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/Common.h"
#include "dialects/Kernel/TileOps.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/RegionKindInterface.h"

#include "dialects/Kernel/KernelDialect.h.inc"
#include "dialects/Kernel/KernelEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/Kernel/KernelAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/Kernel/KernelTypes.h.inc"

#include "dialects/Kernel/TileOpInterface.h.inc"
#define GET_OP_CLASSES
#include "dialects/Kernel/KernelOps.h.inc"

namespace retort::kernel {
/// The type of a cache's elements.
mlir::Type cacheElement(mlir::MLIRContext *context, CacheFormat format);
/// The format of a cache buffer.
CacheFormat cacheFormat(BufferOp cache);

/// What a phase does, for people: "norm, 576 -> 960, int4 in groups of 64; 320 kB of weights; 60
/// tiles".
std::string describe(PhaseOp phase, const Buffers &buffers);
} // namespace retort::kernel
