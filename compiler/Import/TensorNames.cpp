//===- TensorNames.cpp - What checkpoints call their tensors --------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Import/TensorNames.h"
#include "runtime/base/Error.h"
#include <algorithm>
#include <optional>

namespace retort {
namespace {

/// The names that most families share; a family's own come first.
constexpr TensorName kCommonNames[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
    {"attn_qkv", "self_attn.qkv_proj"},
    {"ffn_gate_up", "mlp.gate_up_proj"},
    {"attn_gate", "self_attn.gate_proj"},
    {"attn_sinks", "self_attn.sinks", "", true},
    {"layer_output_scale", "layer_scalar", "", true},
};

/// Parts of checkpoints that are not imported, by a word of their tensors' names.
struct LeftOut {
  std::string_view word;
  Unused kind;
};
constexpr LeftOut kLeftOut[] = {
    {"vision_tower", Unused::Vision},
    {"vision_model", Unused::Vision},
    {"vision_encoder", Unused::Vision},
    {"visual", Unused::Vision},
    {"multi_modal_projector", Unused::Vision},
    {"mm_projector", Unused::Vision},
    {"vision_language_adapter", Unused::Vision},
    {"patch_merger", Unused::Vision},
    {"vision_adapter", Unused::Vision},
    {"vision_projection", Unused::Vision},
    {"embed_vision", Unused::Vision},
    {"image_newline", Unused::Vision},
    {"embed_tokens_extend", Unused::Vision},
    {"audio_tower", Unused::Audio},
    {"embed_audio", Unused::Audio},
    {"mtp", Unused::NextTokens},
};

/// Whether two tensors hold the same bytes in the same format.
bool areEqual(const CheckpointTensor &a, const CheckpointTensor &b) {
  const bool equal = !a.coded && !b.coded && a.type == b.type && a.shape == b.shape &&
                     std::ranges::equal(a.bytes, b.bytes);
  for (const CheckpointTensor *tensor : {&a, &b})
    if (tensor->file)
      tensor->file->release(tensor->offset, tensor->bytes.size());
  return equal;
}

const TensorName &layerTensor(const Family &family, std::string_view parameter) {
  for (std::span names : {family.tensorNames, std::span<const TensorName>(kCommonNames)})
    for (const TensorName &name : names)
      if (name.parameter == parameter)
        return name;
  fail(ExitCode::Internal, "parameter '" + std::string(parameter) + "' of " +
                               std::string(family.name) + " has no name in Hugging Face's files");
}

} // namespace

std::string nameInGguf(const Family &family, const std::string &parameter) {
  // "blk.N.<name>.<weight or bias>"
  const size_t name = parameter.find('.', 4) + 1, suffix = parameter.rfind('.');
  if (parameter.starts_with("blk."))
    for (const TensorName &known : family.tensorNames)
      if (!known.gguf.empty() && parameter.substr(name, suffix - name) == known.parameter)
        return parameter.substr(0, name) + std::string(known.gguf) + parameter.substr(suffix);
  return parameter;
}

std::string nameInTransformers(const Family &family, const std::string &parameter) {
  if (parameter == "token_embd.weight")
    return "embed_tokens.weight";
  if (parameter.starts_with("output_norm."))
    return parameter.substr(parameter.find('_') + 1);
  if (parameter == "output.weight")
    return "lm_head.weight";
  const size_t number = 4, name = parameter.find('.', number) + 1;
  const size_t suffix = parameter.rfind('.');
  const TensorName &known =
      layerTensor(family, std::string_view(parameter).substr(name, suffix - name));
  return "layers." + parameter.substr(number, name - number) + std::string(known.huggingFace) +
         (known.isBare ? "" : parameter.substr(suffix));
}

TensorNames::TensorNames(const Checkpoint &checkpoint, const ModelConfig &config)
    : family_(*config.family), gguf_(checkpoint.gguf()), tied_(config.tiedEmbeddings) {
  if (gguf_)
    return;
  findPrefix(checkpoint);
  findHead(checkpoint, config.tiedEmbeddings);
}

/// A model is saved alone, as part of another or under a wrapper's name: its tensors' prefix is that
/// of the last norm, which stands beside the layers.
void TensorNames::findPrefix(const Checkpoint &checkpoint) {
  constexpr std::string_view norm = "norm.weight";
  std::optional<std::string> found;
  for (const CheckpointTensor &tensor : checkpoint.tensors()) {
    if (!tensor.name.ends_with(norm) || unusedKind(tensor.name) != Unused::Unknown)
      continue;
    const std::string prefix(tensor.name.substr(0, tensor.name.size() - norm.size()));
    if (!prefix.empty() && prefix.back() != '.')
      continue;
    // A tower has layers and a norm, but no embedding of tokens; a model without one has a head.
    const bool isModel =
        checkpoint.find(prefix + "embed_tokens.weight") ||
        std::ranges::any_of(checkpoint.tensors(), [&](const CheckpointTensor &other) {
          return other.name.starts_with(prefix + "layers.0.self_attn.") &&
                 unusedKind(other.name) == Unused::Unknown;
        });
    if (isModel && (!found || prefix.size() < found->size()))
      found = prefix;
  }
  if (found)
    prefix_ = *found;
}

void TensorNames::findHead(const Checkpoint &checkpoint, bool tiedByConfig) {
  for (const CheckpointTensor &tensor : checkpoint.tensors())
    if (tensor.name.ends_with(".lm_head.weight") && unusedKind(tensor.name) == Unused::Unknown)
      head_ = tensor.name;
  embedding_ = prefix_ + "embed_tokens.weight";
  const CheckpointTensor *head = checkpoint.find(head_), *table = checkpoint.find(embedding_);
  if (tiedByConfig && head && !table)
    embedding_ = head_; // a table that is both is there once, under either name
  tied_ = tiedByConfig && (!head || !table || areEqual(*head, *table));
}

std::string TensorNames::inCheckpoint(const std::string &parameter) const {
  if (gguf_)
    return nameInGguf(family_, parameter);
  if (parameter == "token_embd.weight")
    return embedding_;
  if (parameter == "output.weight")
    return head_;
  return prefix_ + inTransformers(parameter);
}

Unused TensorNames::unusedKind(std::string_view tensor) const {
  if (gguf_) {
    if (tensor.starts_with("rope_f") || tensor.ends_with(".attn_rot_embd.weight"))
      return Unused::Derived;
    return tensor.find(".nextn.") != std::string_view::npos ? Unused::NextTokens : Unused::Unknown;
  }
  if (tensor.ends_with("rotary_emb.inv_freq") || (tied_ && tensor == head_))
    return Unused::Derived;
  // "vision_tower.x" or "model.vision_tower.x"
  for (const LeftOut &part : kLeftOut) {
    const size_t at = tensor.find(part.word), end = at + part.word.size();
    if (at == std::string_view::npos || (at != 0 && tensor[at - 1] != '.') ||
        (end != tensor.size() && tensor[end] != '.'))
      continue;
    if (std::ranges::count(tensor.substr(0, at), '.') <= 1)
      return part.kind;
  }
  return Unused::Unknown;
}

} // namespace retort
