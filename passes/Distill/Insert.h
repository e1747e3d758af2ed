//===- Insert.h - What passes that insert work share ----------------------===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/Distill/DistillOps.h"
#include "mlir/IR/BuiltinOps.h"

namespace retort {

/// `name`, or `name_2`, `name_3`, ... : the first that no symbol of the module has.
std::string uniqueSymbol(mlir::ModuleOp module, llvm::StringRef name);

/// Inserts a distill.score of `model`, named `name` or as uniqueSymbol makes it; `tokens` 0: all.
distill::ScoreOp insertScore(mlir::OpBuilder &builder, lm::ModelOp model, llvm::StringRef name,
                             int64_t tokens);

} // namespace retort
