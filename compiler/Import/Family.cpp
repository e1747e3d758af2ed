//===- Family.cpp - The families of models that Retort imports ------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Sources: configuration_<family>.py and modeling_<family>.py of transformers; llama-model.cpp and
// convert_hf_to_gguf.py of llama.cpp.
//
//===----------------------------------------------------------------------===//
#include "compiler/Import/Family.h"
#include <algorithm>

namespace retort {
namespace {

/// The FFN's norm comes before the FFN as in Llama, but is named for that here: Llama's is named
/// for the attention that it follows.
constexpr TensorName kSandwichNorms[] = {
    {"ffn_norm", "pre_feedforward_layernorm"},
    {"post_attention_norm", "post_attention_layernorm"},
    {"post_ffw_norm", "post_feedforward_layernorm"},
};

/// What the versions of Gemma have in common.
constexpr Family gemma(Family row) {
  row.tensorNames = kSandwichNorms;
  row.windows = Windows::Pattern;
  row.queryScale = 256;
  row.normOffset = row.postNorms = true;
  row.activation = Activation::GeluTanh;
  row.activationKey = "hidden_activation";
  row.scaledEmbedding = row.tiedEmbeddings = true;
  row.softCaps = true;
  row.attentionBiasKey = true;
  return row;
}

constexpr Family kFamilies[] = {
    {.name = "llama",
     .architecture = "llama",
     .defaults = {.context = 2048},
     .interleavedRows = true,
     .attentionBiasKey = true,
     .ffnBiasKey = true},
    {.name = "mistral",
     .architecture = "llama",
     .defaults = {.context = 131072, .kvHeads = 8},
     .windows = Windows::Every,
     .interleavedRows = true},
    {.name = "qwen2",
     .architecture = "qwen2",
     .defaults = {.context = 32768},
     .windows = Windows::FromLayer,
     .qkvBias = true},
    {.name = "qwen3",
     .architecture = "qwen3",
     .defaults = {.context = 32768, .headDim = 128},
     .windows = Windows::FromLayer,
     .qkNorm = true,
     .attentionBiasKey = true},
    gemma({.name = "gemma2",
           .architecture = "gemma2",
           .defaults = {.vocab = 256000, .context = 8192, .heads = 8, .kvHeads = 4, .headDim = 256},
           .windowPattern = 2,
           .ggufWindow = 4096,
           .ggufWideLayers = 46,
           .attentionSoftCap = 50,
           .logitSoftCap = 30}),
    gemma({.name = "gemma3",
           .architecture = "gemma3",
           .textModelType = "gemma3_text",
           .defaults = {.vocab = 262208,
                        .context = 131072,
                        .heads = 8,
                        .kvHeads = 4,
                        .headDim = 256,
                        .ropeBase = 1e6},
           .windowPattern = 6,
           .localRope = true,
           .qkNorm = true,
           .ggufWideLayers = 62}),
    {.name = "stablelm",
     .architecture = "stablelm",
     .defaults = {.vocab = 50304, .context = 4096, .normEps = 1e-5, .rotated = 0.25},
     .layerNorms = true,
     .qkvBiasKey = true},
};

template <typename Predicate> const Family *find(Predicate predicate) {
  const Family *family = std::ranges::find_if(kFamilies, predicate);
  return family == std::end(kFamilies) ? nullptr : family;
}

} // namespace

const Family *familyOfModelType(std::string_view modelType) {
  return find([=](const Family &family) {
    return modelType == family.name ||
           (family.isWithinMultimodal() && modelType == family.textModelType);
  });
}

const Family *familyOfArchitecture(std::string_view architecture) {
  return find([=](const Family &family) { return architecture == family.architecture; });
}

std::string familyList() {
  std::string list;
  for (const Family &family : kFamilies) {
    if (&family != std::begin(kFamilies))
      list += &family == std::end(kFamilies) - 1 ? " or " : ", ";
    list += family.name;
    if (family.isWithinMultimodal())
      list += " (text)";
  }
  return list;
}

} // namespace retort
