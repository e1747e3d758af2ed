//===- Request.cpp - Bodies of requests, read and checked -----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Request.h"
#include "runtime/base/Error.h"
#include "runtime/base/Json.h"
#include "runtime/server/ToolSyntax.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace retort::server {
namespace {

constexpr size_t kMostStops = 16, kMostStopBytes = 1024;
constexpr uint64_t kMostTop = 20; // of log-probabilities, as OpenAI's chat and vLLM have it
constexpr uint64_t kMostTokens = std::numeric_limits<int32_t>::max();

std::string indexed(const std::string &name, size_t index) {
  return name + "[" + std::to_string(index) + "]";
}

const std::string &requireText(const Json &value, const std::string &name) {
  if (!value.is_string())
    refuseField(name, "is " + shown(value) + ", not a string");
  return value.get_ref<const std::string &>();
}

std::vector<int32_t> requireTokens(const Json &list, const std::string &name) {
  std::vector<int32_t> tokens;
  for (const Json &value : list) {
    if (!value.is_number_unsigned() || value.get<uint64_t>() > kMostTokens)
      refuseField(indexed(name, tokens.size()),
                  "is " + shown(value) + ", not a token: those are whole numbers from 0");
    tokens.push_back(int32_t(value.get<uint64_t>()));
  }
  return tokens;
}

std::string requireStop(const Json &value, const std::string &name) {
  const std::string &stop = requireText(value, name);
  if (stop.empty() || stop.size() > kMostStopBytes || stop.find('\0') != stop.npos)
    refuseField(name, "has " + std::to_string(stop.size()) + " bytes, not 1 to " +
                          std::to_string(kMostStopBytes) + " without NUL");
  return stop;
}

std::vector<std::string> readStops(Fields &fields) {
  const Json *field = fields.find("stop");
  std::vector<std::string> stops;
  if (!field)
    return stops;
  if (!field->is_array())
    return {requireStop(*field, "stop")};
  if (field->size() > kMostStops)
    refuseField("stop", "has " + std::to_string(field->size()) + " texts, more than " +
                            std::to_string(kMostStops));
  for (size_t i = 0; i < field->size(); ++i)
    stops.push_back(requireStop((*field)[i], indexed("stop", i)));
  return stops;
}

void readStream(Fields &fields, Generation &generation) {
  generation.stream = fields.boolean("stream", false);
  const Json *options = fields.find("stream_options");
  if (!options)
    return;
  if (!generation.stream)
    refuseField("stream_options", "is given though stream is not true");
  Fields inner(*options, "stream_options.");
  generation.includeUsage = inner.boolean("include_usage", false);
  inner.unsupported("include_obfuscation", false, "leave it out or give false");
  inner.finish();
}

/// {"token": bias}.
std::vector<retort_logit_bias> readBias(Fields &fields) {
  std::vector<retort_logit_bias> result;
  const Json *field = fields.find("logit_bias");
  if (!field)
    return result;
  if (!field->is_object())
    refuseField("logit_bias", "is " + shown(*field) + ", not an object of tokens");
  for (const auto &[name, value] : field->items()) {
    int32_t token = -1;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), token);
    if (error != std::errc() || end != name.data() + name.size() || token < 0)
      refuseField("logit_bias", "has " + shown(name) + ", not a token: those are numbers from 0");
    if (!value.is_number() || std::abs(value.get<double>()) > 100)
      refuseField("logit_bias." + name, "is " + shown(value) + ", not a number from -100 to 100");
    result.push_back({token, value.get<float>()});
  }
  return result;
}

Constraint readNamedSchema(Fields &fields) {
  requireText(fields.require("name"), fields.path("name"));
  fields.text("description");     // for models that read it
  fields.boolean("strict", true); // answers always meet the schema
  return {RETORT_GRAMMAR_JSON_SCHEMA, dumped(fields.require("schema")), fields.path("schema")};
}

