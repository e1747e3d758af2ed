//===- Chat.cpp - Conversations as a model reads them ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/chat/Chat.h"
#include "runtime/base/Error.h"
#include "runtime/base/Json.h"
#include "runtime/base/Utf8.h"
#include "runtime/src/chat/Interpreter.h"
#include "runtime/src/tokenizer/Tables.h"

#include <algorithm>

namespace retort::chat {
namespace {

/// Makes values of a document that checkJson() has passed.
class JsonReader {
public:
  using json = nlohmann::json;
  JsonReader(Heap &heap, const std::string &where) : heap_(heap), where_(where) {}
  Value take() { return whole_; }

  bool null() { return put(Value::none()); }
  bool boolean(bool b) { return put(Value::boolean(b)); }
  bool number_integer(json::number_integer_t i) { return put(Value::integer(i)); }
  bool number_unsigned(json::number_unsigned_t u) {
    if (u > uint64_t(INT64_MAX))
      fail(ExitCode::BadInput,
           where_ + ": " + std::to_string(u) + " is beyond 64 bits: write it as a text");
    return put(Value::integer(int64_t(u)));
  }
  bool number_float(json::number_float_t d, const std::string &) { return put(Value::floating(d)); }
  bool string(std::string &text) { return put(heap_.string(text)); }
  bool binary(json::binary_t &) { return false; }
  bool start_array(size_t) { return open(false); }
  bool end_array() { return close(); }
  bool start_object(size_t) { return open(true); }
  bool end_object() { return close(); }
  bool key(std::string &text) {
    open_.back().key = heap_.string(text);
    return true;
  }
  bool parse_error(size_t, const std::string &, const nlohmann::detail::exception &) {
    return false;
  }

private:
  struct Level {
    Value dict, key;
    std::vector<Value> items;
  };
  bool open(bool isDict) {
    open_.emplace_back();
    if (isDict)
      open_.back().dict = heap_.dict();
    return true;
  }
  bool close() {
    Level level = std::move(open_.back());
    open_.pop_back();
    return put(level.dict.is(Kind::Dict) ? level.dict : heap_.list(std::move(level.items)));
  }
  bool put(const Value &value) {
    if (open_.empty())
      whole_ = value;
    else if (Level &level = open_.back(); level.dict.is(Kind::Dict))
      heap_.set(level.dict, level.key, value);
    else
      level.items.push_back(value);
    return true;
  }
  Heap &heap_;
  const std::string &where_;
  std::vector<Level> open_;
  Value whole_;
};

Value parse(Heap &heap, std::string_view text, const std::string &where) {
  checkJson(text, where, "write it as JSON");
  JsonReader reader(heap, where);
  nlohmann::json::sax_parse(text.begin(), text.end(), &reader);
  return reader.take();
}

/// A list of objects, or None for nothing.
Value parseObjects(Heap &heap, std::string_view text, const std::string &where) {
  if (text.empty())
    return Value::none();
  const Value list = parse(heap, text, where);
  if (list.is(Kind::None))
    return list;
  bool good = list.is(Kind::List);
  for (size_t i = 0; good && i < list.list->items.size(); ++i)
    good = list.list->items[i].is(Kind::Dict);
  if (!good)
    fail(ExitCode::BadInput, where + ": is no list of objects: write it as [{...}, ...]");
  return list;
}

/// All that an answer holds was the model's own.
void markAnswer(const Value &value) {
  if (value.is(Kind::String))
    value.string->text = Text(value.bytes(), Origin::Model);
  else if (value.is(Kind::List))
    std::for_each(value.list->items.begin(), value.list->items.end(), markAnswer);
  else if (value.is(Kind::Dict))
    for (const auto &[key, item] : value.dict->items)
      markAnswer(item);
}

/// A role that is a plain word may be part of a special token: templates write '<|' + role + '|>'.
void trustRole(const Value &role) {
  auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  };
  const std::string &text = role.bytes();
  if (text.size() <= 32 && std::all_of(text.begin(), text.end(), plain))
    role.string->text = Text(text, Origin::Template);
}

/// transformers gives reasoning the names that templates read, whatever the message calls it.
Value withReasoning(Heap &heap, const Value &message) {
  const Value *reasoning = nullptr;
  for (const char *name : {"reasoning_content", "thinking", "reasoning"})
    if (const Value *own = find(message, name); own && !own->is(Kind::None) && !reasoning)
      reasoning = own;
  if (!reasoning)
    return message;
  const Value value = *reasoning, made = heap.dict();
  heap.set(made, heap.string("thinking"), value);
  for (const auto &[key, item] : message.dict->items)
    heap.set(made, key, item);
  heap.set(made, heap.string("reasoning_content"), value);
  return made;
}

Value readMessages(Heap &heap, const Conversation &conversation) {
  std::vector<Value> messages;
  if (!conversation.messagesJson.empty()) {
    const Value list = parseObjects(heap, conversation.messagesJson, "messages");
    if (!list.is(Kind::List))
      fail(ExitCode::BadInput, "messages: is no list of objects: write it as [{...}, ...]");
    messages = list.list->items;
  }
  for (const Message &message : conversation.messages) {
    const Value made = heap.dict();
    for (auto [name, text] :
         {std::pair("role", &message.role), std::pair("content", &message.content)})
      heap.set(made, heap.string(name), heap.string(repaired(*text)));
    messages.push_back(made);
  }
  for (Value &message : messages) {
    const Value *role = find(message, "role");
    if (role && role->is(Kind::String)) {
      if (role->bytes() == "assistant")
        markAnswer(message);
      trustRole(*role);
    }
    message = withReasoning(heap, message);
  }
  return heap.list(std::move(messages));
}

} // namespace

