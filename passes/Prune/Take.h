//===- Take.h - Pruning a parameter's rows or columns ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/LM/Units.h"
#include <vector>

namespace retort {

/// Fails, with a diagnostic that begins with `pass`, unless parts can be taken out of `unit`, called
/// `what` ("an attention"): nothing is fused, quantised or read by another op. Else the axes that go
/// with the parts.
mlir::FailureOr<llvm::SmallVector<lm::UnitAxis>> prunableAxes(const lm::Unit &unit,
                                                              const lm::ParamReaders &readers,
                                                              llvm::StringRef pass,
                                                              llvm::StringRef what);

/// Fails, with a diagnostic that begins with `pass` and names the op, if a block with these units
/// has a matrix that belongs to none of them: the pass would skip it in silence.
mlir::LogicalResult refuseStrays(const lm::Units &units, llvm::StringRef pass);

/// Keeps these parts of the unit, in this order, and drops the others.
void keepParts(const lm::Unit &unit, llvm::ArrayRef<lm::UnitAxis> axes,
               llvm::ArrayRef<int32_t> parts);

/// Makes the parameter's program take these rows or columns, in this order, at its end.
void takeParam(lm::ParamOp param, weight::Axis axis, llvm::ArrayRef<int32_t> indices);

/// The indices of the `count` greatest importances, ascending; of equal ones the first.
std::vector<int32_t> mostImportant(llvm::ArrayRef<double> importance, int64_t count);

} // namespace retort
