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
constexpr TensorName kNormsAfter[] = {
    {"post_attention_norm", "post_attention_layernorm"},
    {"post_ffw_norm", "post_feedforward_layernorm"},
};
constexpr TensorName kGlm4Norms[] = {
    {"post_attention_norm", "post_self_attn_layernorm"},
    {"post_ffw_norm", "post_mlp_layernorm"},
};
constexpr TensorName kSeedOssNorms[] = {
    {"ffn_norm", "post_attention_layernorm", "post_attention_norm"},
};

constexpr TensorName kHunyuanNorms[] = {
    {"attn_q_norm", "self_attn.query_layernorm"},
    {"attn_k_norm", "self_attn.key_layernorm"},
};

/// What the versions of Gemma have in common.
constexpr Family gemma(Family row) {
  row.normOffset = true;
  row.activation = Activation::GeluTanh;
  row.scaledEmbedding = row.tiedEmbeddings = true;
  row.qkvBiasKey = row.outputBiasKey = "attention_bias";
  return row;
}

/// What Gemma 2 and 3 add.
constexpr Family laterGemma(Family row) {
  row = gemma(row);
  row.tensorNames = kSandwichNorms;
  row.windows = Windows::Pattern;
  row.queryScale = 256;
  row.norms = BlockNorms::Around;
  row.activationKey = "hidden_activation";
  row.logitSoftCapKey = true;
  return row;
}

/// What the forms of Gemma 4 have in common.
constexpr Family gemma4(Family row) {
  row.defaults.vocab = 262144;
  row.defaults.heads = 8;
  row.defaults.kvHeads = 4;
  row.defaults.headDim = 256;
  row.defaults.wideHeadDim = 512;
  row.defaults.ropeBase = 1e6;
  row.tensorNames = kSandwichNorms;
  row.windows = Windows::Pattern;
  row.windowPattern = 6;
  row.lastIsWide = true;
  row.localRope = true;
  row.ggufLocalRopeBase = 10000;
  row.qkNorms = QueryKeyNorms::Heads;
  row.valueNorms = row.wideHeads = row.layerScales = true;
  row.attentionScale = 1;
  row.norms = BlockNorms::Around;
  row.activation = Activation::GeluTanh;
  row.activationKey = "hidden_activation";
  row.scaledEmbedding = row.tiedEmbeddings = true;
  row.logitSoftCapKey = true;
  row.qkvBiasKey = row.outputBiasKey = "attention_bias";
  return row;
}

/// What versions of Granite have in common.
constexpr Family granite(Family row) {
  row.interleavedRows = true;
  row.multipliers = true;
  row.qkvBiasKey = row.outputBiasKey = "attention_bias";
  row.ffnBiasKey = "mlp_bias";
  return row;
}

/// What the versions of OLMo have in common.
constexpr Family olmo(Family row) {
  row.defaults.context = 2048;
  row.defaults.normEps = 1e-5;
  row.tensorNames = kNormsAfter;
  row.norms = BlockNorms::After;
  row.qkNorms = QueryKeyNorms::Rows;
  row.qkvBiasKey = row.outputBiasKey = "attention_bias";
  return row;
}

