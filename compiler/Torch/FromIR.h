//===- FromIR.h - lm.model -> Graph -------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Torch/Graph.h"
#include "dialects/LM/LMOps.h"

namespace retort::exec {

/// The model as plain data. Params are those that the computation reads, in the model's order, so
/// graph.params[i].name is the symbol of the lm.param that makes it. Throws Error (Unsupported)
/// that names the op if the executor does not run it.
Graph graphFromModel(lm::ModelOp model);

} // namespace retort::exec
