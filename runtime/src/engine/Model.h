//===- Model.h - An opened bundle -------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/chat/Chat.h"
#include "runtime/src/engine/BundleReader.h"
#include "runtime/src/engine/Program.h"
#include "runtime/src/grammar/Grammar.h"
#include "runtime/src/tokenizer/Tokenizer.h"
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace retort::engine {

/// A checked bundle, its weights mapped, its CPU program loaded. Immutable: threads may share it,
/// and sessions keep it alive.
class Model {
public:
  /// Throws Error as retort_model_open() says. `threads` check hashes (0: one a core).
  static std::shared_ptr<const Model> open(const std::string &path, const std::string &isa = {},
                                           unsigned threads = 0, Weights weights = Weights::Mapped);

  const Manifest &manifest() const { return bundle_.manifest(); }
  const std::string &path() const { return bundle_.path(); }
  /// The code for this CPU; null if the bundle has none.
  const Program *program() const { return program_ ? &*program_ : nullptr; }
  /// Throws Error (Usage) if the bundle has no such part.
  std::span<const uint8_t> part(std::string_view name) const;
  bool hasTokenizer() const { return tokenizer_.has_value(); }
  /// Throws Error (Unsupported) if the bundle has none.
  const Tokenizer &tokenizer() const;
  /// Tokens that may be picked: those that stand for text if there is a tokenizer.
  int32_t pickable() const;
  bool isStop(int32_t token) const;
  /// What an answer may be. Throws Error as grammar::Grammar, and Unsupported if there is no tokenizer.
  std::shared_ptr<const grammar::Grammar> compileGrammar(grammar::Kind kind,
                                                         std::string_view text) const;

  bool hasChat() const { return tokenizer_ && chat_; }
  /// A conversation as the model reads it. Throws Error: Unsupported if the model cannot chat, and as
  /// chat::render().
  chat::Rendered renderChat(const chat::Conversation &conversation) const;
  std::vector<int32_t> encodeChat(const chat::Rendered &rendered) const;

  /// What a device keeps of this model for all sessions on it (weights in a GPU's memory), as long
  /// as one of them lives; `make` makes it for the first.
  template <class T, class Make>
  std::shared_ptr<T> shared(const std::string &key, Make make) const {
    std::lock_guard lock(sharedMutex_);
    std::shared_ptr<void> kept = shared_[key].lock();
    if (!kept)
      shared_[key] = kept = std::shared_ptr<T>(make());
    return std::static_pointer_cast<T>(kept);
  }

private:
  Model(BundleReader bundle, std::optional<Program> program, std::optional<Tokenizer> tokenizer,
        std::optional<chat::Program> chat);
  BundleReader bundle_;
  std::optional<Program> program_;
  std::optional<Tokenizer> tokenizer_;
  std::optional<chat::Program> chat_;
  std::vector<int32_t> chatMarkers_; ///< as chat::findMarkers() says
  mutable std::mutex sharedMutex_;
  mutable std::map<std::string, std::weak_ptr<void>> shared_;
};

} // namespace retort::engine
