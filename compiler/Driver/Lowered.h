//===- Lowered.h - A model lowered for each target -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Codegen/Targets.h"
#include "compiler/Driver/Pipeline.h"
#include "dialects/Kernel/KernelOps.h"
#include <string>
#include <vector>

namespace retort {

/// A model on its own, lowered for one target.
struct LoweredTarget {
  std::string name; ///< "cpu", "cuda", or "cuda0" and "cuda1" of a model cut over two GPUs
  mlir::OwningOpRef<mlir::ModuleOp> module;
  lm::ModelOp model;                       ///< the source of the programs' parameters
  std::vector<kernel::ProgramOp> programs; ///< a CPU has one, CUDA decode and prefill
};

/// A model lowered for each target of a compile. A target has a copy of the model, since a
/// parameter is packed for one.
struct LoweredModel {
  std::vector<LoweredTarget> targets; ///< the CPU first
  uint64_t weightBytes = 0;           ///< of all targets
  uint64_t bytesPerToken = 0;         ///< of the first target, on all its devices

  lm::ModelOp model() { return targets.front().model; }
  /// What program.mlir holds: the module, or one with a named module a target.
  std::string text();
};

/// Clones `model` for each target, and for each of `devices` GPUs, and lowers it. Throws Error
/// (Usage) with a pass's diagnostic.
LoweredModel lowerModel(CompilerContext &context, lm::ModelOp model, const CompileTargets &targets,
                        unsigned devices = 1);

/// The pipeline that lowerModel runs after every recipe, for a LoweredTarget's name.
std::string loweringPipeline(const std::string &target);

} // namespace retort