Rendered render(const Program &program, const Conversation &conversation) {
  Heap heap;
  std::vector<std::pair<std::string, Value>> variables;
  for (const auto &[name, text] : program.variables)
    variables.emplace_back(name, heap.string(text, Origin::Template));
  variables.emplace_back("messages", readMessages(heap, conversation));
  variables.emplace_back("tools", parseObjects(heap, conversation.toolsJson, "tools"));
  variables.emplace_back("documents", parseObjects(heap, conversation.documentsJson, "documents"));
  variables.emplace_back("add_generation_prompt", Value::boolean(conversation.askForAnswer));
  const size_t own = program.variables.size(), given = variables.size();
  if (!conversation.variablesJson.empty()) {
    const Value all = parse(heap, conversation.variablesJson, "variables");
    if (!all.is(Kind::Dict))
      fail(ExitCode::BadInput, "variables: is no object: write it as {\"name\": value, ...}");
    for (const auto &[key, value] : all.dict->items) {
      for (size_t i = own; i < given; ++i)
        if (variables[i].first == key.bytes())
          fail(ExitCode::Usage,
               "variables: '" + key.bytes() + "' has a place of its own: give it there");
      variables.emplace_back(key.bytes(), value);
    }
  }
  const Date date = conversation.date ? *conversation.date : Date::now();
  const Text text = Interpreter(program, heap, date).run(variables);
  Rendered rendered;
  rendered.text = text.bytes();
  auto extend = [](Rendered::Ranges &ranges, size_t at) {
    if (!ranges.empty() && ranges.back().second == at)
      ranges.back().second = at + 1;
    else
      ranges.emplace_back(at, at + 1);
  };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.originAt(i) == Origin::Template)
      extend(rendered.trusted, i);
    if (text.originAt(i) != Origin::Data)
      extend(rendered.answers, i);
  }
  return rendered;
}

std::vector<int32_t> findMarkers(const Program &program, const Tokenizer &tokenizer) {
  const Tokenizer::Tables &tables = tokenizer.tables();
  std::vector<int32_t> markers;
  for (uint32_t id = 0; id < tables.config.vocab; ++id) {
    if ((tables.flags[id] & (tok::kAdded | tok::kSpecial)) != tok::kAdded)
      continue;
    const std::string_view piece = tables.pieceOf(id);
    // Space is no marker: some vocabularies have runs of it as added tokens.
    if (piece.find_first_not_of(" \t\n\r") != piece.npos &&
        std::any_of(program.texts.begin(), program.texts.end(),
                    [&](const std::string &text) { return text.find(piece) != text.npos; }))
      markers.push_back(int32_t(id));
  }
  return markers;
}

std::vector<int32_t> encode(const Tokenizer &tokenizer, const Rendered &rendered,
                            std::span<const int32_t> markers) {
  EncodeOptions options;
  options.addSpecial = false;
  options.parseSpecial = false;
  options.trusted = rendered.trusted;
  options.markers = markers;
  options.answers = rendered.answers;
  std::vector<int32_t> tokens;
  tokenizer.encode(rendered.text, options, tokens);
  return tokens;
}

} // namespace retort::chat
