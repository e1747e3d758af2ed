//===- Passes.h - Passes that choose number formats for weights ------------===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/Distill/DistillOps.h"
#include "dialects/LM/LMOps.h"
#include "dialects/Weight/WeightOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"
#include "passes/NamedOption.h"

namespace retort {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/Quantize/Passes.h.inc"
} // namespace retort