/// response_format of chats, or the flat format of responses, as OpenAI has them.
std::optional<Constraint> readFormat(const Json *field, const std::string &name, bool flat) {
  if (!field)
    return std::nullopt;
  Fields format(*field, name + ".");
  const std::string &type = requireText(format.require("type"), format.path("type"));
  std::optional<Constraint> result;
  if (type == "json_object") {
    result = {RETORT_GRAMMAR_JSON_SCHEMA, R"({"type": "object"})", name};
  } else if (type == "json_schema" && flat) {
    result = readNamedSchema(format);
  } else if (type == "json_schema") {
    Fields inner(format.require("json_schema"), format.path("json_schema") + ".");
    result = readNamedSchema(inner);
    inner.finish();
  } else if (type != "text") {
    refuseField(format.path("type"),
                "is " + shown(type) + ", not \"text\", \"json_object\" or \"json_schema\"");
  }
  format.finish();
  return result;
}

/// structured_outputs, as vLLM has it.
std::optional<Constraint> readStructuredOutputs(Fields &fields) {
  const Json *field = fields.find("structured_outputs");
  if (!field)
    return std::nullopt;
  Fields inner(*field, "structured_outputs.");
  std::vector<Constraint> given;
  if (const Json *schema = inner.find("json"))
    given.push_back({RETORT_GRAMMAR_JSON_SCHEMA,
                     schema->is_string() ? schema->get<std::string>() : dumped(*schema),
                     inner.path("json")});
  if (const auto pattern = inner.text("regex"))
    given.push_back({RETORT_GRAMMAR_REGEX, *pattern, inner.path("regex")});
  if (const Json *choice = inner.find("choice"))
    given.push_back({RETORT_GRAMMAR_CHOICE, dumped(*choice), inner.path("choice")});
  if (inner.boolean("json_object", false))
    given.push_back(
        {RETORT_GRAMMAR_JSON_SCHEMA, R"({"type": "object"})", inner.path("json_object")});
  for (const char *name : {"grammar", "structural_tag", "whitespace_pattern"})
    inner.unsupported(name, nullptr, "use json, regex or choice");
  for (const char *name :
       {"disable_any_whitespace", "disable_additional_properties", "disable_fallback"})
    inner.unsupported(name, false, "leave it out or give false");
  inner.finish();
  if (given.size() != 1)
    refuseField("structured_outputs", "has " + std::to_string(given.size()) +
                                          " of json, regex, choice and json_object: give one");
  return given[0];
}

std::optional<Constraint> readConstraint(Fields &fields) {
  std::optional<Constraint> format =
      readFormat(fields.find("response_format"), "response_format", false);
  std::optional<Constraint> vllm = readStructuredOutputs(fields);
  if (format && vllm)
    refuseField("structured_outputs", "and response_format both say what the answer may be: give "
                                      "one of them");
  return format ? format : vllm;
}

/// What OpenAI's and vLLM's clients may ask for and this server does not have: values that ask for
/// nothing are taken.
void refuseUnsupported(Fields &fields) {
  fields.unsupported("best_of", 1, "leave it out or give 1, and use n");
}

Generation readGeneration(Fields &fields, const RequestLimits &limits) {
  Generation generation;
  generation.model = fields.text("model").value_or("");
  generation.temperature = float(fields.number("temperature", 0, 100).value_or(1));
  generation.topP = float(fields.number("top_p", 1e-6, 1).value_or(1));
  generation.topK = uint32_t(fields.whole("top_k", 0, kMostTokens).value_or(0));
  generation.seed = fields.whole("seed", 0, std::numeric_limits<uint64_t>::max());
  generation.choices = uint32_t(fields.whole("n", 1, limits.choices).value_or(1));
  generation.minP = float(fields.number("min_p", 0, 1).value_or(0));
  generation.repetitionPenalty = float(fields.number("repetition_penalty", 0.01, 100).value_or(1));
  generation.presencePenalty = float(fields.number("presence_penalty", -2, 2).value_or(0));
  generation.frequencyPenalty = float(fields.number("frequency_penalty", -2, 2).value_or(0));
  generation.bias = readBias(fields);
  generation.stops = readStops(fields);
  generation.constraint = readConstraint(fields);
  generation.ignoreEos = fields.boolean("ignore_eos", false);
  readStream(fields, generation);
  fields.text("user"); // an end user's name: it changes no answer
  refuseUnsupported(fields);
  return generation;
}

