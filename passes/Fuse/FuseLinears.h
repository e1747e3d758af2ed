//===- FuseLinears.h - Make one linear layer of several --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/LM/LMOps.h"

namespace retort {

/// Replaces linear layers that read the same rows by one whose matrix is called `name` (the bias:
/// `name` with `.bias` for `.weight`) and an lm.split into their results, in order. Fails, with
/// nothing changed, if they read different rows, differ in bias, element type or format, or share
/// a parameter with another op of the model.
mlir::LogicalResult fuseLinears(mlir::ArrayRef<lm::LinearOp> linears, llvm::StringRef name);

/// `name` with the last `from` in it replaced by `to`: "blk.0.attn_q.weight" ->
/// "blk.0.attn_qkv.weight". Empty if `from` is not in it.
std::string renamed(llvm::StringRef name, llvm::StringRef from, llvm::StringRef to);

} // namespace retort
