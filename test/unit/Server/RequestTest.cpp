//===- RequestTest.cpp - Bodies of requests -------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/Request.h"
#include "runtime/server/Fields.h"
#include <gmock/gmock.h>

namespace retort::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const RequestLimits kLimits = {8};

/// "PARAM CODE: MESSAGE" of what a body is refused with, "" if it is taken.
template <class Parse> std::string refusal(Parse parse, const std::string &body) {
  try {
    parse(body);
    return {};
  } catch (const ApiError &error) {
    EXPECT_EQ(error.status, 400);
    EXPECT_EQ(error.message.find('\n'), std::string::npos);
    return error.param + " " + error.code + ": " + error.message;
  }
}
std::string chatRefusal(const std::string &fields) {
  return refusal([](const std::string &body) { return parseChat(body, kLimits); },
                 R"({"messages": [{"role": "user", "content": "hi"}])" +
                     (fields.empty() ? "" : ", " + fields) + "}");
}
std::string completionRefusal(const std::string &fields) {
  return refusal([](const std::string &body) { return parseCompletion(body, kLimits); },
                 R"({"prompt": "hi")" + (fields.empty() ? "" : ", " + fields) + "}");
}
std::string messagesRefusal(const std::string &messages) {
  return refusal([](const std::string &body) { return parseChat(body, kLimits); },
                 R"({"messages": )" + messages + "}");
}

TEST(Request, DefaultsAreOpenAIs) {
  const ChatRequest chat =
      parseChat(R"({"messages": [{"role": "user", "content": "hi"}]})", kLimits);
  EXPECT_EQ(chat.generation.temperature, 1);
  EXPECT_EQ(chat.generation.topP, 1);
  EXPECT_EQ(chat.generation.choices, 1u);
  EXPECT_FALSE(chat.generation.maxTokens);
  EXPECT_FALSE(chat.generation.seed);
  EXPECT_FALSE(chat.generation.stream);
  EXPECT_EQ(*parseCompletion(R"({"prompt": "hi"})", kLimits).generation.maxTokens, 16u);
}

TEST(Request, ReadsEveryField) {
  const ChatRequest chat = parseChat(
      R"({"model": "m", "messages": [{"content": "hi", "role": "user"}], "temperature": 0.5,
          "top_p": 0.25, "top_k": 7, "seed": 18446744073709551615, "n": 3, "max_tokens": 9,
          "max_completion_tokens": 9, "stop": ["a", "b"], "ignore_eos": true, "stream": true,
          "stream_options": {"include_usage": true}, "user": "somebody",
          "min_p": 0.125, "repetition_penalty": 1.5, "presence_penalty": -1.5,
          "frequency_penalty": 2, "logit_bias": {"17": -100, "3": 0.5},
          "tools": [{"type": "function", "function": {"name": "f", "a": 1}}], "tool_choice": "auto",
          "documents": [{"text": "t"}], "chat_template_kwargs": {"think": false}})",
      kLimits);
  const Generation &g = chat.generation;
  EXPECT_EQ(g.model, "m");
  EXPECT_EQ(g.temperature, 0.5f);
  EXPECT_EQ(g.topP, 0.25f);
  EXPECT_EQ(g.topK, 7u);
  EXPECT_EQ(*g.seed, UINT64_MAX);
  EXPECT_EQ(g.choices, 3u);
  EXPECT_EQ(*g.maxTokens, 9u);
  EXPECT_THAT(g.stops, ElementsAre("a", "b"));
  EXPECT_TRUE(g.ignoreEos && g.stream && g.includeUsage);
  EXPECT_EQ(g.minP, 0.125f);
  EXPECT_EQ(g.repetitionPenalty, 1.5f);
  EXPECT_EQ(g.presencePenalty, -1.5f);
  EXPECT_EQ(g.frequencyPenalty, 2.0f);
  ASSERT_EQ(g.bias.size(), 2u);
  EXPECT_TRUE(g.bias[0].token == 17 && g.bias[0].bias == -100);
  EXPECT_TRUE(g.bias[1].token == 3 && g.bias[1].bias == 0.5f);
  // Keys keep their order: templates write objects as they came.
  EXPECT_EQ(chat.conversation.messages, R"([{"content":"hi","role":"user"}])");
  EXPECT_EQ(chat.conversation.tools, R"([{"type":"function","function":{"name":"f","a":1}}])");
  ASSERT_EQ(chat.tools.functions.size(), 1u);
  EXPECT_EQ(chat.tools.functions[0].name, "f");
  EXPECT_TRUE(chat.tools.parallel && !chat.tools.required);
  EXPECT_EQ(chat.conversation.documents, R"([{"text":"t"}])");
  EXPECT_EQ(chat.conversation.variables, R"({"think":false})");
}

