//===- Matrices.h - The matrices of a model -------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/LM/LMOps.h"
#include <vector>

namespace retort {

/// A parameter that ops multiply by or look rows up in.
struct Matrix {
  enum class Kind {
    Layer,     ///< of a product
    Embedding, ///< tokens are looked up in it, whatever else reads it
    Logits,    ///< multiplied by, a row a token
  };
  lm::ParamOp param;
  Kind kind;
};

/// The formats that a model's matrices are rounded to, but for those that say so themselves; those that
/// are null are as the one before.
struct MatrixFormats {
  weight::FormatAttr layers, embedding, logits;

  weight::FormatAttr of(Matrix matrix) const {
    if (weight::FormatAttr own = matrix.param.getRoundsToAttr())
      return own;
    if (matrix.kind == Matrix::Kind::Logits && logits)
      return logits;
    return matrix.kind != Matrix::Kind::Layer && embedding ? embedding : layers;
  }
};

/// The model's matrices in the order of its parameters, each once. Fails, with a diagnostic that
/// begins with `pass`, at an op that does not say what it does with a matrix.
mlir::FailureOr<std::vector<Matrix>> matricesOf(lm::ModelOp model, llvm::StringRef pass);

} // namespace retort
