//===- ToolsTest.cpp - Calls of functions ---------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/server/ToolCalls.h"
#include "test/unit/Runtime/TestBundle.h"
#include <gmock/gmock.h>

namespace retort::server {
namespace {

#define NAME "\"name\": \"' + c.function.name + '\""
#define ARGUMENTS "' + (c.function.arguments | tojson) + '"
#define EACH(text) "{%- for c in m.tool_calls %}{{- '" text "' }}{%- endfor %}"

/// What templates of that name have for calls.
struct Family {
  const char *name, *calls;
  bool several = true, ids = false;
};
const Family kFamilies[] = {
    {"Hermes and Qwen",
     EACH("\\n<tool_call>\\n{" NAME ", \"arguments\": " ARGUMENTS "}\\n</tool_call>")},
    {"Llama 3",
     "{%- if m.tool_calls | length != 1 %}{{ raise_exception('one') }}{%- endif %}" EACH(
         "{" NAME ", \"parameters\": " ARGUMENTS "}"),
     false},
    {"Mistral",
     "{{- '<|answer|>[' }}{%- for c in m.tool_calls %}{{- '{" NAME ", \"arguments\": " ARGUMENTS
     ", \"id\": \"' + c.id + '\"}' + ('' if loop.last else ', ') }}{%- endfor %}{{- ']' }}",
     true, true},
    {"Mistral Small",
     EACH("<|answer|>' + c.function.name + '[CALL_ID]' + c.id + '[ARGS]" ARGUMENTS), true, true},
    {"Kimi",
     "{{- '<|answer|>' }}{%- for c in m.tool_calls %}{{- '<call>functions.' + c.function.name + "
     "':' "
     "+ loop.index0 | string + '<args>" ARGUMENTS "</call>' }}{%- endfor %}{{- '</calls>' }}"},
    {"Functionary", EACH("<function=' + c.function.name + '>" ARGUMENTS "</function>")},
    {"DeepSeek",
     EACH("<|answer|>function<sep>' + c.function.name + '\\n```json\\n" ARGUMENTS "\\n```<end>")},
};

std::string templateOf(const std::string &calls) {
  return "{%- for m in messages %}{{- '<|user|>' + m.role + ':' }}{%- if m.tool_calls %}" + calls +
         "{%- else %}{{- m.content }}{%- endif %}{{- '<|end|>' }}{%- endfor %}"
         "{%- if add_generation_prompt %}{{- '<|user|>assistant:' }}{%- endif %}";
}

struct Tools : testing::Test {
  void open(const std::string &chatTemplate) {
    test::writeTestBundle(folder / "m.retort", test::testManifest(), 5000, true, true,
                          chatTemplate);
    model.emplace(folder / "m.retort");
    syntax = findToolSyntax(*model);
  }
  /// The answer's tokens with these calls, by the template.
  std::vector<int32_t> answer(const Json &calls) const {
    Json made = Json::array();
    for (const auto &[name, arguments] : calls.items())
      made.push_back({{"id", "abcDEF123"},
                      {"type", "function"},
                      {"function", {{"name", name}, {"arguments", arguments}}}});
    const Json message = {{"role", "assistant"}, {"content", ""}, {"tool_calls", made}};
    std::vector<int32_t> tokens =
        model->chatTokens(Conversation{Json::array({message}).dump()}, RETORT_NO_ANSWER);
    tokens.erase(tokens.begin(), tokens.begin() + 11); // <|user|>assistant:
    return tokens;
  }
  /// Name and arguments of each call, and the text before.
  std::pair<std::string, Json> parsed(std::string_view text, size_t step) const {
    ToolParser parser(*syntax);
    std::string content;
    Json calls = Json::array();
    for (; !text.empty(); text.remove_prefix(std::min(step, text.size()))) {
      std::vector<ToolPiece> pieces;
      parser.push(text.substr(0, step), content, pieces);
      for (const ToolPiece &piece : pieces)
        if (!piece.name.empty())
          calls.push_back({piece.name, ""});
        else
          calls.back()[1].get_ref<std::string &>() += piece.arguments;
    }
    parser.finish(content);
    EXPECT_EQ(parser.calls(), calls.size());
    return {content, calls};
  }
  test::TempFolder folder;
  std::optional<Model> model;
  std::optional<ToolSyntax> syntax;
};

const Json kTwo = {{"get", {{"a", "}]\"\\{\n"}, {"b", {1, {{"c", nullptr}}}}}},
                   {"get_all", Json::object()}};

TEST_F(Tools, SyntaxIsWhatTheTemplateWrites) {
  for (const Family &family : kFamilies) {
    SCOPED_TRACE(family.name);
    open(templateOf(family.calls));
    ASSERT_TRUE(syntax);
    EXPECT_EQ(syntax->between.has_value(), family.several);
    EXPECT_EQ(syntax->hasIds, family.ids);
    EXPECT_EQ(newCallId(*syntax).size(), family.ids ? 9u : 29u);
    Json calls = kTwo;
    if (!family.several)
      calls.erase("get_all");
    const std::vector<int32_t> tokens = answer(calls);
    // Special tokens of the syntax have a text, by which calls are found.
    Decoder decoder(*model);
    decoder.show(syntax->tokens);
    std::string text;
    for (int32_t token : tokens)
      text += decoder.push(token);
    text += decoder.finish();
    for (size_t step : {1, 2, 7, 1000}) {
      const auto [content, found] = parsed((syntax->onlyFirst ? "" : "text ") + text, step);
      EXPECT_EQ(content, syntax->onlyFirst ? "" : "text");
      Json again = Json::object();
      for (const Json &call : found)
        again[call[0].get<std::string>()] = Json::parse(call[1].get<std::string>());
      EXPECT_EQ(again, calls) << text;
    }
    EXPECT_EQ(parsed("words <tool {", 3).first, "words <tool {");
  }
}

TEST_F(Tools, GrammarTakesWhatTheTemplateWrites) {
  for (const Family &family : kFamilies) {
    SCOPED_TRACE(family.name);
    open(templateOf(family.calls));
    ASSERT_TRUE(syntax);
    Json calls = kTwo;
    if (!family.several)
      calls.erase("get_all");
    std::vector<int32_t> tokens = answer(calls);
    const auto space = [](int32_t token) { return token == '\n' || token == ' '; };
    tokens.erase(tokens.begin(), std::find_if_not(tokens.begin(), tokens.end(), space));
    ToolUse tools;
    const std::string any = R"({"type": "object"})";
    tools.functions = {
        {"get", any, false, ""}, {"get_all", any, false, ""}, {"put", any, false, ""}};
    const auto meets = [&](const std::vector<int32_t> &given) {
      const Constraint constraint = callsGrammar(*syntax, tools, std::nullopt);
      Matcher matcher(Grammar(*model, constraint.kind, constraint.text));
      return std::all_of(given.begin(), given.end(),
                         [&](int32_t t) { return matcher.accept(t); }) &&
             matcher.complete();
    };
    std::vector<int32_t> words = model->tokenize("in words");
    EXPECT_TRUE(meets(tokens));
    EXPECT_TRUE(meets(words));
    tools.required = true;
    EXPECT_TRUE(meets(tokens));
    EXPECT_FALSE(meets(words));
    tools.parallel = false;
    EXPECT_EQ(meets(tokens), !family.several);
    tools.functions.erase(tools.functions.begin());
    EXPECT_FALSE(meets(tokens)) << "get is not one of the functions";
  }
}

TEST_F(Tools, AnswersThatMeetAFormatMayCall) {
  open(templateOf(kFamilies[0].calls));
  ToolUse tools;
  tools.functions = {{"f", R"({"type": "object"})", false, ""}};
  const auto meets = [&](const Constraint &otherwise, const std::string &text) {
    const Constraint constraint = callsGrammar(*syntax, tools, otherwise);
    Matcher matcher(Grammar(*model, constraint.kind, constraint.text));
    for (int32_t token : model->tokenize(text))
      if (!matcher.accept(token))
        return false;
    return matcher.complete();
  };
  const std::string call = "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>";
  for (const Constraint &otherwise :
       {Constraint{RETORT_GRAMMAR_JSON_SCHEMA, R"({"const": 12})", ""},
        Constraint{RETORT_GRAMMAR_REGEX, "1[2]", ""},
        Constraint{RETORT_GRAMMAR_CHOICE, R"(["3", "12"])", ""}}) {
    EXPECT_TRUE(meets(otherwise, "12"));
    EXPECT_TRUE(meets(otherwise, call));
    EXPECT_FALSE(meets(otherwise, "13"));
  }
}

TEST_F(Tools, OtherSyntaxesAreNotGuessed) {
  for (const char *calls :
       {"", EACH("<call>' + c.function.name + '</call>"),
        EACH("<arg>' + c.function.arguments.key + '</arg>"),
        EACH("call ' + c.function.name + '" ARGUMENTS), EACH("<' + c.function.name + 's" ARGUMENTS),
        "{{ raise_exception('no calls') }}"}) {
    open(templateOf(calls));
    EXPECT_FALSE(syntax) << calls;
  }
  open(test::kTestTemplate);
  EXPECT_FALSE(syntax);
}

} // namespace
} // namespace retort::server
