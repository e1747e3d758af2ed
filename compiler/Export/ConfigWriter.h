//===- ConfigWriter.h - A model's numbers as checkpoints say them -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Checkpoint/DType.h"
#include "compiler/Export/Structure.h"
#include "compiler/Tokenizer/Spec.h"
#include <string>

namespace retort {

class GgufWriter;

/// config.json of a model of the family, as transformers 4 and 5 read it, for weights of `type`. Throws
/// Error (Unsupported) for a family or a number that it cannot say.
std::string huggingFaceConfig(const ExportedModel &model, const TokenizerSpec &tokenizer,
                              DType type);

/// generation_config.json and tokenizer_config.json.
std::string generationConfig(const TokenizerSpec &tokenizer);
std::string tokenizerConfig(const TokenizerSpec &tokenizer, int64_t context);

/// The metadata of a GGUF file, the tokenizer's too. `name` is for people. Throws as before.
void addGgufMetadata(const ExportedModel &model, const TokenizerSpec &tokenizer,
                     const std::string &name, DType type, GgufWriter &writer);

/// Whether a GGUF file holds rope_freqs.weight: what frequencies are divided by.
bool hasRopeTable(const ExportedModel &model);

} // namespace retort
