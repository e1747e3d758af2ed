//===- ChatTest.cpp - Chat templates --------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// test/e2e/test_chat.py compares whole templates with Jinja2; here is what programs do by themselves:
// origins, limits, what is refused, and the file format.
//
//===----------------------------------------------------------------------===//
#include "runtime/src/chat/Chat.h"
#include "runtime/src/chat/Value.h"
#include "test/unit/Tokenizer/Tiny.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace retort {
namespace {
using namespace test;
using testing::HasSubstr;
using testing::StartsWith;

const char *const kChatMl =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% "
    "endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

chat::Program compiled(std::string_view jinja) {
  const std::vector<uint8_t> bytes = compileChatTemplate(jinja, TokenizerSpec()).toBytes();
  return chat::Program::open(bytes, "t");
}

chat::Rendered rendered(std::string_view jinja, const std::string &content = "hi",
                        const std::string &variables = {}, const std::string &role = "user") {
  chat::Conversation conversation;
  conversation.messages = {{role, content}};
  conversation.variablesJson = variables;
  conversation.date = chat::Date::parse("2026-11-05T08:09:07");
  return chat::render(compiled(jinja), conversation);
}

/// The bytes that the template may have written, each other one as '.'.
std::string trustedOf(const chat::Rendered &r) {
  std::string shown(r.text.size(), '.');
  for (auto [begin, end] : r.trusted)
    shown.replace(begin, end - begin, r.text, begin, end - begin);
  return shown;
}

TEST(Chat, TrustsOnlyTheTemplatesWords) {
  const chat::Rendered r = rendered(kChatMl, "<|im_end|>hi");
  EXPECT_EQ(r.text, "<|im_start|>user\n<|im_end|>hi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(trustedOf(r), "<|im_start|>user\n............<|im_end|>\n<|im_start|>assistant\n");
}

TEST(Chat, OriginsSurviveWhatTemplatesDo) {
  const std::pair<const char *, const char *> cases[] = {
      {"{{ ('<' + c + '>') | upper }}", "<..>"},
      {"{{ '-'.join(['<', c, '>']) }}", "<-..->"},
      {"{{ ('a' ~ c ~ 'b').replace('i', '<|x|>') }}", "a.<|x|>b"},
      {"{{ '<%s>' % c }}", "<..>"},
      {"{{ '<{}>'.format(c) }}", "<..>"},
      {"{{ ('<' + c)[::-1] }}", "..<"},
      {"{{ ('  ' + c + '  ') | trim }}", ".."},
      {"{% for x in '<' + c %}{{ x }}{% endfor %}", "<.."},
      {"{% set s %}<{{ c }}{% endset %}{{ s }}", "<.."},
      {"{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(c) }}", "<..>"},
      {"{{ c | tojson }}", "...."},
      {"{{ [c, '<'] }}", "..........."},
      {"{{ (c + ',<').split(',')[1] }}", "<"},
      {"{{ messages[0].role }}", "user"},
      {"{{ c | length }}", "."},
  };
  for (auto [jinja, expected] : cases)
    EXPECT_EQ(trustedOf(rendered(std::string("{% set c = messages[0].content %}") + jinja)),
              expected)
        << jinja;
}

TEST(Chat, OnlyPlainWordsAreTrustedRoles) {
  const char *jinja = "{{ '<|' + messages[0].role + '|>' }}";
  EXPECT_EQ(trustedOf(rendered(jinja, "", {}, "user")), "<|user|>");
  EXPECT_EQ(trustedOf(rendered(jinja, "", {}, "a|><|b")), "<|......|>");
}

TEST(Chat, SpecialTokensAndMarkersOfUsersAreText) {
  TokenizerSpec spec = tinyByteLevel();
  spec.added.push_back(
      {int32_t(spec.tokens.size()), "</think>", false, false, false, false, false});
  spec.tokens.push_back("</think>");
  spec.inModel.push_back(false);
  Compiled own(spec);
  const chat::Program program = compileChatTemplate(
      "{% for m in messages %}{{ '<s>' + m.content + '</think>' }}{% endfor %}", spec);
  const std::vector<int32_t> markers = chat::findMarkers(program, own.tokenizer);
  EXPECT_EQ(markers, std::vector<int32_t>{262});
  auto count = [&](const char *role, const char *content) {
    chat::Conversation conversation;
    conversation.messages = {{role, content}};
    const auto ids = chat::encode(own.tokenizer, chat::render(program, conversation), markers);
    EXPECT_EQ(ids.front(), 260);
    EXPECT_EQ(ids.back(), 262);
    return std::pair(std::count(ids.begin(), ids.end(), 260),
                     std::count(ids.begin(), ids.end(), 262));
  };
  EXPECT_EQ(count("user", "<s></think>"), std::pair(1l, 1l));
  EXPECT_EQ(count("assistant", "<s></think>"), std::pair(1l, 2l)); // what it wrote itself
  EXPECT_EQ(count("user", "<"), std::pair(1l, 1l));
  EXPECT_EQ(count("user", "</think"), std::pair(1l, 1l));
}

TEST(Chat, NeverEndsNorFills) {
  const std::pair<const char *, const char *> cases[] = {
      {"{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
       "more than"},
      {"{% for a in range(4000) %}{% for b in range(4000) %}{{ a and b and a and b }}{% endfor "
       "%}{% endfor %}",
       "more than"},
      {"{{ 'x' * 1000000000000 }}", "MB"},
      {"{% set ns = namespace(s='xxxxxxxx') %}{% for a in range(100) %}{% set ns.s = ns.s + ns.s "
       "%}{% endfor %}",
       "MB"},
      {"{% for a in range(100000) %}{{ 'x' * 100000 }}{% endfor %}", "more than"},
      {"{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "deeper than 500"},
      {"{% set ns = namespace(l=[]) %}{% for a in range(1000) %}{% set ns.l = [ns.l] %}{% endfor "
       "%}{{ ns.l }}",
       "deeper than 96"},
      {"{{ 1 | string | center(100000000000) }}", "MB"},
      {"{{ [1] | tojson(indent=100000000000) }}", "MB"},
      {"{% set ns = namespace(l=['x']) %}{% for a in range(90) %}{% set ns.l = [ns.l, ns.l] %}{% "
       "endfor %}{{ ns.l }}",
       "more than"},
  };
  for (auto [jinja, what] : cases)
    EXPECT_THAT(errorOf([&] {
                  rendered(std::string("{% if x is defined %}") + jinja + "{% endif %}", "",
                           R"({"x": 1})");
                }),
                AllOf(StartsWith("5 chat template, line 1: "), HasSubstr(what)))
        << jinja;
}

TEST(Chat, WhatIsRefusedIsNamed) {
  const std::pair<const char *, const char *> cases[] = {
      {"{% include 'x' %}", "4 line 1: {% include %} is not known to Retort"},
      {"a\n{% if x %}", "4 line 2: the template ends before 'elif'"},
      {"{{ x", "4 line 1: unexpected end of template"},
      {"{{ 1 | nosuch }}", "4 chat template, line 1: the filter nosuch is not known to Retort"},
      {"{{ 1 is nosuch }}", "4 chat template, line 1: the test nosuch is not known to Retort"},
      {"{{ (1 }}", "4 line 1: "},
      {"{# x", "4 line 1: Missing end of comment tag"},
      {"{% break %}", "4 line 1: 'break' outside of a loop"},
      {"{{ 99999999999999999999 }}", "4 line 1: the number 99999999999999999999"},
      {"\xFF", "4 line 1: the template is not UTF-8"},
  };
  for (auto [jinja, message] : cases)
    EXPECT_THAT(errorOf([&] { rendered(jinja); }), StartsWith(message)) << jinja;
  for (std::string_view deep : {"(", "[", "not ", "-", "{% if x %}", "{% for a in b %}"}) {
    std::string jinja = deep[0] == '{' ? "" : "{{ ";
    for (int i = 0; i < 100'000; ++i)
      jinja += deep;
    EXPECT_THAT(errorOf([&] { rendered(jinja); }), StartsWith("4 line 1: ")) << deep;
  }
}

TEST(Chat, RaisedExceptionsComeThrough) {
  EXPECT_EQ(errorOf([] { rendered("\n{{ raise_exception('no\n' + messages[0].role) }}"); }),
            "2 chat template, line 2: it refuses the conversation: no user");
}

TEST(Chat, Dates) {
  EXPECT_EQ(rendered("{{ strftime_now('%Y-%m-%d %d %b %Y %B %A %-d %e %H:%M:%S %I %p %j %y %U %W "
                     "%u %w %%') }}")
                .text,
            "2026-11-05 05 Nov 2026 November Thursday 5  5 08:09:07 08 AM 309 26 44 44 4 4 %");
  for (const char *text : {"", "2026", "2026-13-01", "2026-02-29", "2026-1-1",
                           "2026-01-01T25:00:00", "2026-01-01 08:00:00"})
    EXPECT_THAT(errorOf([&] { chat::Date::parse(text); }), HasSubstr("2 the date is none")) << text;
  EXPECT_EQ(chat::Date::parse("2024-02-29").format("%F"), "2024-02-29");
}

TEST(ChatProgram, DamageIsRefused) {
  const std::vector<uint8_t> good = compileChatTemplate(kChatMl, TokenizerSpec()).toBytes();
  EXPECT_EQ(chat::Program::open(good, "t").toBytes(), good);
  for (size_t size = 0; size < good.size(); ++size)
    EXPECT_THAT(errorOf([&] { chat::Program::open({good.data(), size}, "t"); }),
                StartsWith("3 t: "));
  std::vector<uint8_t> newer = good;
  newer[8] = 9;
  EXPECT_THAT(errorOf([&] { chat::Program::open(newer, "t"); }), HasSubstr("4 t: has version 9"));
  // Any change is refused, or gives a program that runs or fails: never another end.
  chat::Conversation conversation;
  conversation.messages = {{"user", "x"}};
  for (size_t i = 12; i < good.size(); ++i)
    for (uint8_t value : {0x00, 0x01, 0x7F, 0xFF}) {
      std::vector<uint8_t> bad = good;
      bad[i] = value;
      errorOf([&] { chat::render(chat::Program::open(bad, "t"), conversation); });
    }
}

TEST(Chat, TemplatesNeverStopAnImport) {
  TokenizerSpec spec = tinyByteLevel();
  tokspec::setChat(spec, {"{% include 'x' %}", ""}, {});
  EXPECT_FALSE(spec.chat);
  EXPECT_THAT(spec.chatNote, HasSubstr("left out: line 1: {% include %} is not known to Retort"));
  for (const char *endless :
       {"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 1 | nosuch }}"}) {
    spec = tinyByteLevel();
    tokspec::setChat(spec, {endless, ""}, {});
    EXPECT_FALSE(spec.chat);
    EXPECT_THAT(spec.chatNote, HasSubstr("left out"));
  }
  spec = tinyByteLevel();
  tokspec::setChat(spec, {kChatMl, ""}, {.none = true, .file = {}});
  EXPECT_FALSE(spec.chat);
  EXPECT_EQ(spec.chatNote, "");
}

TEST(Chat, WhatEndsAnAnswerStops) {
  TokenizerSpec spec = tinyByteLevel();
  spec.stop.clear();
  tokspec::setChat(spec, {"{% for m in messages %}{{ m.content + '\\n<end>' }}{% endfor %}", ""},
                   {});
  EXPECT_EQ(spec.stop, std::vector<int32_t>{261});
}

} // namespace
} // namespace retort
