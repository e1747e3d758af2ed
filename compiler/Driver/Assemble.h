//===- Assemble.h - From a final model to a bundle ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Codegen/CudaEmitter.h"
#include "compiler/Driver/Lowered.h"
#include "compiler/Report/Report.h"
#include "runtime/src/engine/Manifest.h"

namespace retort {

/// What of a bundle is not the model itself.
struct BundleInfo {
  std::string name;
  engine::Manifest::Provenance provenance;
  Report *report = nullptr; ///< its parameters are filled in here
  lm::ModelOp teacher;      ///< the shapes that the report compares with; may be null
};

/// Emits code, makes every parameter and writes the bundle. Memory holds one piece of one parameter
/// at a time. Returns the bundle's bytes.
uint64_t writeBundle(const std::string &output, LoweredModel &lowered, Teacher &teacher,
                     const CompileTargets &targets, CudaForm form, const BundleInfo &info,
                     Progress &progress);

} // namespace retort
