//===- Request.h - Bodies of requests, read and checked ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// From untrusted bytes to requests whose every field is in range. What is not known here is refused
// by name, so that nothing a client asks for is ignored. No model is needed: what depends on one
// (the context, the template) is checked by Api.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "retort.hpp"
#include "runtime/server/Error.h"
#include "runtime/server/Fields.h"
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace retort::server {

/// What an answer may be, and the field that says so.
struct Constraint {
  retort_grammar_kind kind;
  std::string text;
  std::string field;
};

/// A function that the model may call.
struct ToolFunction {
  std::string name, schema; ///< of its arguments, an object: a JSON Schema
  bool strict = false;      ///< it must be one that grammars support; else any object will do, too
  std::string field;        ///< that gave the schema
};

/// Calls that an answer may hold.
struct ToolUse {
  std::vector<ToolFunction> functions; ///< none: no calls
  bool required = false, parallel = true;
  Json given = Json::array(), choice = "auto"; ///< as the request has them
};

/// How answers are made; the same for chat and completions.
struct Generation {
  std::string model; ///< that was asked for; empty: any
  float temperature = 1, topP = 1;
  uint32_t topK = 0;
  std::optional<uint64_t> seed; ///< of the first choice; the n-th has seed + n
  uint32_t choices = 1;
  std::optional<size_t> maxTokens;
  std::vector<std::string> stops;
  bool ignoreEos = false, stream = false, includeUsage = false;
  float minP = 0, repetitionPenalty = 1, presencePenalty = 0, frequencyPenalty = 0;
  std::vector<retort_logit_bias> bias; ///< of tokens that need not be in the vocabulary
  int top = -1;                        ///< likeliest tokens that each log-probability has; -1: none
  std::optional<Constraint> constraint;
  bool echo = false;          ///< the prompt comes before the answer
  std::vector<int32_t> shown; ///< special tokens whose names the answer's text holds
};

/// A text to continue, or its tokens.
using Prompt = std::variant<std::string, std::vector<int32_t>>;

struct CompletionRequest {
  Generation generation;
  std::vector<Prompt> prompts;
};
struct ChatRequest {
  Generation generation;
  ToolUse tools;
  Conversation conversation;
};
/// A request of OpenAI's responses, whose conversation is given whole each time.
struct ResponseRequest {
  Generation generation;
  ToolUse tools;
  Conversation conversation;
  std::string instructions; ///< to be given back, as is what follows, of JSON
  std::string metadata, format = R"({"type": "text"})";
};
struct TokenizeRequest {
  std::string model;
  std::optional<Conversation> conversation; ///< or
  std::string text;
  bool addSpecial = true, withPieces = false;
};
struct DetokenizeRequest {
  std::string model;
  std::vector<int32_t> tokens;
};
struct TemplateRequest {
  std::string model;
  Conversation conversation;
};

/// Limits of one request that the service sets.
struct RequestLimits {
  uint32_t choices = 128; ///< of all prompts of a request together
};

/// Each throws ApiError (400) that names the field and its range.
CompletionRequest parseCompletion(std::string_view body, const RequestLimits &limits);
ChatRequest parseChat(std::string_view body, const RequestLimits &limits);
ResponseRequest parseResponse(std::string_view body);
TokenizeRequest parseTokenize(std::string_view body);
DetokenizeRequest parseDetokenize(std::string_view body);
TemplateRequest parseTemplate(std::string_view body);

} // namespace retort::server
