//===- Assemble.h - From a final model to a bundle ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Codegen/Codegen.h"
#include "compiler/Driver/Pipeline.h"
#include "compiler/Report/Report.h"
#include <nlohmann/json_fwd.hpp>

namespace retort {

/// A model on its own, lowered for a target: the module that program.mlir holds.
struct LoweredModel {
  mlir::OwningOpRef<mlir::ModuleOp> module;
  kernel::ProgramOp program;
  lm::ModelOp model; ///< the source of the program's parameters
  uint64_t weightBytes = 0, bytesPerToken = 0;
};

/// Clones `model` into a module of its own and lowers it. Throws Error (Unsupported) for a target
/// that this build has no code for.
LoweredModel lowerModel(CompilerContext &context, lm::ModelOp model, const std::string &target);

/// The pipeline that lowerModel runs after every recipe.
std::string loweringPipeline();

/// What of a bundle is not the model itself.
struct BundleInfo {
  std::string name;
  nlohmann::json *provenance = nullptr;
  Report *report = nullptr; ///< its parameters are filled in here
  lm::ModelOp teacher;      ///< the shapes that the report compares with; may be null
};

/// Emits code, makes every parameter and writes the bundle. Memory holds one piece of one parameter
/// at a time. Returns the bundle's bytes.
uint64_t writeBundle(const std::string &output, LoweredModel &lowered, Teacher &teacher,
                     const BundleInfo &info, Progress &progress);

} // namespace retort
