//===- Statistics.h - Reading what a distill.observe found ----------------===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/Distill/DistillOps.h"
#include "mlir/IR/BuiltinOps.h"

namespace retort {

/// Reads the statistics file at `path`, or, if it is empty, the result of the module's last
/// finished distill.observe of `wanted`. `pass` begins each diagnostic; a failure has emitted one.
mlir::FailureOr<Statistics> readStatistics(mlir::ModuleOp module, llvm::StringRef pass,
                                           llvm::StringRef path, distill::Statistic wanted);

/// What the statistics say of a block's `count` channels or groups, or of the block itself (1);
/// fails with a diagnostic at `op` if they are absent, of another number, or not all at least 0.
mlir::FailureOr<std::vector<double>> importances(mlir::Operation *op, const Statistics &statistics,
                                                 llvm::StringRef pass, llvm::StringRef label,
                                                 distill::Statistic what, int64_t count);

} // namespace retort
