//===- Units.h - What a block is made of ------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// Attentions and gated units, found in the ops of a block by what those ops declare, not by names.
// A unit works on parts that do not see each other: an attention on key/value heads with the query
// heads that read them, a gated unit on channels. Its inputs are products, whose outputs are cut
// into the parts; its result, let through by a gate if there is one, goes into one more product,
// whose inputs are.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "dialects/LM/LMOps.h"
#include "llvm/ADT/DenseMap.h"
#include <deque>

namespace retort::lm {

/// Where an input of a unit comes from.
struct Projection {
  ParamUserOpInterface op; ///< the product, linear in its one operand; null if there is none
  SplitOp split;           ///< cuts the product's result where it is fused with others; may be null
  mlir::Value rows;        ///< of the product or the split: what this unit gets
  llvm::SmallVector<HeadwiseOpInterface, 2> between; ///< norms and ropes after it, last first
  bool isAlone = true;              ///< nothing else reads the product or what is between
  mlir::Operation *other = nullptr; ///< without a product: the op that the search ended at, or null
};

/// Where a value is added to the residual stream.
struct Addition {
  ResidualOp residual;                             ///< null: it is not, or something else reads it
  llvm::SmallVector<mlir::Operation *, 1> between; ///< norms and all-reduces before it
};
Addition additionOf(mlir::Value output);

/// An axis of a parameter that is cut into a unit's parts.
struct UnitAxis {
  ParamUserOpInterface user;
  ParamOp param;
  weight::Axis axis;
  int64_t width; ///< rows or columns of a part
};

/// The quantisation that the parameter's program ends in, or null. Rows and columns are cut and
/// joined before it.
weight::QuantizeOp finalQuantize(ParamOp param);

/// Why parts cannot be taken out of a unit.
struct Obstacle {
  mlir::Operation *at;
  std::string words;
  bool isClause; ///< of the unit: "no plain linear layers feed"; else a sentence about its block
  bool isFused;  ///< fusing projections may have made it so

  /// What follows the block's name in a diagnostic: "has an attention that no plain linear layers
  /// feed" where `unit` is "an attention".
  std::string sentence(llvm::StringRef unit) const {
    return isClause ? ("has " + unit + " that " + words).str() : words;
  }
};

/// What attentions and gated units have in common.
struct Unit {
  mlir::Operation *core = nullptr;         ///< the lm.attention or lm.glu
  int64_t parts = 0;                       ///< key/value heads or channels
  GateOp gate;                             ///< what lets the core's result through, or null
  llvm::SmallVector<Projection, 3> inputs; ///< of the core's operands, then of the gate
  ParamUserOpInterface output;             ///< the product that alone reads the result, or null
  mlir::Operation *other = nullptr;        ///< what alone reads the result if it is no product
  Addition addition;                       ///< of the output, or the result without one

  /// The core's result, or the gate's.
  mlir::Value result() const;

  /// Why parts cannot be taken from the inputs: each must have a product of its own, with nothing
  /// after it that mixes parts.
  std::optional<Obstacle> whyNotFed() const;
  /// Why they cannot be taken from the output.
  std::optional<Obstacle> whyNotFollowed() const;
  /// The axes that go with the parts, inputs first; of a unit without obstacles.
  llvm::SmallVector<UnitAxis> axes() const;
  /// Sets the number of parts and the types of what works on them, but changes no parameter: this
  /// unit is then out of date. Of a unit without obstacles.
  void setParts(int64_t count) const;

protected:
  Unit(mlir::Operation *core, int64_t parts);
};

/// Query, key and value projections, attention, output projection.
struct AttentionUnit : Unit {
  explicit AttentionUnit(AttentionOp attention);
  AttentionOp attention() const { return llvm::cast<AttentionOp>(core); }
  const Projection &query() const { return inputs[0]; }
  const Projection &key() const { return inputs[1]; }
  const Projection &value() const { return inputs[2]; }
  int64_t heads() const { return attention().getHeads(); }
  int64_t kvHeads() const { return parts; }
  int64_t groupSize() const { return heads() / kvHeads(); } ///< query heads of a key/value head
  int64_t headDim() const { return attention().getHeadDim(); }
  std::optional<int64_t> window() const;
};

/// Gate and up projections, the gate, down projection.
struct GatedUnit : Unit {
  explicit GatedUnit(GluOp glu);
  GluOp glu() const { return llvm::cast<GluOp>(core); }
  const Projection &gate() const { return inputs[0]; }
  const Projection &up() const { return inputs[1]; }
  ParamUserOpInterface down() const { return output; }
  int64_t channels() const { return parts; }
};

/// The units in an op, a model or a block; an analysis of it.
class Units {
public:
  explicit Units(mlir::Operation *root);
  Units(Units &&) = default;

  const std::deque<AttentionUnit> &attentions() const { return attentionUnits; }
  const std::deque<GatedUnit> &gated() const { return gatedUnits; }
  /// All of them, in the order of their cores.
  llvm::ArrayRef<const Unit *> all() const { return inOrder; }
  /// The first unit that `op` belongs to, or null.
  const Unit *of(mlir::Operation *op) const { return members.lookup(op); }
  /// Ops that multiply by a matrix, or do something unknown with a parameter, and belong to no unit;
  /// the logits are none of them.
  llvm::ArrayRef<ParamUserOpInterface> strays() const { return strayOps; }

private:
  void addMembers(const Unit &unit);

  std::deque<AttentionUnit> attentionUnits;
  std::deque<GatedUnit> gatedUnits;
  std::vector<const Unit *> inOrder;
  llvm::DenseMap<mlir::Operation *, const Unit *> members;
  llvm::SmallVector<ParamUserOpInterface> strayOps;
};

/// What diagnostics say of an op that a pass cannot handle: "a linear layer @w" or "'lm.x' @w".
std::string describeUser(ParamUserOpInterface op);
} // namespace retort::lm