/// A message's content: a text, or a list of parts of which each is a text.
void checkContent(const Json &content, const std::string &name) {
  if (!content.is_array()) {
    requireText(content, name);
    return;
  }
  for (size_t i = 0; i < content.size(); ++i) {
    Fields part(content[i], indexed(name, i) + ".");
    const std::string &type = requireText(part.require("type"), part.path("type"));
    if (type != "text")
      refuseField(part.path("type"),
                  "is " + shown(type) + ", which is not supported: this model reads text only",
                  "unsupported_parameter");
    requireText(part.require("text"), part.path("text"));
    part.finish();
  }
}

/// The arguments of a call that was made: an object, or its text as OpenAI has it. Templates get the object.
Json readArguments(const Json &given, const std::string &name) {
  Json object = given;
  if (const std::string *text = given.get_ptr<const std::string *>()) {
    try {
      checkJson(*text, name, "give an object"); // bounds its depth, too
      object = Json::parse(*text);
    } catch (const Error &) {
      object = text->empty() ? Json::object() : Json(); // some clients' way to give none
    }
  }
  if (!object.is_object())
    refuseField(name, "is " + shown(given) + ", not an object of JSON or the text of one");
  return object;
}

void readToolCalls(Json &calls, const std::string &name) {
  if (!calls.is_array())
    refuseField(name, "is " + shown(calls) + ", not a list");
  for (size_t i = 0; i < calls.size(); ++i) {
    Fields call(calls[i], indexed(name, i) + ".");
    call.text("id"), call.text("type"), call.whole("index", 0, kMostTokens);
    Fields function(call.require("function"), call.path("function") + ".");
    requireText(function.require("name"), function.path("name"));
    if (const Json *arguments = function.find("arguments"))
      calls[i]["function"]["arguments"] = readArguments(*arguments, function.path("arguments"));
    function.finish();
    call.finish();
  }
}

void readMessage(Json &message, const std::string &name) {
  Fields fields(message, name + ".");
  requireText(fields.require("role"), fields.path("role"));
  const Json *content = fields.find("content"), *calls = fields.find("tool_calls");
  if (content)
    checkContent(*content, fields.path("content"));
  if (calls)
    readToolCalls(message["tool_calls"], fields.path("tool_calls"));
  if (!content && !calls)
    refuseField(fields.path("content"), "is missing", "missing_required_parameter");
  for (const char *text : {"name", "tool_call_id", "reasoning_content", "reasoning", "thinking"})
    fields.text(text);
  // What the openai package's answers hold and sends back: empty.
  for (const char *empty : {"refusal", "audio", "function_call"})
    fields.unsupported(empty, nullptr, "leave it out");
  fields.unsupported("annotations", Json::array(), "leave it out");
  fields.finish();
}

std::string readMessages(Json messages) {
  if (!messages.is_array() || messages.empty())
    refuseField("messages", "is " + std::string(messages.is_array() ? "empty" : shown(messages)) +
                                ", not a list of messages");
  for (size_t i = 0; i < messages.size(); ++i)
    readMessage(messages[i], indexed("messages", i));
  return dumped(messages);
}

void checkName(const std::string &name, const std::string &field) {
  if (name.empty() || name.size() > 64 || !std::all_of(name.begin(), name.end(), isNameCharacter))
    refuseField(field, "is " + shown(name) + ", not 1 to 64 letters, digits, _ and -");
}

