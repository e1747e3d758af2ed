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

std::string repeated(std::string_view text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i)
    all += text;
  return all;
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

// What a template may not do, one place in the code each, in Python's or Jinja's words where they have any.
TEST(Chat, WhatFailsIsNamed) {
  const std::pair<const char *, const char *> cases[] = {
      {"{{ 1 + 'a' }}", "2 unsupported operand type(s) for +: 'int' and 'str'"},
      {"{{ +'a' }}", "2 bad operand type for unary +: 'str'"},
      {"{{ -'a' }}", "2 bad operand type for unary -: 'str'"},
      {"{{ 1 in 'a' }}", "2 'in <string>' requires string as left operand, not int"},
      {"{{ [] in {} }}", "2 unhashable type: 'list'"},
      {"{{ {}.get([]) }}", "2 unhashable type: 'list'"},
      {"{{ [[1]] | unique | list }}", "2 unhashable type: 'list'"},
      {"{{ {[]: 1} }}", "2 a key of the type 'list'"},
      {"{{ 1 < 'a' }}", "2 'int' and 'str' have no order"},
      {"{{ dict(**{1: 2}) }}", "2 keywords must be strings"},
      {"{{ 'a'[::0] }}", "2 slice step cannot be zero"},
      {"{% for x in 1 %}{% endfor %}", "2 'int' object is not iterable"},
      {"{% for x in [1] %}{{ loop([]) }}{% endfor %}",
       "2 The loop must have the 'recursive' marker to be called recursively."},
      {"{{ (1)() }}", "2 'int' object is not callable"},
      {"{{ 1 // 0 }}", "2 integer division or modulo by zero"},
      {"{{ 1 / 0 }}", "2 division by zero"},
      {"{{ 0.0 ** -1 }}", "2 0.0 cannot be raised to a negative power"},
      {"{{ (-1.0) ** 0.5 }}", "4 a complex number"},
      {"{{ 9223372036854775807 + 1 }}", "4 a whole number beyond 64 bits"},
      {"{{ '%d' % 1e19 }}", "4 a whole number beyond 64 bits"},
      {"{{ 1e19 | int }}", "4 a whole number beyond 64 bits"},
      {"{{ '99999999999999999999' | int }}", "4 a whole number beyond 64 bits"},
      {"{{ dict(**1) }}", "2 argument after ** must be a mapping, not int"},
      {"{{ 'a' | safe | capitalize }}", "4 the filter capitalize of a text marked as safe"},
      // Statements
      {"{% set x = 1 %}{% set x.y = 1 %}", "2 cannot assign attribute on non-namespace object"},
      {"{% set x = namespace() %}{% set x._a = 1 %}",
       "2 a namespace has no attributes that begin with '_'"},
      {"{% for a, b in [[1]] %}{% endfor %}", "2 cannot unpack 1 values into 2 names"},
      {"{% macro m() %}{% endmacro %}{{ m(z=1) }}", "2 macro 'm' takes no keyword argument 'z'"},
      {"{% macro m() %}{% endmacro %}{{ m(1) }}", "2 macro 'm' takes not more than 0 argument(s)"},
      // Functions
      {"{{ range(1, x=2) }}", "2 range() got an unexpected keyword argument 'x'"},
      {"{{ range(1, start=2) }}", "2 range() got multiple values for argument 'start'"},
      {"{{ range('a') }}", "2 the argument 'start' of range() is no whole number"},
      {"{{ range(1, 2, 0) }}", "2 range() arg 3 must not be zero"},
      {"{{ range(100001) }}",
       "2 Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000)."},
      {"{{ dict(1, 2) }}", "2 dict() expected at most 1 argument"},
      {"{{ dict([[1]]) }}", "2 an element of a dictionary is no pair"},
      {"{{ namespace(_a=1) }}", "2 a namespace has no attributes that begin with '_'"},
      {"{{ [].append(1) }}", "2 a template may not change a list"},
      {"{% for x in [1] %}{{ loop.cycle() }}{% endfor %}", "2 no items for cycling given"},
      // %
      {"{{ 'x' % 1 }}", "2 not all arguments converted during string formatting"},
      {"{{ '%' % 1 }}", "2 incomplete format"},
      {"{{ '%s %s' % 1 }}", "2 not enough arguments for format string"},
      {"{{ '%*d' % 1 }}", "4 * in a format"},
      {"{{ '%99999d' % 1 }}", "4 a format wider than 65536"},
      {"{{ '%(a)s' % 1 }}", "2 format requires a mapping"},
      {"{{ '%(a)s' % {} }}", "2 the format's argument has no 'a'"},
      {"{{ '%c' % 1 }}", "4 %c in a format"},
      {"{{ '%d' % 'a' }}", "2 %d format: a number is required, not str"},
      {"{{ '%x' % -1 }}", "4 %x of a negative number"},
      {"{{ '%f' % 'a' }}", "2 must be real number, not str"},
      // Methods of texts
      {"{{ 'a'.split('') }}", "2 empty separator"},
      {"{{ 'a'.partition('') }}", "2 empty separator"},
      {"{{ 'a'.startswith(1) }}", "2 startswith first arg must be str or a tuple of str, not int"},
      {"{{ 'a'.index('b') }}", "2 substring not found"},
      {"{{ 'a'.rindex('b') }}", "2 substring not found"},
      {"{{ ','.join([1]) }}", "2 sequence item: expected str instance, int found"},
      {"{{ 'a'.center(3, 'xy') }}", "2 The fill character must be exactly one character long"},
      {"{{ '\u00E9'.isdigit() }}", "4 a question such as isdigit() about other text than ASCII"},
      {"{{ '{'.format() }}", "2 Single '{' encountered in format string"},
      {"{{ '{a.b}'.format() }}", "4 format() with {a.b}"},
      {"{{ '{}{0}'.format(1) }}", "2 format() mixes numbered fields with others"},
      {"{{ '{1}'.format(1) }}", "2 Replacement index 1 out of range for positional args tuple"},
      {"{{ '{a}'.format() }}", "2 format() has no argument 'a'"},
      // Filters and tests
      {"{{ [1] | map | list }}", "2 map requires a filter argument"},
      {"{{ [1] | selectattr | list }}", "2 Missing parameter for attribute name"},
      {"{{ {} | dictsort(by='x') }}", "2 You can only sort by either \"key\" or \"value\""},
      {"{{ [] | dictsort }}", "2 'list' object has no attribute 'items'"},
      {"{{ [1] | sum(start='a') }}", "2 sum() can't sum strings [use ''.join(seq) instead]"},
      {"{{ 'ab' | map('upper') | last }}", "2 'generator' object is not reversible"},
      {"{{ 1 | length }}", "2 object of type 'int' has no len()"},
      {"{{ 1 | items | list }}", "2 Can only get item pairs from a mapping."},
      {"{{ [1] | batch(0) | list }}", "2 batch() needs a count of at least 1"},
      {"{{ [1] | slice(0) | list }}", "2 slice() needs a count of at least 1"},
      {"{{ '1' | int(base=1) }}", "4 the filter int with this base"},
      {"{{ 'a' | abs }}", "2 bad operand type for abs(): 'str'"},
      {"{{ 'a' | round }}", "2 type str doesn't define __round__ method"},
      {"{{ 1.5 | round(99) }}", "4 the filter round with this precision"},
      {"{{ 1.5 | round(0, 'x') }}", "2 method must be common, ceil or floor"},
      {"{{ 1 | indent }}", "2 unsupported operand type(s) for +=: 'int' and 'str'"},
      {"{{ 'abc' | truncate(1) }}", "2 expected length >= 3"},
      {"{{ '\u00E9' | wordcount }}", "4 wordcount of other text than ASCII"},
      {"{{ range | tojson }}", "2 Object of type function is not JSON serializable"},
      {"{{ {(1, 2): 3} | tojson }}", "2 keys must be str, int, float, bool or None, not tuple"},
      {"{{ 1 | tojson(separators=[1]) }}", "2 separators is no pair of texts"},
      {"{{ 'a' is odd }}", "2 a str is neither odd nor even"},
      {"{{ 1 is divisibleby 0 }}", "2 a int is not divisible by 0"},
  };
  for (auto [jinja, message] : cases) {
    const std::string unknown = message[0] == '4' ? " is not known to Retort" : "";
    EXPECT_EQ(errorOf([&] { rendered(jinja); }),
              std::string(message, 2) + "chat template, line 1: " + (message + 2) + unknown)
        << jinja;
  }
}