TEST(Request, PromptsAreTextsOrTokens) {
  const auto prompts = [](const std::string &prompt) {
    return parseCompletion(R"({"prompt": )" + prompt + "}", kLimits).prompts;
  };
  EXPECT_THAT(prompts(R"("a")"), ElementsAre(Prompt("a")));
  EXPECT_THAT(prompts(R"(["a", "b"])"), ElementsAre(Prompt("a"), Prompt("b")));
  EXPECT_THAT(prompts("[1, 2]"), ElementsAre(Prompt(std::vector<int32_t>{1, 2})));
  EXPECT_THAT(prompts("[[1], [2]]"),
              ElementsAre(Prompt(std::vector<int32_t>{1}), Prompt(std::vector<int32_t>{2})));
  for (const char *bad :
       {"3", "[]", "{}", "[[1], 2]", "[1, \"a\"]", "[-1]", "[1.5]", "[3000000000]"})
    EXPECT_THAT(refusal([](const std::string &body) { return parseCompletion(body, kLimits); },
                        std::string(R"({"prompt": )") + bad + "}"),
                HasSubstr("prompt"))
        << bad;
}

TEST(Request, NullIsAbsent) {
  EXPECT_EQ(chatRefusal(R"("temperature": null, "stop": null, "tools": null, "logit_bias": null,
                           "stream_options": null, "response_format": null, "n": null)"),
            "");
}

TEST(Request, WhatIsOutOfRangeNamesTheFieldAndTheRange) {
  const std::pair<const char *, const char *> cases[] = {
      {R"("temperature": -0.1)",
       "temperature invalid_value: temperature is -0.1, not a number from 0 to 100"},
      {R"("temperature": 100.5)", "from 0 to 100"},
      {R"("temperature": "1")", "temperature is \"1\", not a number"},
      {R"("top_p": 0)", "top_p is 0, not a number from 1e-06 to 1"},
      {R"("top_p": 1.1)", "from 1e-06 to 1"},
      {R"("top_k": -1)", "top_k is -1, not a whole number from 0 to"},
      {R"("top_k": 1.0)", "top_k"},
      {R"("seed": -1)", "seed is -1, not a whole number from 0 to 18446744073709551615"},
      {R"("n": 0)", "n is 0, not a whole number from 1 to 8"},
      {R"("n": 9)", "from 1 to 8"},
      {R"("max_tokens": 0)", "max_tokens is 0, not a whole number from 1 to 2147483647"},
      {R"("max_tokens": 1e3)", "max_tokens"},
      {R"("max_tokens": 1, "max_completion_tokens": 2)", "differ"},
      {R"("stop": "")", "stop has 0 bytes"},
      {R"("stop": ["a", 1])", "stop[1] is 1, not a string"},
      {R"("stop": "a\u0000b")", "without NUL"},
      {R"("stop": ["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"])",
       "stop has 17 texts, more than 16"},
      {R"("stream": 1)", "stream is 1, not true or false"},
      {R"("stream_options": {"include_usage": true})", "stream is not true"},
      {R"("stream": true, "stream_options": {"other": 1})", "stream_options.other is not known"},
      {R"("stream": true, "stream_options": [])", "stream_options is a list, not an object"},
      {R"("min_p": 1.5)", "min_p is 1.5, not a number from 0 to 1"},
      {R"("repetition_penalty": 0)", "not a number from 0.01 to 100"},
      {R"("presence_penalty": 2.5)", "not a number from -2 to 2"},
      {R"("frequency_penalty": -3)", "not a number from -2 to 2"},
      {R"("logit_bias": [1])", "logit_bias is a list, not an object of tokens"},
      {R"("logit_bias": {"x": 1})", "logit_bias has \"x\", not a token"},
      {R"("logit_bias": {"1.5": 1})", "not a token"},
      {R"("logit_bias": {"-1": 1})", "not a token"},
      {R"("logit_bias": {"99999999999": 1})", "not a token"},
      {R"("logit_bias": {"7": 101})", "logit_bias.7 is 101, not a number from -100 to 100"},
      {R"("user": 3)", "user is 3, not a string"},
      {R"("model": 3)", "model is 3, not a string"},
  };
  for (const auto &[fields, message] : cases)
    EXPECT_THAT(chatRefusal(fields), HasSubstr(message)) << fields;
}

