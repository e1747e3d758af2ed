//===- Take.h - Pruning a parameter's rows or columns ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/LM/LMOps.h"
#include <vector>

namespace retort {

/// The parameter that `user` calls `name`, if it may be pruned for `user` alone: not quantised and
/// read by no other op. Emits an error that begins with `pass` where it may not.
mlir::FailureOr<lm::ParamOp> prunableParam(mlir::Operation *user, llvm::StringRef name,
                                           llvm::StringRef pass);

/// Makes the parameter's program take these rows or columns, in this order, at its end.
void takeParam(lm::ParamOp param, weight::Axis axis, llvm::ArrayRef<int32_t> indices);

/// The indices of the `count` greatest importances, ascending; of equal ones the first.
std::vector<int32_t> mostImportant(llvm::ArrayRef<double> importance, int64_t count);

/// Gives rows of activations another number of features.
inline void setFeatures(mlir::Value rows, int64_t features) {
  rows.setType(lm::rowsType(rows.getContext(), features));
}

} // namespace retort
