//===- Lowering.h - Make a kernel.program of a model -----------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
// What lower-to-kernel does: one walk over the computation in order. `columns` holds where each
// value is. Norms and ropes are deferred: they are emitted by what reads them, as a prologue where
// it can have one.
//   Lowering.cpp        where values are, and ops that are a phase of rows
//   LowerProducts.cpp   products, with what they take in: norms, partial sums, residuals, gates
//   LowerAttention.cpp  attention, with norms of heads, ropes and the cache
#pragma once
#include "passes/Lower/ProgramBuilder.h"
#include <deque>

namespace retort {

/// Bounds what the combining CTA reads: one partial result a split.
constexpr int64_t kMaxSplits = 64;
/// Of a rope's length_scale: they are in constant memory.
constexpr int64_t kMaxSteps = 4096;

/// How decoding cuts a row's positions in ranges.
struct SplitChoice {
  int64_t splits = 0;            ///< 0: as many as the shapes ask for
  int64_t multiprocessors = 132; ///< each should have a tile

  int64_t of(lm::AttentionOp op) const;
};

/// "blk.0.attn_qkv" of "blk.0.attn_qkv.weight".
std::string stem(mlir::StringRef param);

class Lowering {
public:
  Lowering(lm::ModelOp model, const ProgramKind &kind, SplitChoice splitChoice)
      : model(model), kind(kind), splitChoice(splitChoice), builder(model, kind) {}

  /// Fails with a diagnostic at the op that has no lowering.
  mlir::LogicalResult run();
  ProgramBuilder &getBuilder() { return builder; }

private:
  lm::ModelOp model;
  const ProgramKind &kind;
  SplitChoice splitChoice;
  ProgramBuilder builder;
  llvm::DenseMap<mlir::Value, Columns> columns;
  llvm::DenseSet<mlir::Operation *> fused; ///< ops that an earlier phase computes
  llvm::DenseMap<mlir::Operation *, kernel::BufferOp> angles; ///< of each rope
  std::string label = "model";

  /// Rows that are still the devices' partial sums: an all-reduce's result, and what a residual
  /// adds to it. Whoever reads them first adds them up.
  struct Sum {
    kernel::BufferOp partial, received;
    bool hasResidual = false; ///< it is in device 0's partial sum
    kernel::BufferOp stream;  ///< else it may be added in the end
    Columns added;            ///< where they are once all that is done
  };
  std::deque<Sum> sums; ///< a prologue points into it
  llvm::DenseMap<mlir::Value, size_t> sumOf;

  mlir::FlatSymbolRefAttr symbol(kernel::BufferOp buffer) {
    return buffer ? mlir::FlatSymbolRefAttr::get(buffer.getSymNameAttr())
                  : mlir::FlatSymbolRefAttr();
  }
  mlir::FloatAttr f32(double value) {
    return mlir::FloatAttr::get(mlir::Float32Type::get(builder.getContext()),
                                static_cast<float>(value));
  }
  mlir::FloatAttr f32(std::optional<double> value) {
    return value ? f32(*value) : mlir::FloatAttr();
  }
  kernel::ActivationAttr act(Activation activation) {
    return kernel::ActivationAttr::get(builder.getContext(), activation);
  }
  mlir::IntegerAttr i64(int64_t value) {
    return mlir::IntegerAttr::get(mlir::IntegerType::get(builder.getContext(), 64), value);
  }
  mlir::UnitAttr unit(bool set) {
    return set ? mlir::UnitAttr::get(builder.getContext()) : mlir::UnitAttr();
  }
  kernel::BufferOp rowInput(mlir::StringRef name);
  kernel::BufferOp fresh(mlir::Operation *op, mlir::StringRef name, int64_t features);
  Columns whole(kernel::BufferOp buffer) { return {buffer, 0, buffer.getTensor().getDimSize(1)}; }

  //===--- Where values are ----------------------------------------------------------===//

  /// A norm that no phase has computed: its reader may do it.
  lm::NormOp deferredNorm(mlir::Value value);
  /// Where `value` is, if a phase has made it.
  std::optional<Columns> placed(mlir::Value value);
  /// Where `value` is; a deferred norm is computed by a phase now.
  mlir::FailureOr<Columns> place(mlir::Value value, mlir::Operation *reader);
  mlir::FailureOr<kernel::BufferOp> placeWhole(mlir::Value value, mlir::Operation *reader);
  /// A phase that adds up partial sums, unless one has.
  Columns addUp(Sum &sum, mlir::Operation *reader);
  /// Records that `to` is where `from` is, also while that is partial sums.
  mlir::LogicalResult forward(mlir::Value from, mlir::Value to, mlir::Operation *reader);

  //===--- Ops -----------------------------------------------------------------------===//