TEST(Request, WhatIsNotThereIsRefusedAndItsNeutralValueTaken) {
  const std::pair<const char *, const char *> cases[] = {
      {R"("best_of": 2)", R"("best_of": 1)"},
  };
  for (const auto &[asks, neutral] : cases) {
    EXPECT_THAT(chatRefusal(asks), HasSubstr(" unsupported_parameter: ")) << asks;
    EXPECT_EQ(chatRefusal(neutral), "");
    EXPECT_THAT(completionRefusal(asks), HasSubstr(" unsupported_parameter: ")) << asks;
    EXPECT_EQ(completionRefusal(neutral), "");
  }
  for (const char *asks : {R"("functions": [1])", R"("function_call": "auto")",
                           R"("reasoning_effort": "low")", R"("store": true)"})
    EXPECT_THAT(chatRefusal(asks), HasSubstr(" unsupported_parameter: ")) << asks;
  EXPECT_THAT(completionRefusal(R"("suffix": "a")"), HasSubstr(" unsupported_parameter: "));
}

TEST(Request, WhatAnAnswerMayBe) {
  const auto constraintOf = [](const std::string &fields) {
    return parseCompletion(R"({"prompt": "hi", )" + fields + "}", kLimits).generation.constraint;
  };
  EXPECT_FALSE(constraintOf(R"("response_format": {"type": "text"})"));
  EXPECT_FALSE(constraintOf(R"("structured_outputs": null)"));
  const struct {
    const char *fields;
    retort_grammar_kind kind;
    const char *text, *field;
  } taken[] = {
      {R"("response_format": {"type": "json_object"})", RETORT_GRAMMAR_JSON_SCHEMA,
       R"({"type": "object"})", "response_format"},
      {R"("response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true,
          "description": "d", "schema": {"b": 1, "a": 2}}})",
       RETORT_GRAMMAR_JSON_SCHEMA, R"({"b":1,"a":2})", "response_format.json_schema.schema"},
      {R"("structured_outputs": {"json": {"type": "null"}})", RETORT_GRAMMAR_JSON_SCHEMA,
       R"({"type":"null"})", "structured_outputs.json"},
      {R"("structured_outputs": {"json": "true"})", RETORT_GRAMMAR_JSON_SCHEMA, "true",
       "structured_outputs.json"},
      {R"("structured_outputs": {"json_object": true})", RETORT_GRAMMAR_JSON_SCHEMA,
       R"({"type": "object"})", "structured_outputs.json_object"},
      {R"("structured_outputs": {"regex": "a+"})", RETORT_GRAMMAR_REGEX, "a+",
       "structured_outputs.regex"},
      {R"("structured_outputs": {"choice": ["a", "b"]})", RETORT_GRAMMAR_CHOICE, R"(["a","b"])",
       "structured_outputs.choice"},
  };
  for (const auto &[fields, kind, text, field] : taken) {
    const std::optional<Constraint> constraint = constraintOf(fields);
    ASSERT_TRUE(constraint) << fields;
    EXPECT_EQ(constraint->kind, kind) << fields;
    EXPECT_EQ(constraint->text, text) << fields;
    EXPECT_EQ(constraint->field, field) << fields;
  }
  const std::pair<const char *, const char *> refused[] = {
      {R"("response_format": {})", "response_format.type is missing"},
      {R"("response_format": {"type": "xml"})", "response_format.type is \"xml\", not"},
      {R"("response_format": {"type": "json_schema"})", "response_format.json_schema is missing"},
      {R"("response_format": {"type": "json_schema", "json_schema": {"schema": {}}})",
       "response_format.json_schema.name is missing"},
      {R"("response_format": {"type": "json_schema", "json_schema": {"name": "n"}})",
       "response_format.json_schema.schema is missing"},
      {R"("response_format": {"type": "json_object", "schema": {}})",
       "response_format.schema is not known"},
      {R"("structured_outputs": {})", "structured_outputs has 0 of json, regex, choice"},
      {R"("structured_outputs": {"regex": "a", "choice": ["a"]})", "has 2 of json"},
      {R"("structured_outputs": {"grammar": "root ::= a"})",
       "structured_outputs.grammar is \"root ::= a\", which is not supported"},
      {R"("structured_outputs": {"regex": "a", "disable_any_whitespace": true})",
       "disable_any_whitespace is true, which is not supported"},
      {R"("guided_regex": "a")", "guided_regex is not known"},
      {R"("structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"})",
       "both say what the answer may be"},
  };
  for (const auto &[fields, message] : refused)
    EXPECT_THAT(chatRefusal(fields), HasSubstr(message)) << fields;
}

