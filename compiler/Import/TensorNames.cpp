//===- TensorNames.cpp - What checkpoints call their tensors --------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Import/TensorNames.h"
#include "runtime/base/Error.h"

namespace retort {
namespace {

/// The names that most families share; a family's own come first.
constexpr TensorName kCommonNames[] = {
    {"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"}, {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"}, {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};

/// Where transformers 4 and 5 put a text model that lies within a multimodal one.
struct Wrapping {
  std::string_view prefix, head;
};
constexpr Wrapping kWrappings[] = {
    {"language_model.model.", "language_model.lm_head.weight"},
    {"model.language_model.", "lm_head.weight"},
};

} // namespace

TensorNames::TensorNames(const Checkpoint &checkpoint, const ModelConfig &config)
    : family_(*config.family), gguf_(checkpoint.gguf()), tied_(config.tiedEmbeddings) {
  if (!family_.isWithinMultimodal())
    return;
  for (const Wrapping &wrapping : kWrappings)
    if (checkpoint.find(std::string(wrapping.prefix) + "embed_tokens.weight")) {
      multimodal_ = true;
      prefix_ = wrapping.prefix;
      head_ = wrapping.head;
    }
}

std::string TensorNames::inCheckpoint(const std::string &parameter) const {
  if (gguf_)
    return parameter;
  if (parameter == "token_embd.weight")
    return prefix_ + "embed_tokens.weight";
  if (parameter.starts_with("output_norm."))
    return prefix_ + parameter.substr(parameter.find('_') + 1);
  if (parameter == "output.weight")
    return head_;
  // "blk.N.<name>.<weight or bias>"
  const size_t number = 4, name = parameter.find('.', number) + 1;
  const size_t suffix = parameter.rfind('.');
  return prefix_ + "layers." + parameter.substr(number, name - number) +
         layerTensor(parameter.substr(name, suffix - name)) + parameter.substr(suffix);
}

std::string TensorNames::layerTensor(std::string_view parameter) const {
  for (std::span names : {family_.tensorNames, std::span<const TensorName>(kCommonNames)})
    for (const TensorName &name : names)
      if (name.parameter == parameter)
        return std::string(name.huggingFace);
  fail(ExitCode::Internal, "parameter '" + std::string(parameter) + "' of " +
                               std::string(family_.name) + " has no name in Hugging Face's files");
}

bool TensorNames::mayBeUnused(std::string_view tensor) const {
  if (gguf_)
    return tensor == "rope_freqs.weight" || tensor.ends_with(".attn_rot_embd.weight");
  if (tensor.ends_with(".rotary_emb.inv_freq") || (tied_ && tensor == head_))
    return true;
  if (multimodal_)
    for (std::string_view tower : {"vision_tower.", "multi_modal_projector.", "model.vision_tower.",
                                   "model.multi_modal_projector."})
      if (tensor.starts_with(tower))
        return true;
  return false;
}

} // namespace retort
