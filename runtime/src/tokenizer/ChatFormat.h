//===- ChatFormat.h - How a model writes a conversation ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// The declarative form of a model family's chat template: what stands before and after each
// message. It is the "chat" object of a bundle's manifest. compiler/Tokenizer/Spec.h makes it
// from the Jinja templates that Retort knows exactly.
//
//===----------------------------------------------------------------------===//
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace retort {

struct ChatMessage {
  std::string role; ///< "system", "user" or "assistant"
  std::string content;
};

/// A conversation as the model reads it. Encode it with addSpecial = false and
/// EncodeOptions::trusted = trusted, so that what users wrote cannot be taken for special tokens.
struct RenderedChat {
  std::string text;
  std::vector<std::pair<size_t, size_t>> trusted; ///< the ranges written by the format
};

/// What surrounds each message. Strings may hold special tokens' texts.
struct ChatFormat {
  struct Role {
    std::string prefix, suffix;
    bool trim = false; ///< white space around the content is dropped
    bool operator==(const Role &) const = default;
  };
  /// Where a system message goes.
  enum class System {
    Own,       ///< a message of its own, by `system`
    FirstUser, ///< inside the first user message: user.prefix system.prefix S system.suffix content
    LastUser,  ///< the same, in the last user message (Mistral v3 onwards)
    Refused    ///< the model has none: an Error
  };

  std::string name;  ///< of the template, for people: "smollm2", "llama-3", ...
  std::string begin; ///< once, before everything: usually the beginning token's text
  Role system, user, assistant;
  System systemPlace = System::Own;
  bool trimJoined = false;      ///< FirstUser, LastUser: user.trim applies to the joined text
  bool systemFirstOnly = false; ///< a system message is allowed only as the first one
  std::string systemHead;    ///< before the content of the first system message (Llama 3.1: dates)
  bool systemAlways = false; ///< a system message is written even if none was given
  std::string defaultSystem; ///< its content then
  bool alternate = false;    ///< user and assistant must take turns, user first
  bool dropThinking = false; ///< earlier answers lose all up to "</think>" (Qwen3)
  std::string generate;      ///< asks for the assistant's answer; after everything
  std::vector<std::string> stop; ///< texts of the special tokens that end an answer

  /// Renders messages; the last one must be the user's when `generationPrompt`. Throws Error
  /// (Usage) for a role that is not known or an order that the model's template refuses. `{date}`
  /// in systemHead becomes `date` ("26 Jul 2024" if empty).
  RenderedChat render(const std::vector<ChatMessage> &messages, bool generationPrompt = true,
                      std::string_view date = {}) const;

  nlohmann::json toJson() const;
  /// Throws Error (BadInput) that names the key that is missing or of the wrong type.
  static ChatFormat fromJson(const nlohmann::json &value);
  bool operator==(const ChatFormat &) const = default;
};

} // namespace retort
