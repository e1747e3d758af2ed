//===- Insert.h - What passes that insert work share ----------------------===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/Distill/DistillOps.h"
#include "mlir/IR/BuiltinOps.h"

namespace retort {

/// `name`, or `name_2`, `name_3`, ... : the first that no symbol of the module has.
std::string uniqueSymbol(mlir::ModuleOp module, llvm::StringRef name);

} // namespace retort