TEST(Request, Logprobs) {
  const auto topOf = [](const std::string &fields) {
    return parseChat(R"({"messages": [{"role": "user", "content": "hi"}])" + fields + "}", kLimits)
        .generation.top;
  };
  EXPECT_EQ(topOf(""), -1);
  EXPECT_EQ(topOf(R"(, "logprobs": false, "top_logprobs": 0)"), -1);
  EXPECT_EQ(topOf(R"(, "logprobs": true)"), 0);
  EXPECT_EQ(topOf(R"(, "logprobs": true, "top_logprobs": 20)"), 20);
  EXPECT_THAT(chatRefusal(R"("top_logprobs": 2)"), HasSubstr("logprobs is not true"));
  EXPECT_THAT(chatRefusal(R"("logprobs": true, "top_logprobs": 21)"), HasSubstr("from 0 to 20"));
  EXPECT_THAT(chatRefusal(R"("logprobs": 3)"), HasSubstr("not true or false"));
  const auto completion = [](const std::string &fields) {
    return parseCompletion(R"({"prompt": "a")" + fields + "}", kLimits).generation;
  };
  EXPECT_EQ(completion("").top, -1);
  EXPECT_EQ(completion(R"(, "logprobs": 0)").top, 0);
  EXPECT_EQ(completion(R"(, "logprobs": 5, "echo": true, "max_tokens": 0)").top, 5);
  EXPECT_EQ(completion(R"(, "echo": true, "max_tokens": 0)").maxTokens, 0u);
  EXPECT_THAT(completionRefusal(R"("max_tokens": 0)"), HasSubstr("max_tokens"));
  EXPECT_THAT(completionRefusal(R"("logprobs": true)"), HasSubstr("from 0 to 20"));
  EXPECT_THAT(chatRefusal(R"("echo": true)"), HasSubstr("echo unknown_parameter"));
}

TEST(Request, WhatIsUnknownIsRefusedByName) {
  EXPECT_THAT(chatRefusal(R"("warmth": 1)"), HasSubstr("warmth unknown_parameter: "));
  EXPECT_THAT(completionRefusal(R"("messages": [])"), HasSubstr("messages unknown_parameter: "));
  EXPECT_THAT(chatRefusal(R"("a\nb": null)"), HasSubstr(R"(a\nb unknown_parameter)"));
}