constexpr Family kFamilies[] = {
    {.name = "llama",
     .architecture = "llama",
     .defaults = {.context = 2048},
     .interleavedRows = true,
     .qkvBiasKey = "attention_bias",
     .outputBiasKey = "attention_bias",
     .ffnBiasKey = "mlp_bias"},
    {.name = "mistral",
     .architecture = "llama",
     .defaults = {.context = 131072, .kvHeads = 8},
     .windows = Windows::Every,
     .interleavedRows = true},
    {.name = "ministral3",
     .architecture = "mistral3",
     .defaults = {.vocab = 131072,
                  .context = 262144,
                  .heads = 32,
                  .kvHeads = 8,
                  .headDim = 128,
                  .window = 0,
                  .normEps = 1e-5},
     .windows = Windows::Every,
     .lengthScale = true,
     .interleavedRows = true},
    {.name = "hunyuan_v1_dense",
     .architecture = "hunyuan-dense",
     .defaults = {.vocab = 290943, .context = 2048, .normEps = 1e-5},
     .tensorNames = kHunyuanNorms,
     .qkNorms = QueryKeyNorms::Heads,
     .rotatesBeforeNorms = true,
     .ropeAlpha = true,
     .qkvBiasKey = "attention_bias",
     .outputBiasKey = "attention_bias"},
    {.name = "qwen2",
     .architecture = "qwen2",
     .defaults = {.context = 32768},
     .windows = Windows::FromLayer,
     .qkvBias = true},
    {.name = "qwen3",
     .architecture = "qwen3",
     .defaults = {.context = 32768, .headDim = 128},
     .windows = Windows::FromLayer,
     .qkNorms = QueryKeyNorms::Heads,
     .qkvBiasKey = "attention_bias",
     .outputBiasKey = "attention_bias"},
    gemma(
        {.name = "gemma",
         .architecture = "gemma",
         .defaults = {.vocab = 256000, .context = 8192, .heads = 16, .kvHeads = 16, .headDim = 256},
         .geluIsTanh = true}),
    laterGemma(
        {.name = "gemma2",
         .architecture = "gemma2",
         .defaults = {.vocab = 256000, .context = 8192, .heads = 8, .kvHeads = 4, .headDim = 256},
         .windowPattern = 2,
         .ggufWindow = 4096,
         .ggufWideLayers = 46,
         .attentionSoftCapKey = true,
         .attentionSoftCap = 50,
         .logitSoftCap = 30}),
    laterGemma({.name = "gemma3",
                .architecture = "gemma3",
                .textModelType = "gemma3_text",
                .defaults = {.vocab = 262208,
                             .context = 131072,
                             .heads = 8,
                             .kvHeads = 4,
                             .headDim = 256,
                             .ropeBase = 1e6},
                .windowPattern = 6,
                .windowPatternKey = true,
                .localRope = true,
                .ggufLocalRopeBase = 10000,
                .qkNorms = QueryKeyNorms::Heads,
                .ggufWideLayers = 62}),
    gemma4({.name = "gemma4",
            .architecture = "gemma4",
            .textModelType = "gemma4_text",
            .defaults = {.context = 131072, .perLayerInputs = 256, .window = 512}}),
    gemma4({.name = "gemma4_unified",
            .architecture = "gemma4",
            .textModelType = "gemma4_unified_text",
            .defaults = {.context = 262144, .window = 1024}}),
    {.name = "stablelm",
     .architecture = "stablelm",
     .defaults = {.vocab = 50304, .context = 4096, .normEps = 1e-5, .rotated = 0.25},
     .layerNorms = true,
     .layerNormBias = true,
     .qkvBiasKey = "use_qkv_bias"},
    {.name = "phi3",
     .architecture = "phi3",
     .defaults = {.context = 4096, .window = 0, .normEps = 1e-5},
     .windows = Windows::Every},
    {.name = "smollm3",
     .architecture = "smollm3",
     .defaults = {.vocab = 128256,
                  .context = 32768,
                  .heads = 16,
                  .kvHeads = 4,
                  .window = 0,
                  .ropeBase = 2e6},
     .windows = Windows::FromLayer,
     .rotation = Rotation::Listed,
     .interleavedRows = true,
     .tiedEmbeddings = true,
     .qkvBiasKey = "attention_bias",
     .outputBiasKey = "attention_bias",
     .ffnBiasKey = "mlp_bias"},
    granite({.name = "granite",
             .architecture = "granite",
             .defaults = {.vocab = 32000, .context = 2048}}),
    granite({.name = "granite_swa",
             .architecture = "granite_swa",
             .defaults = {.vocab = 100352,
                          .context = 8192,
                          .heads = 20,
                          .kvHeads = 4,
                          .window = 128,
                          .normEps = 1e-5},
             .windows = Windows::Pattern,
             .windowPattern = 4,
             .wideLayers = WideLayers::First,
             .rotation = Rotation::ByBase,
             .layerBases = true,
             .sinks = true,
             .tiedEmbeddings = true}),
    {.name = "muse_glimmer",
     .architecture = "muse-glimmer",
     .textModelType = "muse_glimmer_text",
     .defaults = {.vocab = 202048,
                  .context = 131072,
                  .heads = 32,
                  .kvHeads = 2,
                  .headDim = 128,
                  .window = 2048,
                  .normEps = 1e-5},
     .tensorNames = kSandwichNorms,
     .windows = Windows::Pattern,
     .windowPattern = 4,
     .wideLayers = WideLayers::FromEnd,
     .rotation = Rotation::ByBase,
     .ggufRotatesInWindows = true,
     .qkNorms = QueryKeyNorms::Heads,
     .queryFactor = 3.87,
     .outputGate = true,
     .interleavedRows = true,
     .normOffset = true,
     .norms = BlockNorms::Around,
     .plainLastNorm = true,
     .embeddingNorm = true,
     .postNormEps = 1e-8,
     .activationKey = "hidden_activation",
     .logitSoftCapKey = true,
     .logitSoftCap = 20,
     .logitScale = 0.19611613513818404,
     .logitScaleKey = "output_multiplier",
     .qkvBiasKey = "attention_bias",
     .outputBiasKey = "attention_bias"},
    olmo({.name = "olmo3",
          .architecture = "olmo2",
          .defaults = {.ropeBase = 500000, .localRopeBase = 500000},
          .windows = Windows::Pattern,
          .windowPattern = 4,
          .localRope = true}),
    olmo({.name = "olmo2", .architecture = "olmo2"}),
    {.name = "glm4",
     .architecture = "glm4",
     .defaults = {.vocab = 151552,
                  .context = 131072,
                  .heads = 32,
                  .kvHeads = 2,
                  .headDim = 128,
                  .normEps = 1.5625e-7,
                  .rotated = 0.5},
     .tensorNames = kGlm4Norms,
     .interleavedRows = true,
     .interleavedHuggingFace = true,
     .norms = BlockNorms::Around,
     .qkvBias = true,
     .qkvBiasKey = "attention_bias"},
    {.name = "ernie4_5",
     .architecture = "ernie4_5",
     .defaults = {.vocab = 103424,
                  .context = 131072,
                  .heads = 16,
                  .kvHeads = 2,
                  .headDim = 128,
                  .normEps = 1e-5,
                  .ropeBase = 500000},
     .interleavedRows = true,
     .interleavedHuggingFace = true,
     .tiedEmbeddings = true,
     .qkvBiasKey = "use_bias",
     .outputBiasKey = "use_bias",
     .ffnBiasKey = "use_bias"},
    {.name = "seed_oss",
     .architecture = "seed_oss",
     .defaults = {.vocab = 155136, .context = 524288, .heads = 80, .kvHeads = 8, .headDim = 128},
     .tensorNames = kSeedOssNorms,
     .qkvBias = true,
     .qkvBiasKey = "attention_bias",
     .outputBiasKey = "attention_out_bias",
     .ffnBiasKey = "mlp_bias"},
    {.name = "exaone4",
     .architecture = "exaone4",
     .defaults = {.vocab = 102400, .context = 2048, .heads = 32, .kvHeads = 32, .normEps = 1e-5},
     .tensorNames = kNormsAfter,
     .windows = Windows::Pattern,
     .windowPattern = 4,
     .windowPatternKey = true,
     .rotation = Rotation::InWindows,
     .qkNorms = QueryKeyNorms::Heads,
     .norms = BlockNorms::After},
    {.name = "cohere2",
     .architecture = "cohere2",
     .defaults = {.vocab = 256000, .context = 8192, .heads = 64, .normEps = 1e-5},
     .windows = Windows::Pattern,
     .windowPattern = 4,
     .windowPatternKey = true,
     .ggufWindow = 4096,
     .rotation = Rotation::InWindows,
     .interleavedRows = true,
     .interleavedHuggingFace = true,
     .norms = BlockNorms::Shared,
     .layerNorms = true,
     .tiedEmbeddings = true,
     .logitScale = 0.0625,
     .qkvBiasKey = "attention_bias",
     .outputBiasKey = "attention_bias"},
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
