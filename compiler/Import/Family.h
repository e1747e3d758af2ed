//===- Family.h - The families of models that Retort imports ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Import/ModelConfig.h"
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace retort {

/// What a key means that a file leaves out. 0: the file must have the key, or its value follows
/// from others (as many key/value heads as heads, a head size of hidden / heads).
struct FamilyDefaults {
  int64_t vocab = 0, context = 0;
  int64_t heads = 0, kvHeads = 0, headDim = 0;
  int64_t window = 4096;
  double normEps = 1e-6, ropeBase = 10000;
  double rotated = 1; ///< share of a head's features that rope turns
};

/// Which layers attend to a window of the latest rows.
enum class Windows {
  None,
  Every,     ///< every layer, if the checkpoint names a window
  FromLayer, ///< those from "max_window_layers" on, if "use_sliding_window" says so
  Pattern    ///< all but every `windowPattern`th
};

/// A parameter's name within a block, and its name within a layer of a Hugging Face checkpoint.
struct TensorName {
  std::string_view parameter, huggingFace;
};

/// How one family differs from a plain decoder: RMS norms before attention and before a gated FFN,
/// rope on all features of a head, grouped-query attention. docs/extending-family.md says how to add
/// one. Nothing after import depends on it.
struct Family {
  std::string_view name; ///< lm.model's family, and "model_type" of config.json
  /// "general.architecture" of GGUF; where several rows have it, the first is read.
  std::string_view architecture;
  /// "model_type" of the text model alone, where `name` is that of models of text and images, which
  /// have the text model's keys under "text_config" and its tensors under a prefix.
  std::string_view textModelType = "";
  FamilyDefaults defaults = {}; ///< transformers', for keys that config.json leaves out
  /// Names that differ from the common ones of TensorNames.cpp.
  std::span<const TensorName> tensorNames = {};

  // Attention.
  Windows windows = Windows::None;
  int64_t windowPattern = 0;
  int64_t ggufWindow = 0; ///< window of GGUF files without the key; 0: none
  bool localRope = false; ///< layers with a window rotate by a base of their own
  bool qkNorm = false;    ///< query and key heads are normalised before rope
  /// Default of "query_pre_attn_scalar", whose root divides scores; 0: the head size's root does.
  double queryScale = 0;
  /// The number of layers of the model whose scale is by hidden / heads in GGUF files that do not
  /// say. (llama.cpp knows Gemma's 27B models by it.)
  size_t ggufWideLayers = 0;
  /// GGUF files have the rows of query and key with each rotated pair side by side.
  bool interleavedRows = false;

  // Norms, activation, embedding, logits.
  bool normOffset = false; ///< Hugging Face checkpoints store gains as w, meaning 1 + w
  bool postNorms = false;  ///< outputs of attention and FFN are normalised
  bool layerNorms = false; ///< norms take the mean away and have a bias
  Activation activation = Activation::Silu;
  const char *activationKey = "hidden_act";
  bool scaledEmbedding = false;                  ///< by the root of the hidden size
  bool tiedEmbeddings = false;                   ///< default of "tie_word_embeddings"
  bool softCaps = false;                         ///< reads the keys of both caps
  double attentionSoftCap = 0, logitSoftCap = 0; ///< their defaults; 0: none

  // Biases.
  bool qkvBias = false;          ///< query, key and value always have one
  bool qkvBiasKey = false;       ///< reads "use_qkv_bias"
  bool attentionBiasKey = false; ///< reads "attention_bias"
  bool ffnBiasKey = false;       ///< reads "mlp_bias"

  bool isWithinMultimodal() const { return !textModelType.empty(); }
};

/// The family of a config.json's "model_type", or of a GGUF file's "general.architecture"; null if
/// it is not known.
const Family *familyOfModelType(std::string_view modelType);
const Family *familyOfArchitecture(std::string_view architecture);

/// "llama, mistral or qwen2": all families, for messages.
std::string familyList();

} // namespace retort
