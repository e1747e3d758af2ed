//===- Layers.h - What a specialist's layers are, beside its teacher's -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Report/Report.h"
#include "dialects/LM/LMOps.h"

namespace retort {

/// The blocks of `teacher` and `model`, and their parameters outside of blocks, side by side by name.
/// `model` is rounded, but not fused. What belongs to no attention and no gated unit, as norms of a
/// block do, counts to `other`. `teacher` may be null.
std::vector<LayerRow> layersOf(lm::ModelOp model, lm::ModelOp teacher);

} // namespace retort
