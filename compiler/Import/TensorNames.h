//===- TensorNames.h - What checkpoints call their tensors ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Checkpoint/Checkpoint.h"
#include "compiler/Import/Family.h"

namespace retort {

/// Maps a parameter's name (GGUF's, as everywhere in the IR) to its tensor's in the checkpoint.
class TensorNames {
public:
  TensorNames(const Checkpoint &checkpoint, const ModelConfig &config);

  /// "blk.3.attn_q.weight" -> itself in GGUF, "model.layers.3.self_attn.q_proj.weight" in a Hugging
  /// Face checkpoint.
  std::string inCheckpoint(const std::string &parameter) const;

  /// Whether a tensor that no parameter loads may be left out: what is derived (rotary tables), a
  /// copy (lm_head of tied embeddings), or of a tower that is not imported (vision).
  bool mayBeUnused(std::string_view tensor) const;

private:
  std::string layerTensor(std::string_view parameter) const;

  const Family &family_;
  bool gguf_, tied_;
  bool multimodal_ = false; ///< the checkpoint has towers beside the text model
  std::string prefix_ = "model.", head_ = "lm_head.weight"; ///< of a Hugging Face checkpoint
};

} // namespace retort
