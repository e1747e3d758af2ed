//===- Explain.h - What was chosen for each layer, and why -----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Driver/Workspace.h"
#include "dialects/LM/LMOps.h"
#include "mlir/IR/BuiltinOps.h"
#include <string>

namespace retort {

/// `--explain`: a table of what passes chose for the layers of `model` by measured costs. For each group
/// of matrices that a distill.probe of the module rounded: its format, its bytes, what rounding it costs
/// at the output, and what the next cheaper and the next dearer format would have saved and cost; for
/// each gated unit that prune-ffn cut, the channels kept and what the stream loses; then the sums, and
/// the divergence that was measured if a distill.score compared the model. `model` is rounded, but not
/// fused; `workspace` has the results that the module's ops name. A line that says so where nothing
/// was chosen by costs.
std::string explain(mlir::ModuleOp module, lm::ModelOp model, const Workspace &workspace);

} // namespace retort