TEST(Request, MessagesAreChecked) {
  const std::pair<const char *, const char *> cases[] = {
      {"[]", "messages is empty"},
      {R"("hi")", "not a list of messages"},
      {"[1]", "messages[0] is 1, not an object"},
      {R"([{"content": "a"}])", "messages[0].role is missing"},
      {R"([{"role": 1, "content": "a"}])", "messages[0].role is 1, not a string"},
      {R"([{"role": "user"}])", "messages[0].content is missing"},
      {R"([{"role": "user", "content": 3}])", "messages[0].content is 3"},
      {R"([{"role": "user", "content": "a", "img": 1}])", "messages[0].img is not known"},
      {R"([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": ""}}]}])",
       "messages[0].content[0].type is \"image_url\", which is not supported"},
      {R"([{"role": "user", "content": [{"type": "text"}]}])", "content[0].text is missing"},
      {R"([{"role": "assistant", "tool_calls": [{"function": {}}]}])",
       "tool_calls[0].function.name is missing"},
      {R"([{"role": "assistant", "content": "a", "audio": {}}])", "messages[0].audio"},
  };
  for (const auto &[messages, message] : cases)
    EXPECT_THAT(messagesRefusal(messages), HasSubstr(message)) << messages;
  EXPECT_EQ(messagesRefusal(R"([{"role": "assistant", "content": null, "refusal": null,
      "annotations": [], "tool_calls": [{"id": "1", "type": "function", "index": 0,
      "function": {"name": "f", "arguments": "{}"}}]},
      {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "a"}]}])"),
            "");
}

TEST(Request, ToolsOfNoUseAreNotGivenToTheTemplate) {
  const auto tools = [](const std::string &choice) {
    return parseChat(R"({"messages": [{"role": "user", "content": "a"}], "tools":
                        [{"type": "function", "function": {"name": "f"}}], "tool_choice": )" +
                         choice + "}",
                     kLimits)
        .conversation.tools;
  };
  EXPECT_EQ(tools("\"none\""), "");
  EXPECT_NE(tools("\"auto\""), "");
}

TEST(Request, ToolsAreChecked) {
  const auto f = [](const std::string &more) {
    return R"("tools": [{"type": "function", "function": {"name": "f")" + more + "}}]";
  };
  const auto read = [&](const std::string &fields) {
    return parseChat(R"({"messages": [{"role": "user", "content": "a"}], )" + fields + "}", kLimits)
        .tools;
  };
  const ToolUse plain = read(f(""));
  EXPECT_EQ(plain.functions[0].schema, R"({"type": "object", "additionalProperties": false})");
  const ToolUse named = read(
      f(R"(, "strict": true, "parameters": {"properties": {}})") +
      R"(, "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": false)");
  EXPECT_EQ(named.functions[0].schema, R"({"properties":{},"type":"object"})");
  EXPECT_EQ(named.functions[0].field, "tools[0].function.parameters");
  EXPECT_TRUE(named.functions[0].strict && named.required && !named.parallel);
  EXPECT_TRUE(read(f("") + R"(, "tool_choice": "required")").required);
  const std::pair<std::string, const char *> cases[] = {
      {R"("tools": [{"type": "web"}])", "tools[0].type is \"web\""},
      {R"("tools": {})", "tools is an object, not a list"},
      {R"("tools": [{"type": "function", "function": {"name": "a b"}}])",
       "tools[0].function.name is \"a b\", not 1 to 64"},
      {f(R"(, "parameters": {"type": "array"})"), "parameters.type is \"array\", not \"object\""},
      {f(R"(, "parameters": [])"), "parameters is a list, not a JSON Schema"},
      {f(R"(, "strict": 1)"), "tools[0].function.strict is 1"},
      {R"("tools": [{"type": "function", "function": {"name": "f"}},
                    {"type": "function", "function": {"name": "f"}}])",
       "tools[1] has the name \"f\", which another has"},
      {R"("tool_choice": "required")", "tool_choice is \"required\", but tools has no function"},
      {f("") + R"(, "tool_choice": "any")", "tool_choice is \"any\", not \"none\", \"auto\""},
      {f("") + R"(, "tool_choice": {"type": "custom"})", "tool_choice.type is \"custom\""},
      {f("") + R"(, "tool_choice": {"type": "function", "function": {"name": "g"}})",
       "tool_choice names \"g\", which tools does not have"},
  };
  for (const auto &[fields, message] : cases)
    EXPECT_THAT(chatRefusal(fields), HasSubstr(message)) << fields;
}

