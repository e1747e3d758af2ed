//===- Common.h - Attributes that hold named values -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "mlir/IR/OpImplementation.h"
#include "runtime/base/Names.h"
#include "llvm/ADT/Hashing.h"

namespace retort {

inline llvm::hash_code hash_value(const NumberFormat &format) {
  return llvm::hash_combine(format.kind, format.group, format.minima);
}
inline llvm::hash_code hash_value(const MatrixLayout &layout) {
  return llvm::hash_combine(layout.blocks, layout.gated);
}

/// Parses the name of a T, a keyword.
template <typename T> mlir::FailureOr<T> parseNamed(mlir::AsmParser &parser) {
  const llvm::SMLoc at = parser.getCurrentLocation();
  llvm::StringRef name;
  if (mlir::failed(parser.parseKeyword(&name)))
    return mlir::failure();
  if (std::optional<T> value = named<T>(name))
    return *value;
  parser.emitError(at) << "'" << name << "' is none of " << allNames<T>();
  return mlir::failure();
}

} // namespace retort