/// The schema of a function's arguments, which are an object.
std::string readParameters(Fields &function) {
  const Json *given = function.find("parameters");
  if (!given)
    return R"({"type": "object", "additionalProperties": false})";
  const std::string name = function.path("parameters");
  if (!given->is_object())
    refuseField(name, "is " + shown(*given) + ", not a JSON Schema");
  Json schema = *given;
  if (schema.contains("type") && schema["type"] != "object")
    refuseField(name + ".type", "is " + shown(schema["type"]) + ", not \"object\"");
  schema["type"] = "object";
  return dumped(schema);
}

/// A function. What else there is of it the template may read.
ToolFunction readFunction(Fields &function) {
  ToolFunction result;
  result.name = requireText(function.require("name"), function.path("name"));
  checkName(result.name, function.path("name"));
  function.text("description"); // for the model
  result.strict = function.boolean("strict", false);
  result.schema = readParameters(function);
  result.field = function.path("parameters");
  return result;
}

ToolFunction readTool(const Json &given, const std::string &name, bool chat) {
  Fields tool(given, name + ".");
  const std::string &type = requireText(tool.require("type"), tool.path("type"));
  if (type != "function")
    refuseField(tool.path("type"), "is " + shown(type) + ", not \"function\"");
  if (!chat) // the responses' are flat
    return readFunction(tool);
  Fields function(tool.require("function"), tool.path("function") + ".");
  tool.finish();
  return readFunction(function);
}

/// Which functions may be called, or must be.
void readToolChoice(ToolUse &tools, const Json &choice, bool chat) {
  tools.choice = choice;
  if (choice == "none")
    return tools.functions.clear();
  tools.required = choice != "auto";
  if (choice == "auto" || choice == "required")
    return;
  const char *wanted = "\"none\", \"auto\", \"required\" or an object that names a function";
  if (!choice.is_object())
    refuseField("tool_choice", "is " + shown(choice) + ", not " + wanted);
  Fields fields(choice, "tool_choice.");
  if (const std::string &type = requireText(fields.require("type"), fields.path("type"));
      type != "function")
    refuseField(fields.path("type"), "is " + shown(type) + ", not \"function\"",
                "unsupported_parameter");
  std::string name;
  if (chat) {
    Fields function(fields.require("function"), fields.path("function") + ".");
    name = requireText(function.require("name"), function.path("name"));
    function.finish();
  } else {
    name = requireText(fields.require("name"), fields.path("name"));
  }
  fields.finish();
  std::erase_if(tools.functions, [&](const ToolFunction &f) { return f.name != name; });
  if (tools.functions.empty())
    refuseField("tool_choice", "names " + shown(name) + ", which tools does not have");
}

/// The functions that a model may call.
ToolUse readTools(Fields &fields, bool chat) {
  ToolUse tools;
  const Json *given = fields.find("tools"), *choice = fields.find("tool_choice");
  tools.parallel = fields.boolean("parallel_tool_calls", true);
  if (given && !given->is_array())
    refuseField("tools", "is " + shown(*given) + ", not a list");
  for (size_t i = 0; given && i < given->size(); ++i) {
    tools.functions.push_back(readTool((*given)[i], indexed("tools", i), chat));
    for (size_t j = 0; j < i; ++j)
      if (tools.functions[j].name == tools.functions[i].name)
        refuseField(indexed("tools", i),
                    "has the name " + shown(tools.functions[i].name) + ", which another has too");
  }
  if (given)
    tools.given = *given;
  if (tools.functions.empty() && choice && *choice != "none" && *choice != "auto")
    refuseField("tool_choice", "is " + shown(*choice) + ", but tools has no function");
  readToolChoice(tools, choice ? *choice : Json("auto"), chat);
  return tools;
}

/// As templates get them; empty: none.
std::string toolsOfTemplate(const ToolUse &tools, bool chat) {
  if (tools.functions.empty())
    return {};
  if (chat)
    return dumped(tools.given);
  Json list = Json::array();
  for (Json tool : tools.given) {
    tool.erase("type");
    list.push_back({{"type", "function"}, {"function", std::move(tool)}});
  }
  return dumped(list);
}