TEST(Request, TemplatesGetTheArgumentsOfCallsAsObjects) {
  const auto messages = [](const std::string &arguments) {
    return R"([{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": )" +
           arguments + "}}]}]";
  };
  const auto read = [&](const std::string &arguments) {
    const Json all = Json::parse(
        parseChat(R"({"messages": )" + messages(arguments) + "}", kLimits).conversation.messages);
    return all[0]["tool_calls"][0]["function"]["arguments"].dump();
  };
  EXPECT_EQ(read(R"("{\"b\": 1, \"a\": {}}")"), R"({"b":1,"a":{}})");
  EXPECT_EQ(read(R"({"a": 1})"), R"({"a":1})");
  EXPECT_EQ(read(R"("")"), "{}");
  const std::string deep = "\"" + std::string(200, '[') + "\"";
  for (const std::string &bad :
       {std::string("3"), std::string("\"[1]\""), std::string("\"{\""), deep})
    EXPECT_THAT(messagesRefusal(messages(bad)), HasSubstr("function.arguments is ")) << bad;
}

TEST(Request, JsonIsChecked) {
  const std::string deep = std::string(100, '[') + std::string(100, ']');
  for (const std::string &body :
       {std::string(), std::string("{"), std::string("[]"), std::string("{}x"), std::string("\xff"),
        std::string(R"({"a": 1, "a": 2})"), R"({"a": )" + deep + "}",
        std::string(R"({"prompt": "\ud800"})"), std::string(R"({"n": 1e999})"),
        std::string("{\"prompt\": \"a\0b\"}", 17)})
    EXPECT_THAT(refusal([](const std::string &b) { return parseCompletion(b, kLimits); }, body),
                HasSubstr(" invalid_json: "))
        << body;
}

TEST(Request, AnswersOfAllPromptsAreBounded) {
  EXPECT_THAT(refusal([](const std::string &b) { return parseCompletion(b, kLimits); },
                      R"({"prompt": ["a", "b", "c"], "n": 3})"),
              HasSubstr("make 9 answers, more than 8"));
}

TEST(Request, Responses) {
  const auto parse = [](const std::string &body) { return parseResponse(body); };
  EXPECT_EQ(parse(R"({"input": "hi"})").conversation.messages,
            R"([{"role":"user","content":"hi"}])");
  const ResponseRequest request = parse(
      R"({"instructions": "be brief", "max_output_tokens": 7, "metadata": {"a": "b"}, "store": false,
          "input": [{"role": "developer", "content": "d"},
                    {"type": "message", "role": "user",
                     "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
                    {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed",
                     "content": [{"type": "output_text", "text": "c", "annotations": [], "logprobs": []}]}],
          "text": {"format": {"type": "text"}}, "truncation": "disabled", "tools": [], "temperature": 0})");
  EXPECT_EQ(request.conversation.messages,
            R"([{"role":"system","content":"be brief"},{"role":"system","content":"d"},)"
            R"({"role":"user","content":"ab"},{"role":"assistant","content":"c"}])");
  EXPECT_EQ(request.metadata, R"({"a":"b"})");
  EXPECT_EQ(*request.generation.maxTokens, 7u);
  const std::pair<const char *, const char *> cases[] = {
      {R"("input": 3)", "input invalid_value: input is 3, not a text or a list of messages"},
      {R"("input": [])", "is empty, not a text"},
      {R"("input": [{"role": "tool", "content": "x"}])", "input[0].role is \"tool\""},
      {R"("input": [{"type": "reasoning"}])", "input[0].type"},
      {R"("input": [{"type": "function_call_output", "call_id": "c", "output": "x"}])",
       "input[0].call_id is \"c\", which no function_call before has"},
      {R"("input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "x"}])",
       "input[0].arguments is \"x\""},
      {R"("input": [{"role": "user", "content": [{"type": "input_image"}]}])", "reads text only"},
      {R"("input": "a", "store": true)", "answers are not stored"},
      {R"("input": "a", "previous_response_id": "resp_1")", "give the whole conversation"},
      {R"("input": "a", "tools": [{"type": "web_search"}])", "tools"},
      {R"("input": "a", "truncation": "auto")", "never cut"},
      {R"("input": "a", "n": 2)", "from 1 to 1"},
      {R"("input": "a", "max_tokens": 2)", "max_tokens is not known"},
      {R"("input": "a", "metadata": {"a": 1})", "metadata.a is 1, not a string"},
      {R"("input": "a", "text": {"format": {"type": "grammar"}})", "text.format.type"},
      {R"("input": "a", "text": {"format": {"type": "json_object"}},
          "response_format": {"type": "json_object"})",
       "text.format and response_format both"}};
  for (const auto &[fields, message] : cases)
    EXPECT_THAT(refusal(parse, "{" + std::string(fields) + "}"), HasSubstr(message)) << fields;
}

