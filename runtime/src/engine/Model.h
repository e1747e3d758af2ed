//===- Model.h - An opened bundle ------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/engine/BundleReader.h"
#include "runtime/src/engine/Program.h"
#include "runtime/src/tokenizer/Tokenizer.h"
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace retort::engine {

/// A checked bundle, its weights mapped, its program loaded. Immutable: threads may share it, and
/// sessions keep it alive.
class Model {
public:
  /// Throws Error as retort_model_open() says. `threads` check hashes (0: one a core).
  static std::shared_ptr<const Model> open(const std::string &path, const std::string &isa = {},
                                           unsigned threads = 0);

  const Manifest &manifest() const { return bundle_.manifest(); }
  const Program &program() const { return program_; }
  std::span<const uint8_t> weights() const { return part("weights.bin"); }
  /// Throws Error (Usage) if the bundle has no such part.
  std::span<const uint8_t> part(std::string_view name) const;
  bool hasTokenizer() const { return tokenizer_.has_value(); }
  /// Throws Error (Unsupported) if the bundle has none.
  const Tokenizer &tokenizer() const;
  /// Tokens that may be picked: those that stand for text if there is a tokenizer.
  int32_t pickable() const;
  bool isStop(int32_t token) const;

  /// A conversation in the model's format. Throws Error: Unsupported if it has none, Usage.
  RenderedChat renderChat(const std::vector<ChatMessage> &messages, bool askForAnswer) const;
  std::vector<int32_t> encodeChat(const RenderedChat &chat) const;

private:
  Model(BundleReader bundle, Program program, std::optional<Tokenizer> tokenizer);
  BundleReader bundle_;
  Program program_;
  std::optional<Tokenizer> tokenizer_;
  std::vector<int32_t> stop_; ///< ascending
};

} // namespace retort::engine
