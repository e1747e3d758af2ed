//===- Config.h - Reading what a checkpoint says of its model ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Checkpoint/Checkpoint.h"
#include "compiler/Import/ModelConfig.h"

namespace retort {

/// What the checkpoint says of its model, checked: ranges, and that the family is known. Throws
/// Error: BadInput (the key and its value), Unsupported (architecture, rope scaling, activation,
/// ... by name).
ModelConfig readModelConfig(const Checkpoint &checkpoint);

// The parts of readModelConfig.

ModelConfig readGgufConfig(const Checkpoint &checkpoint);
/// From the text of a config.json; `path` is for messages.
ModelConfig readHuggingFaceConfig(const std::string &text, const std::string &path);

/// Compares every number with its range, and numbers with each other. `where` is the file, for
/// messages.
void checkModelConfig(const ModelConfig &config, const std::string &where);

} // namespace retort