TEST(Request, CallsOfResponses) {
  const ResponseRequest request = parseResponse(
      R"({"input": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"},
                    {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{\"x\":1}",
                     "status": "completed"},
                    {"type": "function_call", "call_id": "d", "name": "g", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "d", "output": "r"}],
          "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": false}],
          "tool_choice": {"type": "function", "name": "f"},
          "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "null"}}}})");
  EXPECT_EQ(request.conversation.messages,
            R"([{"role":"user","content":"a"},{"role":"assistant","content":"b","tool_calls":[)"
            R"({"id":"c","type":"function","function":{"name":"f","arguments":{"x":1}}},)"
            R"({"id":"d","type":"function","function":{"name":"g","arguments":{}}}]},)"
            R"({"role":"tool","tool_call_id":"d","content":"r","name":"g"}])");
  EXPECT_EQ(request.conversation.tools,
            R"([{"type":"function","function":{"name":"f","parameters":{},"strict":false}}])");
  EXPECT_TRUE(request.tools.required);
  EXPECT_EQ(request.generation.constraint->field, "text.format.schema");
}

TEST(Request, OtherEndpoints) {
  EXPECT_EQ(parseTokenize(R"({"prompt": "a", "add_special_tokens": false})").addSpecial, false);
  EXPECT_TRUE(parseTokenize(R"({"messages": [{"role": "user", "content": "a"}]})").conversation);
  EXPECT_THAT(refusal(parseTokenize, R"({"prompt": "a", "messages": []})"), HasSubstr("messages"));
  EXPECT_THAT(refusal(parseTokenize, "{}"), HasSubstr("prompt is missing"));
  EXPECT_THAT(parseDetokenize(R"({"tokens": [1, 2]})").tokens, ElementsAre(1, 2));
  EXPECT_THAT(refusal(parseDetokenize, R"({"tokens": 1})"), HasSubstr("tokens is 1, not a list"));
  EXPECT_THAT(refusal(parseTemplate, R"({"messages": [], "x": 1})"), HasSubstr("messages"));
}

TEST(Errors, AreOpenAIsObjects) {
  EXPECT_EQ((ApiError{400, "c", "m", "p"}.toJson()),
            R"({"error":{"message":"m","type":"invalid_request_error","param":"p","code":"c"}})");
  EXPECT_THAT((ApiError{429, "c", "m", {}}.toJson()),
              HasSubstr(R"("type":"rate_limit_error","param":null)"));
}

} // namespace
} // namespace retort::server
