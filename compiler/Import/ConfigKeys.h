//===- ConfigKeys.h - What numbers of a model are called --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace retort {

/// What a number is called in config.json, and in GGUF's metadata after "<architecture>.".
struct ConfigKey {
  const char *huggingFace, *gguf;
};

inline constexpr ConfigKey kHidden{"hidden_size", "embedding_length"};
inline constexpr ConfigKey kContext{"max_position_embeddings", "context_length"};
inline constexpr ConfigKey kLayers{"num_hidden_layers", "block_count"};
inline constexpr ConfigKey kHeads{"num_attention_heads", "attention.head_count"};
inline constexpr ConfigKey kKvHeads{"num_key_value_heads", "attention.head_count_kv"};
inline constexpr ConfigKey kHeadDim{"head_dim", "attention.key_length"};
inline constexpr ConfigKey kWindowHeadDim{"head_dim", "attention.key_length_swa"};
inline constexpr ConfigKey kFfn{"intermediate_size", "feed_forward_length"};
inline constexpr ConfigKey kNormEps{"rms_norm_eps", "attention.layer_norm_rms_epsilon"};
inline constexpr ConfigKey kLayerNormEps{"layer_norm_eps", "attention.layer_norm_epsilon"};
inline constexpr ConfigKey kRopeBase{"rope_theta", "rope.freq_base"};
inline constexpr ConfigKey kLocalRopeBase{"rope_local_base_freq", "rope.freq_base_swa"};
inline constexpr ConfigKey kWindow{"sliding_window", "attention.sliding_window"};
inline constexpr ConfigKey kWindowPattern{"sliding_window_pattern",
                                          "attention.sliding_window_pattern"};
inline constexpr ConfigKey kAttentionSoftCap{"attn_logit_softcapping", "attn_logit_softcapping"};
inline constexpr ConfigKey kLogitSoftCap{"final_logit_softcapping", "final_logit_softcapping"};
inline constexpr ConfigKey kEmbeddingScale{"embedding_multiplier", "embedding_scale"};
inline constexpr ConfigKey kResidualScale{"residual_multiplier", "residual_scale"};
inline constexpr ConfigKey kLogitDivisor{"logits_scaling", "logit_scale"};

} // namespace retort
