//===- WeightOps.h - The weight dialect: programs that make parameters ----===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/Common.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/TensorEncoding.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/Weight/WeightDialect.h.inc"
#include "dialects/Weight/WeightEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/Weight/WeightAttrs.h.inc"

namespace retort::weight {
/// The format of a quantised matrix's type; null for every other type.
FormatAttr getFormat(mlir::Type type);
/// How a type's values are stored: of a quantised matrix its format, else that of its floats.
/// Nothing for packed bytes.
std::optional<NumberFormat> numberFormat(mlir::Type type);
/// A vector or matrix of f32, f16 or bf16 with a static shape and no encoding.
bool isWeightTensor(mlir::Type type);
/// What a program may yield: a weight tensor, a quantised matrix, or a vector of packed bytes.
bool isParamType(mlir::Type type);
/// Whether `text` is a SHA-256 as the workspace names its objects: 64 lower-case hex digits.
bool isObjectHash(llvm::StringRef text);
} // namespace retort::weight

#define GET_OP_CLASSES
#include "dialects/Weight/WeightOps.h.inc"
