//===- Chat.h - Conversations as a model reads them -------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// A chat template rendered over a conversation as transformers' apply_chat_template() does it.
// docs/chat.md is the manual.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/src/chat/Date.h"
#include "runtime/src/chat/Program.h"
#include "runtime/src/tokenizer/Tokenizer.h"
#include <optional>

namespace retort::chat {

struct Message {
  std::string role, content;
};

struct Conversation {
  std::string messagesJson;             ///< a list of objects
  std::vector<Message> messages;        ///< in its place, where that is empty
  std::string toolsJson, documentsJson; ///< lists of objects; empty: none
  std::string variablesJson;            ///< an object: what else the template sees; empty: none
  std::optional<Date> date;             ///< none: now
  bool askForAnswer = true;             ///< ends with what asks for the answer
};

/// A conversation as text. Special tokens in it count only where the template wrote them.
struct Rendered {
  using Ranges = std::vector<std::pair<size_t, size_t>>;
  std::string text;
  Ranges trusted; ///< what the template wrote
  Ranges answers; ///< that, and earlier answers: there, markers such as <think> are tokens too
};

/// Throws Error: BadInput (JSON that is broken), Usage (what the template refuses or cannot do),
/// Unsupported (what Retort cannot), Resources (a limit of Value.h).
Rendered render(const Program &program, const Conversation &conversation);

/// The added tokens that are not special but stand in the template: its markers, ascending.
std::vector<int32_t> findMarkers(const Program &program, const Tokenizer &tokenizer);

/// The conversation's tokens, without any that the template does not write.
std::vector<int32_t> encode(const Tokenizer &tokenizer, const Rendered &rendered,
                            std::span<const int32_t> markers);

} // namespace retort::chat
