//===- ChatTemplate.cpp - A checkpoint's chat template --------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Tokenizer/Internal.h"
#include "compiler/Tokenizer/JinjaParse.h"
#include "runtime/base/Error.h"
#include "runtime/base/MappedFile.h"
#include "runtime/src/chat/Chat.h"
#include <algorithm>

namespace retort {
namespace {

// Contents that no template holds.
const std::string kQuestion = "Quokka1", kAnswer = "Numbat2";

/// What a template makes of a question, or of a question and its answer; empty if it refuses them.
/// Throws Error if it does not end, or does what is not known.
std::string tryOut(const chat::Program &program, bool askForAnswer) {
  chat::Conversation conversation;
  conversation.messages.push_back({"user", kQuestion});
  if (!askForAnswer)
    conversation.messages.push_back({"assistant", kAnswer});
  conversation.askForAnswer = askForAnswer;
  conversation.date = chat::Date();
  try {
    return chat::render(program, conversation).text;
  } catch (const Error &error) {
    if (error.code != ExitCode::Usage)
      throw; // it would do so for most conversations
    return {};
  }
}

/// The added token that stands behind an answer that is the last message; -1 if none does.
int32_t endOfAnswer(const TokenizerSpec &spec) {
  const std::string text = tryOut(*spec.chat, false);
  const size_t answer = text.find(kAnswer);
  if (answer == text.npos)
    return -1;
  std::string_view rest = std::string_view(text).substr(answer + kAnswer.size());
  rest.remove_prefix(std::min(rest.find_first_not_of(" \n"), rest.size()));
  const AddedToken *longest = nullptr;
  for (const AddedToken &token : spec.added)
    if (rest.starts_with(token.content) &&
        (!longest || token.content.size() > longest->content.size()))
      longest = &token;
  return longest ? longest->id : -1;
}

std::string readText(const std::string &path) {
  MappedFile file = MappedFile::open(path);
  return {reinterpret_cast<const char *>(file.bytes().data()), file.bytes().size()};
}

/// Jinja drops one line end at a template's end.
std::string withoutLastLineEnd(std::string text) {
  if (text.ends_with('\n'))
    text.pop_back();
  if (text.ends_with('\r'))
    text.pop_back();
  return text;
}

/// The templates as one. Blocks with a plus leave line ends and spaces around them alone.
std::string joined(const ChatTemplates &templates, const TokenizerSpec &spec) {
  std::string text = templates.usual;
  if (!templates.toolUse.empty()) {
    // Each must be sound alone, so that none reaches into what is put around it.
    jinja::compile(templates.toolUse);
    jinja::compile(templates.usual);
    text = "{% if tools is not none +%}" + withoutLastLineEnd(templates.toolUse) + "{%+ else +%}" +
           withoutLastLineEnd(templates.usual) + "{%+ endif %}";
  }
  if (templates.beginsWithBos && spec.bos >= 0) {
    jinja::compile(text);
    text = "{% set conversation_text_ +%}" + withoutLastLineEnd(text) +
           "{%+ endset %}{% if not conversation_text_.startswith(bos_token) %}{{ bos_token }}"
           "{% endif %}{{ conversation_text_ }}";
  }
  return text;
}

} // namespace

chat::Program compileChatTemplate(std::string_view jinja, const TokenizerSpec &spec) {
  chat::Program program = jinja::compile(jinja);
  for (auto [name, id] : {std::pair("bos_token", spec.bos), std::pair("eos_token", spec.eos),
                          std::pair("pad_token", spec.pad), std::pair("unk_token", spec.unknown)})
    if (id >= 0 && id < spec.vocabSize())
      program.variables.emplace_back(name, spec.tokens[id]);
  tryOut(program, true);
  return program;
}

namespace tokspec {

void setChat(TokenizerSpec &spec, ChatTemplates templates, const ChatSource &source) {
  if (source.none)
    return;
  const bool given = !source.file.empty();
  if (given) {
    templates.usual = readText(source.file);
    templates.toolUse.clear();
  }
  if (templates.usual.empty() && !given)
    return;
  try {
    spec.chat = compileChatTemplate(joined(templates, spec), spec);
    if (const int32_t end = endOfAnswer(spec); end >= 0)
      spec.stop.push_back(end);
  } catch (const Error &error) {
    spec.chat.reset();
    if (given)
      fail(error.code, source.file + ": chat template: " + error.message);
    spec.chatNote = "the chat template is left out: " + error.message +
                    ": give another one with --chat-template";
  }
}

void finishStops(TokenizerSpec &spec) {
  if (spec.eos >= 0)
    spec.stop.push_back(spec.eos);
  std::sort(spec.stop.begin(), spec.stop.end());
  spec.stop.erase(std::unique(spec.stop.begin(), spec.stop.end()), spec.stop.end());
}

} // namespace tokspec
} // namespace retort
