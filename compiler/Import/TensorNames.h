//===- TensorNames.h - What checkpoints call their tensors ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Checkpoint/Checkpoint.h"
#include "compiler/Import/Family.h"

namespace retort {

/// What a tensor is that no parameter loads.
enum class Unused {
  Unknown, ///< something that the model would compute with: it must not be dropped in silence
  Derived, ///< a rotary table, or a copy of the embedding
  Vision,
  Audio,     ///< of a tower that is not imported
  NextTokens ///< of a head that guesses further tokens
};

/// A parameter's place in transformers' model of the family, without what stands before the layers:
/// "layers.3.self_attn.q_proj.weight" of "blk.3.attn_q.weight".
std::string nameInTransformers(const Family &family, const std::string &parameter);

/// A parameter's name in GGUF files of the family: its own, but for a few.
std::string nameInGguf(const Family &family, const std::string &parameter);

/// Maps a parameter's name (GGUF's, as everywhere in the IR) to its tensor's in the checkpoint.
class TensorNames {
public:
  TensorNames(const Checkpoint &checkpoint, const ModelConfig &config);

  /// "blk.3.attn_q.weight" -> itself in GGUF, "model.layers.3.self_attn.q_proj.weight" in a Hugging
  /// Face checkpoint.
  std::string inCheckpoint(const std::string &parameter) const;

  std::string inTransformers(const std::string &parameter) const {
    return nameInTransformers(family_, parameter);
  }

  /// Whether logits are made by the embedding table: by the checkpoint's word, unless it has a head
  /// of its own with other numbers.
  bool isTied() const { return tied_; }

  Unused unusedKind(std::string_view tensor) const;

private:
  void findPrefix(const Checkpoint &checkpoint);
  void findHead(const Checkpoint &checkpoint, bool tiedByConfig);

  const Family &family_;
  bool gguf_, tied_;
  /// Of a Hugging Face checkpoint.
  std::string prefix_ = "model.", embedding_, head_ = "lm_head.weight";
};

} // namespace retort
