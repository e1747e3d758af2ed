//===- ChatRender.cpp - `retort chat-render` ------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Bundle/BundleWriter.h"
#include "compiler/Driver/ChatVariables.h"
#include "compiler/Driver/Commands.h"
#include "compiler/Driver/Teacher.h"
#include "runtime/base/Error.h"
#include "runtime/base/Json.h"
#include "runtime/base/MappedFile.h"
#include "runtime/base/Output.h"
#include "runtime/src/chat/Chat.h"
#include "runtime/src/engine/Model.h"

#include <cstdio>

namespace retort {
namespace {

std::string readText(const std::string &path) {
  MappedFile file = MappedFile::open(path);
  return {reinterpret_cast<const char *>(file.bytes().data()), file.bytes().size()};
}

/// JSON in a file, checked so that messages name the file.
std::string readJsonText(const std::string &path) {
  if (path.empty())
    return {};
  std::string text = readText(path);
  checkJson(text, path, "write it as JSON");
  return text;
}

/// The keys of a conversation file that is an object. What it holds is parsed again, in its order.
void readConversation(const std::string &path, chat::Conversation &conversation) {
  const std::string text = readJsonText(path);
  const auto whole = nlohmann::ordered_json::parse(text);
  if (whole.is_array()) {
    conversation.messagesJson = text;
    return;
  }
  if (!whole.is_object() || !whole.contains("messages"))
    fail(ExitCode::BadInput,
         path + ": is no conversation: write it as [{\"role\": \"user\", \"content\": \"...\"}]");
  for (const auto &[key, value] : whole.items()) {
    if (key == "messages")
      conversation.messagesJson = value.dump();
    else if (key == "tools")
      conversation.toolsJson = value.dump();
    else if (key == "documents")
      conversation.documentsJson = value.dump();
    else if (key == "variables")
      conversation.variablesJson = value.dump();
    else
      fail(ExitCode::BadInput,
           path + ": has the key '" + key +
               "', which is none of messages, tools, documents and variables: remove it");
  }
}

/// The text and its tokens, by what the model is.
std::pair<std::string, std::vector<int32_t>> renderWith(const ChatRenderOptions &options,
                                                        const chat::Conversation &conversation) {
  if (isBundle(options.model)) {
    const auto model = engine::Model::open(options.model);
    chat::Rendered rendered = model->renderChat(conversation);
    return {rendered.text, model->encodeChat(rendered)};
  }
  const LoadedTokenizer own(readTokenizer(options.model, options.chat));
  if (!own.spec.chat)
    fail(ExitCode::Unsupported,
         options.model + ": " +
             (own.spec.chatNote.empty() ? "has no chat template: give one with --chat-template"
                                        : own.spec.chatNote));
  chat::Rendered rendered = chat::render(*own.spec.chat, conversation);
  return {rendered.text,
          chat::encode(own.tokenizer, rendered, chat::findMarkers(*own.spec.chat, own.tokenizer))};
}

} // namespace

std::string chatVariables(const std::vector<std::string> &given) {
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();
  for (const std::string &text : given) {
    const size_t equals = text.find('=');
    if (equals == text.npos || equals == 0)
      fail(ExitCode::Usage, "--chat-var " + text + ": write it as NAME=VALUE");
    const std::string value = text.substr(equals + 1);
    const bool isJson = nlohmann::json::accept(value);
    if (isJson)
      checkJson(value, "--chat-var " + text.substr(0, equals), "write another value");
    variables[text.substr(0, equals)] =
        isJson ? nlohmann::ordered_json::parse(value) : nlohmann::ordered_json(value);
  }
  return given.empty() ? std::string()
                       : variables.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void chatRenderCommand(const ChatRenderOptions &options) {
  chat::Conversation conversation;
  readConversation(options.conversation, conversation);
  if (!options.tools.empty())
    conversation.toolsJson = readJsonText(options.tools);
  if (!options.documents.empty())
    conversation.documentsJson = readJsonText(options.documents);
  if (!options.chatVariables.empty())
    conversation.variablesJson = chatVariables(options.chatVariables);
  if (!options.date.empty())
    conversation.date = chat::Date::parse(options.date);
  conversation.askForAnswer = !options.noAnswer;
  const auto [text, tokens] = renderWith(options, conversation);
  if (options.json) {
    const nlohmann::json printed = {{"text", text}, {"tokens", tokens}};
    output::print("%s\n", printed.dump().c_str());
    return;
  }
  output::print("%s\n", text.c_str());
  for (size_t i = 0; i < tokens.size(); ++i)
    output::print("%s%d", i ? " " : "", tokens[i]);
  output::print("\n");
}

} // namespace retort
