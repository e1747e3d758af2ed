//===- FamilyNames.cpp - What checkpoints call their tensors --------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Import/FamilyNames.h"
#include <map>

namespace retort {
namespace {

/// GGUF's name within a block -> Hugging Face's within a layer.
const std::map<std::string, std::string, std::less<>> kLayerNames = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
    {"post_ffw_norm", "post_feedforward_layernorm"}};

} // namespace

FamilyNames::FamilyNames(const Checkpoint &checkpoint, const ModelConfig &config)
    : gguf_(checkpoint.gguf()), tied_(config.tiedEmbeddings), postNorms_(config.postNorms),
      prefix_("model."), head_("lm_head.weight") {
  // Gemma 3 within a vision model, as transformers 4 and 5 save it.
  if (checkpoint.find("language_model.model.embed_tokens.weight")) {
    prefix_ = "language_model.model.";
    head_ = "language_model.lm_head.weight";
  } else if (checkpoint.find("model.language_model.embed_tokens.weight")) {
    prefix_ = "model.language_model.";
  }
}

std::string FamilyNames::inCheckpoint(const std::string &parameter) const {
  if (gguf_)
    return parameter;
  if (parameter == "token_embd.weight")
    return prefix_ + "embed_tokens.weight";
  if (parameter == "output_norm.weight")
    return prefix_ + "norm.weight";
  if (parameter == "output.weight")
    return head_;
  // "blk.N.<name>.<weight or bias>"
  const size_t number = 4, name = parameter.find('.', number) + 1;
  const size_t suffix = parameter.rfind('.');
  const std::string local = parameter.substr(name, suffix - name);
  std::string layer;
  if (local == "ffn_norm") // the norm before the FFN, called after what it follows
    layer = postNorms_ ? "pre_feedforward_layernorm" : "post_attention_layernorm";
  else if (local == "post_attention_norm")
    layer = "post_attention_layernorm";
  else
    layer = kLayerNames.at(local);
  return prefix_ + "layers." + parameter.substr(number, name - number) + layer +
         parameter.substr(suffix);
}

bool FamilyNames::mayBeUnused(std::string_view tensor) const {
  if (gguf_)
    return tensor == "rope_freqs.weight" || tensor.ends_with(".attn_rot_embd.weight");
  if (tensor.ends_with(".rotary_emb.inv_freq") || (tied_ && tensor == head_))
    return true;
  for (std::string_view tower : {"vision_tower.", "multi_modal_projector.", "model.vision_tower.",
                                 "model.multi_modal_projector."})
    if (prefix_ != "model." && tensor.starts_with(tower))
      return true;
  return false;
}

} // namespace retort