/// A template's switches, as it gets them; empty: none.
std::string readVariables(Fields &fields) {
  const Json *variables = fields.find("chat_template_kwargs");
  if (variables && !variables->is_object())
    refuseField("chat_template_kwargs", "is " + shown(*variables) + ", not an object");
  return variables ? dumped(*variables) : std::string();
}

/// All that a template reads.
Conversation readConversation(Fields &fields, ToolUse &tools) {
  Conversation conversation;
  conversation.messages = readMessages(fields.require("messages"));
  tools = readTools(fields, true);
  conversation.tools = toolsOfTemplate(tools, true);
  if (const Json *documents = fields.find("documents")) {
    if (!documents->is_array())
      refuseField("documents", "is " + shown(*documents) + ", not a list");
    conversation.documents = dumped(*documents);
  }
  conversation.variables = readVariables(fields);
  return conversation;
}

/// The text of an item's content: a text, or parts of which each is one.
std::string readInputText(const Json &content, const std::string &name) {
  if (!content.is_array())
    return requireText(content, name);
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    Fields part(content[i], indexed(name, i) + ".");
    const std::string &type = requireText(part.require("type"), part.path("type"));
    if (type != "input_text" && type != "output_text")
      refuseField(part.path("type"),
                  "is " + shown(type) + ", which is not supported: this model reads text only",
                  "unsupported_parameter");
    text += requireText(part.require("text"), part.path("text"));
    for (const char *empty : {"annotations", "logprobs"}) // as answers that are sent back have them
      part.unsupported(empty, Json::array(), "leave it out");
    part.finish();
  }
  return text;
}

/// A call that an answer made, as a message of its own or as one more of the message before.
void readInputCall(Fields &fields, Json &messages) {
  Json call = {{"id", requireText(fields.require("call_id"), fields.path("call_id"))},
               {"type", "function"}};
  call["function"] = {
      {"name", requireText(fields.require("name"), fields.path("name"))},
      {"arguments", readArguments(fields.require("arguments"), fields.path("arguments"))}};
  for (const char *ignored : {"id", "status", "caller", "namespace"})
    fields.text(ignored);
  if (messages.empty() || messages.back()["role"] != "assistant")
    messages.push_back({{"role", "assistant"}, {"content", ""}});
  messages.back()["tool_calls"].push_back(std::move(call));
}

/// What a function gave back.
void readInputResult(Fields &fields, Json &messages) {
  const std::string &id = requireText(fields.require("call_id"), fields.path("call_id"));
  Json message = {{"role", "tool"}, {"tool_call_id", id}};
  message["content"] = readInputText(fields.require("output"), fields.path("output"));
  for (const char *ignored : {"id", "status"})
    fields.text(ignored);
  for (const Json &earlier : messages)
    for (const Json &call : earlier.value("tool_calls", Json::array()))
      if (call["id"] == id)
        message["name"] = call["function"]["name"];
  if (!message.contains("name"))
    refuseField(fields.path("call_id"), "is " + shown(id) + ", which no function_call before has");
  messages.push_back(std::move(message));
}

/// Adds an item of `input` to the messages for templates.
void readInputItem(const Json &item, const std::string &name, Json &messages) {
  Fields fields(item, name + ".");
  const std::string type = fields.text("type").value_or("message");
  if (type == "function_call" || type == "function_call_output") {
    (type == "function_call" ? readInputCall : readInputResult)(fields, messages);
    return fields.finish();
  }
  if (type != "message")
    refuseField(fields.path("type"),
                "is " + shown(type) +
                    ", which is not supported: give messages, function_call and "
                    "function_call_output",
                "unsupported_parameter");
  const std::string &role = requireText(fields.require("role"), fields.path("role"));
  if (role != "user" && role != "assistant" && role != "system" && role != "developer")
    refuseField(fields.path("role"),
                "is " + shown(role) + ", not user, assistant, system or developer");
  for (const char *ignored : {"id", "status", "phase"}) // of answers that are sent back
    fields.text(ignored);
  const std::string text = readInputText(fields.require("content"), fields.path("content"));
  fields.finish();
  messages.push_back({{"role", role == "developer" ? "system" : role}, {"content", text}});
}

