//===- QuantizedFolder.h - Quantised Hugging Face checkpoints ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Checkpoint/Checkpoint.h"
#include <string>
#include <vector>

namespace retort {

/// Puts one matrix in the place of the tensors that a quantised matrix is kept in, and takes away what
/// only says how activations were quantised. Does nothing if config.json has no
/// "quantization_config". Which matrices are quantised the tensors say, so that lists of exceptions
/// need no reading. Throws Error: Unsupported (a method or a variant of it, by name), BadInput (a
/// tensor that is missing, or of a shape or type that does not fit, by name).
/// @param path  of the checkpoint, for messages
void joinQuantized(const std::string &configJson, const std::string &path,
                   std::vector<CheckpointTensor> &tensors);

} // namespace retort
