//===- ConfigReaders.h - The two sources of a ModelConfig -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Checkpoint/Checkpoint.h"

namespace retort {

ModelConfig readGgufConfig(const Checkpoint &checkpoint);
/// From the text of a config.json; `path` is for messages.
ModelConfig readHuggingFaceConfig(const std::string &text, const std::string &path);

/// Compares every number with its range, and numbers with each other. `where` is the file, for
/// messages.
void checkModelConfig(const ModelConfig &config, const std::string &where);

} // namespace retort