std::string readInput(const Json &input, const std::string &instructions) {
  Json messages = Json::array();
  if (!instructions.empty())
    messages.push_back({{"role", "system"}, {"content", instructions}});
  if (input.is_string()) {
    messages.push_back({{"role", "user"}, {"content", input}});
    return dumped(messages);
  }
  if (!input.is_array() || input.empty())
    refuseField("input", "is " + std::string(input.is_array() ? "empty" : shown(input)) +
                             ", not a text or a list of messages");
  for (size_t i = 0; i < input.size(); ++i)
    readInputItem(input[i], indexed("input", i), messages);
  return dumped(messages);
}

/// Notes of the client's, of which nothing is read: up to 16 texts.
std::string readMetadata(Fields &fields) {
  const Json *field = fields.find("metadata");
  if (!field)
    return "{}";
  if (!field->is_object() || field->size() > 16)
    refuseField("metadata", "is " + shown(*field) + ", not an object of at most 16 texts");
  for (const auto &[name, value] : field->items())
    requireText(value, "metadata." + name);
  return dumped(*field);
}

std::vector<Prompt> readPrompts(const Json &field) {
  if (field.is_string())
    return {field.get<std::string>()};
  if (!field.is_array() || field.empty())
    refuseField("prompt", "is " + std::string(field.is_array() ? "empty" : shown(field)) +
                              ", not a text, tokens, or a list of those");
  if (field[0].is_number())
    return {requireTokens(field, "prompt")};
  std::vector<Prompt> prompts;
  for (size_t i = 0; i < field.size(); ++i) {
    const std::string name = indexed("prompt", i);
    if (field[i].is_array())
      prompts.push_back(requireTokens(field[i], name));
    else
      prompts.push_back(requireText(field[i], name));
  }
  return prompts;
}

} // namespace

CompletionRequest parseCompletion(std::string_view body, const RequestLimits &limits) {
  const Json object = parseBody(body);
  Fields fields(object);
  CompletionRequest request;
  request.generation = readGeneration(fields, limits);
  Generation &generation = request.generation;
  generation.echo = fields.boolean("echo", false);
  // OpenAI's default. With an echo, a prompt alone may be wanted.
  generation.maxTokens =
      fields.whole("max_tokens", generation.echo ? 0 : 1, kMostTokens).value_or(16);
  if (auto top = fields.whole("logprobs", 0, kMostTop))
    generation.top = int(*top);
  fields.unsupported("suffix", "", "leave it out");
  request.prompts = readPrompts(fields.require("prompt"));
  fields.finish();
  const size_t choices = request.prompts.size() * request.generation.choices;
  if (choices > limits.choices)
    refuseField("n", "and the number of prompts make " + std::to_string(choices) +
                         " answers, more than " + std::to_string(limits.choices));
  return request;
}

ChatRequest parseChat(std::string_view body, const RequestLimits &limits) {
  const Json object = parseBody(body);
  Fields fields(object);
  ChatRequest request;
  request.generation = readGeneration(fields, limits);
  if (auto most = fields.whole("max_tokens", 1, kMostTokens))
    request.generation.maxTokens = *most;
  if (auto most = fields.whole("max_completion_tokens", 1, kMostTokens)) {
    if (request.generation.maxTokens && *request.generation.maxTokens != *most)
      refuseField("max_completion_tokens", "and max_tokens differ: give one of them");
    request.generation.maxTokens = *most;
  }
  if (fields.boolean("logprobs", false))
    request.generation.top = 0;
  if (auto top = fields.whole("top_logprobs", 0, kMostTop)) {
    if (request.generation.top < 0 && *top > 0)
      refuseField("top_logprobs", "is given though logprobs is not true");
    request.generation.top = request.generation.top < 0 ? -1 : int(*top);
  }
  fields.unsupported("functions", Json::array(), "use tools");
  fields.unsupported("function_call", nullptr, "use tool_choice");
  fields.unsupported("reasoning_effort", nullptr, "give it in chat_template_kwargs");
  fields.unsupported("store", false, "leave it out or give false");
  request.conversation = readConversation(fields, request.tools);
  fields.finish();
  return request;
}

