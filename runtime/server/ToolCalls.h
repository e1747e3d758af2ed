//===- ToolCalls.h - Calls of functions in answers --------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/server/Request.h"
#include "runtime/server/ToolSyntax.h"

namespace retort::server {

/// What an answer may be that calls functions: a structure, as retort_grammar_kind has it. What is no call
/// meets `otherwise`, if that is given. Every function's schema must be one that is supported.
Constraint callsGrammar(const ToolSyntax &syntax, const ToolUse &tools,
                        const std::optional<Constraint> &otherwise);

/// Another each time. Where the model's texts hold ids, one of their form.
std::string newCallId(const ToolSyntax &syntax);

/// What becomes known of an answer that may hold calls.
struct ToolPiece {
  std::string name;      ///< not empty: a call begins
  std::string arguments; ///< that are new, of the call that began last
};

/// Takes calls out of an answer's text as it comes. The grammar has seen to it that they are whole.
class ToolParser {
public:
  explicit ToolParser(const ToolSyntax &syntax) : syntax_(syntax) {}
  /// Appends what is known with the text that is new: to `content` what is no call.
  void push(std::string_view text, std::string &content, std::vector<ToolPiece> &calls);
  /// The same at the end of the answer.
  void finish(std::string &content);
  size_t calls() const { return calls_; }
  /// The last call has all of its arguments.
  bool whole() const { return state_ == State::Behind || state_ == State::Done; }

private:
  enum class State { First, Text, Before, Name, Middle, Arguments, Behind, Done };
  bool step(std::string &content, std::vector<ToolPiece> &calls);
  bool stepText(std::string &content);
  bool stepArguments(std::vector<ToolPiece> &calls);
  bool stepBehind();
  void take(size_t size) { pending_.erase(0, size); }

  const ToolSyntax &syntax_;
  State state_ = State::First;
  std::string pending_, name_;
  size_t calls_ = 0, depth_ = 0;
  bool quoted_ = false, escaped_ = false;
};

} // namespace retort::server
