//===- FuseLinears.h - Make one linear layer of several --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/LM/Units.h"

namespace retort {

/// Replaces the linear layers that make a unit's inputs by one whose matrix is called `name` in
/// their block (blk.0.attn_qkv.weight; a bias likewise) and an lm.split into their results, in
/// order. Fails, with nothing changed, if an input has no linear layer of its own, if they read
/// different rows, differ in bias, element type or format, or share a parameter with another op.
mlir::LogicalResult fuseInputs(const lm::Unit &unit, llvm::StringRef name);

} // namespace retort
