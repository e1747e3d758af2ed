//===- Passes.h - Passes that put work on data into a module ---------------===//
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
#include "passes/Distill/Passes.h.inc"
} // namespace retort
