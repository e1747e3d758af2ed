//===- ConfigReaders.h - The two sources of a ModelConfig -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Import/Checkpoint.h"

namespace retort {

ModelConfig readGgufConfig(const Checkpoint &checkpoint);
ModelConfig readHuggingFaceConfig(const Checkpoint &checkpoint);

/// Compares every number with its range, and numbers with each other. `where` is the file, for
/// messages.
void checkModelConfig(const ModelConfig &config, const std::string &where);

} // namespace retort
