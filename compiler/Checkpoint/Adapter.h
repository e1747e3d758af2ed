//===- Adapter.h - LoRA adapters --------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Checkpoint/Checkpoint.h"
#include "compiler/Checkpoint/Safetensors.h"
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace retort {

/// A folder that PEFT saved: adapter_config.json and adapter_model.safetensors. Weights of its base
/// are added to, W + scale * up * down (arXiv:2106.09685), and then perhaps given rows of another
/// length (arXiv:2402.09353), or are others.
class Adapter {
public:
  struct Update {
    const CheckpointTensor *up = nullptr;   ///< rows x rank
    const CheckpointTensor *down = nullptr; ///< rank x columns
    double scale = 1;
    const CheckpointTensor *norms = nullptr; ///< the rows' lengths; null: as they come out
  };

  /// Throws Error: Io; BadInput (a tensor without its other half, or of another rank than the config
  /// says); Unsupported (a method, or a variant of LoRA, by name).
  static std::unique_ptr<Adapter> open(const std::string &folder);
  /// The same of the config's text and its tensors; `path` is for messages.
  static std::unique_ptr<Adapter> of(const std::string &config, SafetensorsFile file,
                                     const std::string &path);

  const std::string &path() const { return path_; }
  /// The files that it lies in.
  const std::vector<std::string> &files() const { return files_; }
  const CheckpointTensor *find(std::string_view name) const;

  /// By the weight's place in transformers' model, without what stands before "layers.":
  /// "layers.0.self_attn.q_proj.weight", "lm_head.weight".
  const std::map<std::string, Update> &updates() const { return updates_; }
  const std::map<std::string, const CheckpointTensor *> &replacements() const {
    return replacements_;
  }
  bool changes(const std::string &weight) const {
    return updates_.contains(weight) || replacements_.contains(weight);
  }

private:
  std::string path_;
  std::vector<std::string> files_;
  std::unique_ptr<SafetensorsFile> file_;
  std::map<std::string, CheckpointTensor, std::less<>> tensors_;
  std::map<std::string, Update> updates_;
  std::map<std::string, const CheckpointTensor *> replacements_;
};

} // namespace retort
