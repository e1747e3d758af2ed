//===- Matrices.h - The matrices of a model -------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/LM/LMOps.h"
#include <vector>

namespace retort {

/// A parameter that ops multiply by or look rows up in.
struct Matrix {
  lm::ParamOp param;
  bool isTable; ///< it has a row a token: the embedding's and the logits'
};

/// The model's matrices in the order of its parameters, each once. Fails, with a diagnostic that
/// begins with `pass`, at an op that does not say what it does with a matrix.
mlir::FailureOr<std::vector<Matrix>> matricesOf(lm::ModelOp model, llvm::StringRef pass);

} // namespace retort
