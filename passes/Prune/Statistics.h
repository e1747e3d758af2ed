//===- Statistics.h - Reading what a distill.observe found ----------------===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/Distill/DistillOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/StringMap.h"
#include <array>
#include <vector>

namespace retort {

/// A statistics file: JSON of format "retort-stats-1" (docs/ir.md). Parts that were not observed
/// are empty.
struct Statistics {
  struct Block {
    std::optional<double> influence; ///< 1 - cosine of the block's input and output
    std::vector<double> ffn;         ///< importance of each channel
    std::vector<double> heads;       ///< importance of each key/value group
  };
  int64_t tokens = 0;                         ///< tokens that were run
  std::vector<int64_t> counts;                ///< occurrences of each token id
  std::vector<std::array<int32_t, 3>> merges; ///< left, right, result; most preferred first
  std::vector<int32_t> keep;                  ///< ids that stay in any case
  llvm::StringMap<Block> blocks;              ///< by label
};

/// Reads the statistics file at `path`, or, if it is empty, the result of the module's last
/// finished distill.observe of `wanted`. `pass` begins each diagnostic; a failure has emitted one.
mlir::FailureOr<Statistics> readStatistics(mlir::ModuleOp module, llvm::StringRef pass,
                                           llvm::StringRef path, distill::Statistic wanted);

/// What a block's statistics say of its `count` channels or groups, called `what` in diagnostics;
/// fails with a diagnostic at `op` if they are absent, of another number, or not all at least 0.
mlir::FailureOr<std::vector<double>> importances(mlir::Operation *op, const Statistics &statistics,
                                                 llvm::StringRef pass, llvm::StringRef label,
                                                 distill::Statistic what, int64_t count);

} // namespace retort
