//===- TileOps.h - What tile ops say of themselves -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
// The types of TileOpInterface.
#pragma once
#include "kernels/cuda/shapes.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace retort::kernel {
class BufferOp;
class TileOpInterface;
struct PhaseCost;

/// How a tile op touches a buffer; `access` has the ways.
struct AccessEffect : mlir::SideEffects::Effect {
  using Effect::Effect;
  template <typename Way> using Base = Effect::Base<Way, AccessEffect>;
};
namespace access {
struct Read : AccessEffect::Base<Read> {};
struct Write : AccessEffect::Base<Write> {};
struct Update : AccessEffect::Base<Update> {};
struct Maximum : AccessEffect::Base<Maximum> {};
struct Send : AccessEffect::Base<Send> {};
struct Receive : AccessEffect::Base<Receive> {};
} // namespace access

/// An op touches a buffer.
struct Access {
  mlir::FlatSymbolRefAttr buffer;
  AccessEffect *way;
  bool own; ///< each tile touches its own part only

  template <typename... Ways> bool is() const { return llvm::isa<Ways...>(way); }
  bool writes() const { return !is<access::Read, access::Receive>(); }
  /// Whether it reads what was there before the op.
  bool reads() const { return !writes() || (own && is<access::Update>()); }
  /// Whether the two need an order: one writes what the other touches.
  bool conflicts(const Access &other) const;
  llvm::StringRef verb() const; ///< "reads", "sends to"
};

/// The tiles of a phase.
using cuda::TileSpace;

/// A program's buffers by name.
class Buffers {
public:
  explicit Buffers(const mlir::SymbolTable &symbols) : symbols(symbols) {}
  /// Null for no name.
  BufferOp operator[](mlir::FlatSymbolRefAttr name) const;
  /// Of a row; of a vector, its elements.
  int64_t columns(mlir::FlatSymbolRefAttr name) const;

private:
  const mlir::SymbolTable &symbols;
};

/// What an op does, part by part.
using Words = llvm::SmallVectorImpl<std::string>;

/// Verifies what is common to tile ops: the names, the accesses and the tile space.
mlir::LogicalResult verifyTileOp(TileOpInterface op, mlir::SymbolTableCollection &tables);
} // namespace retort::kernel
