//===- Passes.h - Passes that lower a model to a kernel program -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/Kernel/KernelOps.h"
#include "dialects/LM/LMOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace retort {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "passes/Lower/Passes.h.inc"
} // namespace retort