ResponseRequest parseResponse(std::string_view body) {
  const Json object = parseBody(body);
  Fields fields(object);
  ResponseRequest request;
  request.generation = readGeneration(fields, {1});
  if (auto most = fields.whole("max_output_tokens", 1, kMostTokens))
    request.generation.maxTokens = *most;
  request.instructions = fields.text("instructions").value_or("");
  request.metadata = readMetadata(fields);
  request.conversation.messages = readInput(fields.require("input"), request.instructions);
  request.conversation.variables = readVariables(fields);
  request.tools = readTools(fields, false);
  request.conversation.tools = toolsOfTemplate(request.tools, false);
  const char *whole = "nothing is stored here: give the whole conversation in input";
  fields.unsupported("store", false, "answers are not stored: leave it out or give false");
  fields.unsupported("previous_response_id", nullptr, whole);
  fields.unsupported("conversation", nullptr, whole);
  fields.unsupported("background", false, "leave it out or give false");
  fields.unsupported("truncation", "disabled", "a prompt is never cut: leave it out");
  fields.unsupported("include", Json::array(), "leave it out");
  fields.unsupported("top_logprobs", 0, "ask /v1/chat/completions for them");
  fields.unsupported("reasoning", nullptr, "give it in chat_template_kwargs");
  if (const Json *text = fields.find("text")) {
    Fields inner(*text, "text.");
    if (std::optional<Constraint> format = readFormat(inner.find("format"), "text.format", true)) {
      if (request.generation.constraint)
        refuseField("text.format", "and " + request.generation.constraint->field +
                                       " both say what the answer may be: give one of them");
      request.generation.constraint = std::move(format);
      request.format = dumped((*text)["format"]);
    }
    inner.unsupported("verbosity", nullptr, "leave it out");
    inner.finish();
  }
  for (const char *ignored : {"safety_identifier", "prompt_cache_key"}) // they change no answer
    fields.text(ignored);
  fields.finish();
  return request;
}

TokenizeRequest parseTokenize(std::string_view body) {
  const Json object = parseBody(body);
  Fields fields(object);
  TokenizeRequest request;
  request.model = fields.text("model").value_or("");
  ToolUse tools;
  if (fields.find("messages"))
    request.conversation = readConversation(fields, tools);
  else
    request.text = requireText(fields.require("prompt"), "prompt");
  request.withPieces = fields.boolean("return_token_strs", false);
  if (!request.conversation) // a template writes its special tokens itself
    request.addSpecial = fields.boolean("add_special_tokens", true);
  fields.finish();
  return request;
}

DetokenizeRequest parseDetokenize(std::string_view body) {
  const Json object = parseBody(body);
  Fields fields(object);
  DetokenizeRequest request;
  request.model = fields.text("model").value_or("");
  const Json &tokens = fields.require("tokens");
  if (!tokens.is_array())
    refuseField("tokens", "is " + shown(tokens) + ", not a list");
  request.tokens = requireTokens(tokens, "tokens");
  fields.finish();
  return request;
}

TemplateRequest parseTemplate(std::string_view body) {
  const Json object = parseBody(body);
  Fields fields(object);
  TemplateRequest request;
  request.model = fields.text("model").value_or("");
  ToolUse tools;
  request.conversation = readConversation(fields, tools);
  fields.finish();
  return request;
}

} // namespace retort::server
