//===- BundleManifest.h - What a bundle's manifest says --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Codegen/Codegen.h"
#include "compiler/Codegen/Cuda.h"
#include "compiler/Driver/Assemble.h"

namespace retort {

/// A target's code, and where its weights lie: a part a device.
struct CompiledTarget {
  struct Part {
    LoweredTarget *lowered;
    std::string name;
  };
  std::vector<Part> parts;
  std::optional<CompiledProgram> cpu;
  std::optional<CompiledCuda> cuda;
  const ModelLayout &layout(size_t part = 0) const { return cpu ? *cpu : cuda->layouts[part]; }
};

/// The manifest of a bundle of these targets, the first of which says what the model's sizes are.
engine::Manifest manifestOf(const std::vector<CompiledTarget> &targets, const BundleInfo &info);

} // namespace retort
