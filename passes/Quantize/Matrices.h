//===- Matrices.h - The matrices of a model -------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/LM/LMOps.h"
#include <vector>

namespace retort {

/// A parameter that a linear layer, the embedding or the logits multiply by or look up in.
struct Matrix {
  lm::ParamOp param;
  bool isTable; ///< read by the embedding or the logits
};

/// The model's matrices in the order of its parameters, each once.
std::vector<Matrix> matricesOf(lm::ModelOp model);

} // namespace retort