TEST(Chat, WhatIsNoJinjaIsNamed) {
  const std::pair<std::string, const char *> cases[] = {
      {"{% set true = 1 %}", "can't assign to 'true'"},
      {"{{ }}", "Expected an expression, got the end of an expression"},
      {"{{ a.'x' }}", "expected name or number"},
      {"{{ a[1, 2] }}", "more than one index is not known to Retort"},
      {"{{ a[1 2] }}", "expected ']', got '2'"},
      {"{{ a[] }}", "expected an index"},
      {"{{ f(a=1, 2) }}", "invalid syntax for function call expression"},
      {"{{ 1 is odd is even }}", "You cannot chain multiple tests with is"},
      {"{{ a | 1 }}", "expected a name, got '1'"},
      {"{% raw %}x", "Missing end of raw directive"},
      {"{{ ? }}", "unexpected char '?'"},
      {"{{ 'abc }}", "unexpected char '''"},
      {R"({{ '\N{x}' }})", "the escape \\N is not known to Retort"},
      {R"({{ '\xZZ' }})", "a string with a broken escape"},
      {R"({{ '\ud800' }})", "an escape of half a character is not known to Retort"},
      {"{% for x on y %}{% endfor %}", "expected 'in', got 'on'"},
      {"{% macro m(a=1, b) %}{% endmacro %}", "non-default argument follows default argument"},
      {"{% call x %}{% endcall %}", "expected call"},
      {"{{ " + std::string(200, '(') + "1" + std::string(200, ')') + " }}",
       "a nesting of more than 100 is not known to Retort"},
      {"{{ a" + repeated(" + a", 1000) + " }}",
       "expressions nested deeper than 200 are not known to Retort"},
      {repeated("{{ " + std::string(40, '-') + "1}}", 13'000),
       "a template of this size is not known to Retort"},
  };
  for (const auto &[jinja, message] : cases)
    EXPECT_EQ(errorOf([&] { rendered(jinja); }), std::string("4 line 1: ") + message)
        << jinja.substr(0, 80);
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
