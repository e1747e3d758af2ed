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
#include "llvm/ADT/StringMap.h"

#include "dialects/LM/LMDialect.h.inc"
#include "dialects/LM/LMEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/LM/LMAttrs.h.inc"

namespace retort::lm {
class BlockOp;
class ForwardOp;
class ParamOp;
class ParamUserOpInterface;
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
/// Gives rows another number of features.
inline void setFeatures(mlir::Value rows, int64_t features) {
  rows.setType(rowsType(rows.getContext(), features));
}

/// What an op does with a parameter.
enum class ParamRole {
  Matrix, ///< multiplies by it: outputs x inputs, and the result is linear in the operand
  Bias,   ///< adds it to the result; the op may do without
  Gain,   ///< scales features by it
  Table,  ///< looks rows up in it
  Sinks,  ///< takes its numbers for scores beside those of keys
  Opaque, ///< anything else: passes that round or cut parameters refuse the op
};

/// What an axis of a parameter runs over.
struct ParamAxis {
  enum class Kind {
    Features, ///< of `rows`, an operand or result of the op
    Heads,    ///< the `runs` equal runs of the features of `rows`
    Tokens,   ///< of the vocabulary: all of the model's, or those that `rows` scores
    Inner,    ///< nothing outside of the op
  };
  Kind kind = Kind::Inner;
  mlir::Value rows;
  /// Features: the axis spans one of so many equal runs, which all share it.
  int64_t runs = 1;

  static ParamAxis over(mlir::Value rows, int64_t runs = 1) { return {Kind::Features, rows, runs}; }
  static ParamAxis heads(mlir::Value rows, int64_t runs) { return {Kind::Heads, rows, runs}; }
  static ParamAxis tokens(mlir::Value logits = {}) { return {Kind::Tokens, logits, 1}; }
};

/// A parameter as an op reads it.
struct ParamUse {
  mlir::StringAttr attribute; ///< of the op: where it names the parameter
  mlir::FlatSymbolRefAttr param;
  ParamRole role;
  llvm::SmallVector<ParamAxis, 2> axes; ///< slowest first; none where the role is Opaque
};

/// Checks that the parameters `op` declares are there and have the shapes it declares.
mlir::LogicalResult verifyParamUses(ParamUserOpInterface op, mlir::SymbolTableCollection &symbols);
} // namespace retort::lm

#include "dialects/LM/LMInterfaces.h.inc"
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
/// The label of the block that `op` stands in; empty outside of blocks.
llvm::StringRef blockLabel(mlir::Operation *op);
/// What diagnostics call the place of `op`: `block "blk.3"`, or `the model` outside of blocks.
std::string placeOf(mlir::Operation *op);

/// Which ops of a model's computation read its parameters, by what they declare.
class ParamReaders {
public:
  struct Reader {
    ParamUserOpInterface op;
    ParamUse use;
  };

  explicit ParamReaders(ModelOp model);
  /// The readers of `param`, first to run first; an op that names it twice is there twice.
  llvm::ArrayRef<Reader> of(ParamOp param) const;
  bool isRead(ParamOp param) const { return !of(param).empty(); }
  /// Whether a pass that changes the parameter for one reader would change it for another.
  bool isShared(ParamOp param) const { return of(param).size() > 1; }

private:
  llvm::StringMap<llvm::SmallVector<Reader, 1>> readers;
};
} // namespace retort::lm
