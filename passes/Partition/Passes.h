//===- Passes.h - Passes that cut a model over devices ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/LM/LMOps.h"
#include "dialects/Weight/WeightOps.h"
#include "mlir/Pass/Pass.h"

namespace retort {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/Partition/Passes.h.inc"
} // namespace retort
