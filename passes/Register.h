//===- Register.h - All of Retort's dialects and passes -------------------===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "mlir/IR/DialectRegistry.h"

namespace retort {
/// Every dialect that Retort's IR may hold: lm, weight, distill, kernel.
void registerAllDialects(mlir::DialectRegistry &registry);
/// Every pass of Retort and MLIR's canonicalize, cse and symbol passes, by name, once a
/// process. Calling it again does nothing.
void registerAllPasses();
} // namespace retort