  mlir::LogicalResult lower(mlir::Block &block);
  mlir::LogicalResult lower(lm::BlockOp op);
  mlir::LogicalResult lower(lm::EmbedOp op);
  /// The tables of all ropes come first, beside the embedding, so that no layer waits for them.
  mlir::LogicalResult lowerAngles(lm::ForwardOp forward);
  /// A phase that norms rows, adding `residual` if given, and says that `result` is there.
  mlir::LogicalResult lowerNorm(lm::NormOp op, mlir::Value result, mlir::Value residual);

  //===--- Products ------------------------------------------------------------------===//

  /// What the prologue of a product reads: rows, and the gain of a norm or none.
  struct Prologue {
    Columns source;
    lm::NormOp norm;
    kernel::BufferOp gain;
    Sum *sum = nullptr;     ///< the prologue adds it up, `source` is its partial sum
    kernel::BufferOp keeps; ///< where it leaves the rows for later phases, if it does
  };
  /// Partial sums that the prologue of a product of `input` can add up. Rows that are not normed
  /// would be stored by nobody where they are too long for shared memory.
  Sum *fusibleSum(lm::NormOp norm);
  mlir::FailureOr<Prologue> prologue(mlir::Value input, mlir::Operation *reader);
  mlir::Value stage(mlir::OpBuilder &body, mlir::Location loc, const Prologue &from,
                    kernel::BufferOp weights, kernel::BufferOp rows);
  /// The all-reduce that reads the product, which is then a partial sum.
  lm::AllReduceOp allReduceOf(lm::LinearOp op);
  mlir::LogicalResult lower(lm::AllReduceOp op);
  /// The residual add that the product can do: its only reader, the stream known before it.
  lm::ResidualOp fusibleResidual(lm::LinearOp op, mlir::Value &stream);
  /// The gated unit that the product can do: it reads the product's two halves, and nothing else
  /// does.
  lm::GluOp fusibleGlu(lm::LinearOp op, lm::SplitOp &split);
  mlir::LogicalResult lower(lm::LinearOp op);
  mlir::LogicalResult lowerGated(lm::LinearOp op, lm::SplitOp split, lm::GluOp glu);
  mlir::LogicalResult lower(lm::LogitsOp op);
  /// The largest logit, found by the phase that `body` builds, and a phase that draws tokens from
  /// all, on the first of two devices.
  void lowerChoice(mlir::OpBuilder &body, lm::LogitsOp op, kernel::BufferOp logits);
  mlir::LogicalResult lower(lm::ReturnOp op);

  //===--- The rest ------------------------------------------------------------------===//

  mlir::LogicalResult lower(lm::LayerNormOp op);
  mlir::LogicalResult lower(lm::SplitOp op);
  mlir::LogicalResult lower(lm::GluOp op);
  mlir::LogicalResult lower(lm::GateOp op);
  /// A phase `name` that makes act(gate) * up, which is `op`'s result.
  mlir::LogicalResult lowerGlu(mlir::Operation *op, const std::string &name, mlir::Value gate,
                               mlir::Value up, Activation activation);
  mlir::LogicalResult lower(lm::ResidualOp op);

  //===--- Attention -----------------------------------------------------------------===//

  /// What stands between a projection and the attention: a norm of its heads, a rope, both or none.
  struct Heads {
    Columns source;
    lm::NormOp norm;
    lm::RopeOp rope;
    kernel::BufferOp gain;
    bool normLast = false; ///< the norm comes after the rope
  };
  /// The norm of single heads that makes `value`, deferred; null if it is no such norm.
  lm::NormOp headNorm(mlir::Value value, lm::AttentionOp attention);
  mlir::FailureOr<Heads> heads(mlir::Value value, lm::AttentionOp attention);
  mlir::LogicalResult lower(lm::AttentionOp op);
  /// f32 is what the model did not ask to have smaller; CUDA kernels compute in f16 in any case.
  mlir::Type cacheElement(CacheFormat format);
  /// What the CUDA kernels' attention cannot do.
  mlir::LogicalResult checkCuda(lm::AttentionOp op);
  /// The angles of keys, and of queries if those have others.
  struct Angles {
    kernel::BufferOp keys, queries;
  };
  mlir::FailureOr<Angles> anglesOf(lm::AttentionOp op, const Heads &q, const Heads &k);
  /// Decoding: rope, append and attention in one phase.
  void lowerAttend(lm::AttentionOp op, Heads &q, Heads &k, Columns v, Angles turned,
                   kernel::BufferOp cache, kernel::BufferOp sinks);
  void lowerAppend(lm::AttentionOp op, Heads &q, Heads &k, Columns v, Angles turned,
                   kernel::BufferOp cache);
  void lowerAttention(lm::AttentionOp op, Heads &q, kernel::BufferOp cache, kernel::BufferOp sinks);
};

} // namespace retort
