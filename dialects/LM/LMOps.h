//===- LMOps.h - The lm dialect: language models --------------------------===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/Weight/WeightOps.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "dialects/LM/LMDialect.h.inc"
#include "dialects/LM/LMEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/LM/LMAttrs.h.inc"

namespace retort::lm {
class BlockOp;
class ForwardOp;
class ParamOp;
class ReturnOp;
class YieldOp;

/// Rows of features: tensor<?xHxf32>, H at least 1.
bool isRows(mlir::Type type);
/// tensor<?x`features`xf32>.
mlir::RankedTensorType rowsType(mlir::MLIRContext *context, int64_t features);
/// A parameter's name without its block and kind: attn_q of blk.0.attn_q.weight.
llvm::StringRef shortName(llvm::StringRef param);
/// The features of rows.
inline int64_t features(mlir::Value rows) {
  return llvm::cast<mlir::RankedTensorType>(rows.getType()).getDimSize(1);
}
} // namespace retort::lm

#define GET_OP_CLASSES
#include "dialects/LM/LMOps.h.inc"

namespace retort::lm {
/// The model that `op`, an op in a model's computation, belongs to.
inline ModelOp getModel(mlir::Operation *op) { return op->getParentOfType<ModelOp>(); }
/// The parameter that `op`, an op in a model's computation, calls `name`; null if there is none.
inline ParamOp lookupParam(mlir::Operation *op, llvm::StringRef name) {
  ModelOp model = getModel(op);
  return model ? model.lookupParam(name) : ParamOp();
}
/// The model of `module` called `name`; with an empty name the student, or the only model. Emits an
/// error at the module where there is no such model.
mlir::FailureOr<ModelOp> findModel(mlir::ModuleOp module, llvm::StringRef name);
/// Whether a parameter is read by more than one op of the computation: a pass that changes it for
/// one would change it for the other.
bool isShared(ParamOp param);
} // namespace retort::lm
