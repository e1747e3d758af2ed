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
  int64_t wideHeadDim = 0;    ///< of layers without a window; 0: as the others
  int64_t perLayerInputs = 0; ///< features of embeddings that each layer reads
  int64_t window = 4096;
  double normEps = 1e-6, ropeBase = 10000;
  double localRopeBase = 10000; ///< of layers with a window; 0: as the others
  double rotated = 1;           ///< share of a head's features that rope turns
};

/// Which layers attend to a window of the latest rows.
enum class Windows {
  None,
  Every,     ///< every layer, if the checkpoint names a window
  FromLayer, ///< those from "max_window_layers" on, if "use_sliding_window" says so
  Pattern    ///< all but every `windowPattern`th
};

/// Which layers rotate query and key.
enum class Rotation {
  Every,
  InWindows, ///< those with a window; every one of a model without windows
  Listed,    ///< those that "no_rope_layers" has a 1 for; without the key all but every 4th
  ByBase     ///< those whose number in "layer_rope_theta" is not 0
};

/// Which layers of a window pattern of n have no window.
enum class WideLayers {
  Last,   ///< n - 1, 2n - 1, ...
  First,  ///< 0, n, ...
  FromEnd ///< the model's last, and each nth before it
};

/// Where a block has norms.
enum class BlockNorms {
  Before, ///< of what attention and FFN read
  Around, ///< and of what they give
  After,  ///< only of what they give
  Shared  ///< one, that attention and FFN both read: they stand side by side
};

/// What the norms of query and key run over.
enum class QueryKeyNorms { None, Heads, Rows };

/// A parameter's name within a block, and its name within a layer of a Hugging Face checkpoint, and
/// of GGUF where that is another.
struct TensorName {
  std::string_view parameter, huggingFace, gguf = "";
  bool isBare = false; ///< Hugging Face's has no ".weight" at its end
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
  WideLayers wideLayers = WideLayers::Last;
  bool windowPatternKey = false; ///< config.json may have another in "sliding_window_pattern"
  bool lastIsWide = false;       ///< the last layer has no window, whatever config.json says
  int64_t ggufWindow = 0;        ///< window of GGUF files without the key; 0: none
  bool localRope = false;        ///< layers with a window rotate by a base of their own
  int64_t ggufLocalRopeBase = 0; ///< FamilyDefaults::localRopeBase of GGUF files
  Rotation rotation = Rotation::Every;
  bool layerBases = false; ///< Rotation::ByBase: a layer's number is its rotary base
  bool ggufRotatesInWindows =
      false; ///< Rotation::ByBase: GGUF files do not say which layers rotate
  QueryKeyNorms qkNorms = QueryKeyNorms::None; ///< before rope, unless the next says otherwise
  bool rotatesBeforeNorms = false;
  /// Norms of heads have no gains; 0: they have. Else the default of "qk_scale_factor", which
  /// multiplies queries. GGUF files have gains that say so.
  double queryFactor = 0;
  bool lengthScale = false; ///< queries grow with their position, by "llama_4_scaling_beta"
  /// Reads "alpha" of rope scaling "dynamic": the base grows by it once and for all.
  bool ropeAlpha = false;
  bool valueNorms = false; ///< value heads are normed, without gains
  /// Layers without a window may have heads of another size and number, and the keys' projection
  /// for values as well.
  bool wideHeads = false;
  bool sinks = false;      ///< each query head has an attention sink
  bool outputGate = false; ///< a sigmoid of a projection lets attention's output through
  /// Default of "query_pre_attn_scalar", whose root divides scores; 0: the head size's root does.
  double queryScale = 0;
  double attentionScale = 0; ///< multiplies scores whatever a file says; 0: as it says
  /// The number of layers of the model whose scale is by hidden / heads in GGUF files that do not
  /// say. (llama.cpp knows Gemma's 27B models by it.)
  size_t ggufWideLayers = 0;
  /// GGUF files have the rows of query and key with each rotated pair side by side.
  bool interleavedRows = false;
  bool interleavedHuggingFace = false; ///< so have config.json's checkpoints

  // Norms, activation, embedding, logits.
  bool normOffset = false; ///< Hugging Face checkpoints store gains as w, meaning 1 + w
  BlockNorms norms = BlockNorms::Before;
  bool layerScales = false;   ///< each layer multiplies the stream by a number that it has
  bool plainLastNorm = false; ///< the last norm's gain is stored as it is, whatever `normOffset`
  bool embeddingNorm = false; ///< rows of the embedding are normed, without gain
  double postNormEps = 0;     ///< default of "post_norm_eps", of norms of what attention and FFN
                              ///< give; 0: as of the others
  bool layerNorms = false;    ///< norms take the mean away
  bool layerNormBias = false; ///< and have a bias
  Activation activation = Activation::Silu;
  const char *activationKey = "hidden_act";
  bool geluIsTanh = false;                       ///< "gelu" stands for its approximation by tanh
  bool scaledEmbedding = false;                  ///< by the root of the hidden size
  bool tiedEmbeddings = false;                   ///< default of "tie_word_embeddings"
  bool attentionSoftCapKey = false;              ///< reads the key of the attention's cap
  bool logitSoftCapKey = false;                  ///< reads the key of the logits' cap
  double attentionSoftCap = 0, logitSoftCap = 0; ///< their defaults; 0: none
  /// Reads multipliers of embedding, attention scores and residuals, and a divisor of logits.
  bool multipliers = false;
  double logitScale = 0; ///< default of the next, which multiplies logits; 0: there is none
  const char *logitScaleKey = "logit_scale";

  // Biases, and the keys that say whether they are there; null: always as the field before says.
  bool qkvBias = false;
  const char *qkvBiasKey = nullptr, *outputBiasKey = nullptr, *ffnBiasKey = nullptr;

  bool isWithinMultimodal() const { return !textModelType.empty(); }
};

/// The family of a config.json's "model_type", or of a GGUF file's "general.architecture"; null if
/// it is not known.
const Family *familyOfModelType(std::string_view modelType);
const Family *familyOfArchitecture(std::string_view architecture);

/// "llama, mistral or qwen2": all families, for messages.
std::string familyList();

} // namespace retort
