//===- SchemaTest.cpp - JSON Schema ---------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/Json.h"
#include "test/unit/Grammar/TestGrammar.h"
#include <optional>

namespace retort::grammar::test {
namespace {

using testing::HasSubstr;

struct Case {
  const char *schema;
  std::vector<const char *> good, bad;
};

/// Every keyword, with what it allows and what it does not.
const std::vector<Case> &cases() {
  static const std::vector<Case> list = {
      {"true",
       {"1", "null", "\"a\"", "[1, {\"a\": []}]", " 1"},
       {"", "nul", "1 2", "{", "[1,]", "01", "+1", "1."}},
      {"{}",
       {"{\"a\": 1, \"b\": [true]}", "-0.5e-3", "[]", "{}", "[[[[]]]]"},
       {"{\"a\"}", "{,}", "-", "[,1]"}},
      {R"({"type": "null"})", {"null"}, {"0", "null0", "\"null\""}},
      {R"({"type": "boolean"})", {"true", "false"}, {"1", "True"}},
      {R"({"type": "integer"})",
       {"0", "-1", "12", "999999999999999999"},
       {"1.0", "-0", "01", "1e3", "1000000000000000000"}},
      {R"({"type": "number"})",
       {"0", "-0.5", "12e3", "1E-270", "3.14159"},
       {".5", "1.", "1e", "0x1", "NaN", "1e999"}},
      {R"({"type": "string"})",
       {"\"\"", "\"a\"", "\"\\n\\\"\\/\\u00e9\"", "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"",
        "\"\\ud83d\\uDE00\""},
       {"\"", "a", "\"\n\"", "\"\\x\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"",
        "\"\xC3\"", "\"\xED\xA0\x80\"", "\"\xC0\x80\"", "\"\xF4\x90\x80\x80\""}},
      {R"({"type": ["integer", "null"]})", {"1", "null"}, {"\"1\"", "true"}},
      {R"({"type": "object"})",
       {"{}", "{\"a\": 1}", "{\n  \"a\":1 ,\n  \"b\" : 2\n}"},
       {"[]", "{\"a\":}", "{\"a\":1 \"b\":2}"}},
      {R"({"type": "array"})", {"[]", "[1, \"a\"]", "[ ]", "[\n1\n]"}, {"{}", "[1 2]", "[  1]"}},
      {R"({"type": "string", "minLength": 2, "maxLength": 3})",
       {"\"ab\"", "\"abc\"", "\"\xC3\xA9\xC3\xA9\"", "\"\\ud83d\\ude00a\"", "\"\\n\\n\\n\""},
       {"\"a\"", "\"abcd\"", "\"\xC3\xA9\"", "\"\\ud83d\\ude00\"", "\"\""}},
      {R"({"type": "string", "maxLength": 0})", {"\"\""}, {"\"a\""}},
      {R"({"type": "string", "pattern": "^a+$"})",
       {"\"a\"", "\"aaa\""},
       {"\"\"", "\"ab\"", "\"ba\""}},
      {R"({"type": "string", "pattern": "b"})",
       {"\"b\"", "\"abc\"", "\"bb\\n\""},
       {"\"a\"", "\"\""}},
      {R"({"type": "string", "pattern": "^x|y$"})",
       {"\"x\"", "\"xa\"", "\"ay\""},
       {"\"ax\"", "\"ya\""}},
      {R"({"type": "string", "pattern": "^[\"\\\\]$"})",
       {"\"\\\"\"", "\"\\\\\""},
       {"\"\"\"", "\"\\n\"", "\"\\u0022\""}},
      {R"({"type": "string", "format": "date"})",
       {"\"2026-11-30\"", "\"2024-02-29\"", "\"2000-02-29\""},
       {"\"2023-02-29\"", "\"1900-02-29\"", "\"2026-13-01\"", "\"2026-04-31\"", "\"0000-01-01\""}},
      {R"({"type": "string", "format": "time"})",
       {"\"23:59:59Z\"", "\"00:00:00.5+01:00\""},
       {"\"24:00:00Z\"", "\"23:59\""}},
      {R"({"type": "string", "format": "date-time"})",
       {"\"2026-11-30T08:15:00Z\""},
       {"\"2026-11-30 08:15:00Z\""}},
      {R"({"type": "string", "format": "duration"})",
       {"\"P3D\"", "\"PT1H30M\"", "\"P2W\""},
       {"\"P\"", "\"1D\""}},
      {R"({"type": "string", "format": "email"})",
       {"\"a.b@example.org\""},
       {"\"a@b\"", "\"@example.org\"", "\"a b@c.de\""}},
      {R"({"type": "string", "format": "hostname"})",
       {"\"a.example\"", "\"localhost\""},
       {"\"-a\"", "\"a..b\""}},
      {R"({"type": "string", "format": "ipv4"})",
       {"\"127.0.0.1\"", "\"255.255.255.0\""},
       {"\"256.0.0.1\"", "\"1.2.3\"", "\"01.2.3.4\""}},
      {R"({"type": "string", "format": "ipv6"})",
       {"\"1:2:3:4:5:6:7:8abc\""},
       {"\"1:2\"", "\"1:2:3:4:5:6:7:8:9\""}},
      {R"({"type": "string", "format": "uuid"})",
       {"\"123e4567-e89b-12d3-a456-426614174000\""},
       {"\"123e4567\""}},
      {R"({"type": "integer", "minimum": -5, "maximum": 17})",
       {"-5", "-1", "0", "9", "17"},
       {"-6", "18", "-0", "170"}},
      {R"({"type": "integer", "exclusiveMinimum": 99, "exclusiveMaximum": 1002})",
       {"100", "999", "1000", "1001"},
       {"99", "1002", "10"}},
      {R"({"type": "integer", "minimum": 0.5, "maximum": 3.5})", {"1", "2", "3"}, {"0", "4"}},
      {R"({"type": "integer", "maximum": -10})", {"-10", "-11", "-100"}, {"-9", "0", "10"}},
      {R"({"type": "integer", "minimum": 9007199254740993})",
       {"9007199254740993"},
       {"9007199254740992"}},
      {R"({"type": "integer", "minimum": 1, "maximum": 9223372036854775807})", {"1", "99"}, {"0"}},
      {R"({"type": "number", "minimum": 0, "maximum": 1})",
       {"0", "0.5", "1", "1.0", "0.000001"},
       {"1.1", "2", "-0.1", "1.000001"}},
      {R"({"type": "number", "exclusiveMinimum": 0})", {"0.1", "1", "5.25"}, {"0", "0.0", "-1"}},
      {R"({"type": "number", "exclusiveMaximum": 0})", {"-0.1", "-7"}, {"0", "-0", "-0.0", "1"}},
      {R"({"type": "number", "minimum": -1.25, "maximum": 2.5})",
       {"-1.25", "-1.2", "-0.999", "2.5", "2.49", "2", "0"},
       {"-1.26", "2.51", "-2", "3"}},
      {R"({"type": "number", "exclusiveMinimum": 1.5, "exclusiveMaximum": 1.75})",
       {"1.51", "1.500001", "1.7", "1.749"},
       {"1.5", "1.75", "1", "2", "1.50"}},
      {R"({"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3})",
       {"[1]", "[1,2,3]"},
       {"[]", "[1,2,3,4]", "[\"a\"]"}},
      {R"({"type": "array", "items": {"type": "integer"}, "minItems": 2})",
       {"[1,2]", "[1,2,3,4,5]"},
       {"[]", "[1]"}},
      {R"({"type": "array", "maxItems": 0})", {"[]"}, {"[1]"}},
      {R"({"type": "array", "prefixItems": [{"const": 1}, {"const": "a"}], "items": false})",
       {"[1,\"a\"]", "[1]", "[]"},
       {"[\"a\"]", "[1,\"a\",2]"}},
      {R"({"type": "array", "prefixItems": [{"const": 1}], "items": {"const": 2}, "minItems": 2})",
       {"[1,2]", "[1,2,2,2]"},
       {"[1]", "[2]", "[1,1]"}},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"const": "x"}}, "required": ["b"]})",
       {"{\"b\": \"x\"}", "{\"a\": 1, \"b\": \"x\"}"},
       {"{}", "{\"a\": 1}", "{\"b\":\"x\",\"a\":1}", "{\"b\":\"x\",\"c\":1}", "{,\"b\":\"x\"}"}},
      {R"({"type": "object", "properties": {"a": {}, "b": {}, "c": {}}})",
       {"{}", "{\"a\":1}", "{\"c\":1}", "{\"a\":1,\"c\":2}", "{\"b\":1,\"c\":2}"},
       {"{\"c\":1,\"a\":1}", "{\"a\":1,}", "{\"d\":1}"}},
      {R"({"type": "object", "properties": {"na": {"type": "integer"}}, "additionalProperties": {"type": "string"}})",
       {"{\"na\": 1}", "{\"name\": \"x\"}", "{\"n\": \"\", \"nb\": \"\", \"\": \"\"}",
        "{\"na\": 1, \"\xC3\xA9\": \"x\"}"},
       {"{\"na\": \"x\"}", "{\"x\": 1}", "{\"na\": 1, \"na\": \"x\"}", "{\"\\u006ea\": \"x\"}"}},
      {R"({"type": "object", "properties": {"\u00e9\"": {"const": 1}}, "additionalProperties": {"const": 2}})",
       {"{\"\xC3\xA9\\\"\":1}", "{\"\xC3\xA9\":2}", "{\"\\\"\":2}", "{\"\xC3\xA8\\\"\":2}"},
       {"{\"\xC3\xA9\\\"\":2}"}},
      {R"({"type": "object", "additionalProperties": {"type": "integer"}})",
       {"{}", "{\"a\":1,\"b\":2}"},
       {"{\"a\":\"\"}"}},
      {R"({"type": "object", "required": ["x"]})",
       {"{\"x\": null}", "{\"x\": [], \"y\": 1}"},
       {"{}", "{\"y\": 1}"}},
      {R"({"properties": {"a": {"const": 1}}})", {"{\"a\":1}", "{}"}, {"1", "[]"}},
      {R"({"enum": [1, "a", null, [1, 2], {"k": true}, 1.5]})",
       {"1", "\"a\"", "null", "[1, 2]", "[1,2]", "{\"k\": true}", "1.5"},
       {"2", "[1]", "{}"}},
      {R"({"enum": ["a", 1, "b"], "type": "string"})", {"\"a\"", "\"b\""}, {"1"}},
      {R"({"const": "\u00e9\n"})", {"\"\xC3\xA9\\n\""}, {"\"e\""}},
      {R"({"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 1}]})",
       {"1", "\"a\""},
       {"\"ab\"", "null"}},
      {R"({"anyOf": [{"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]}, {"type": "object", "properties": {"b": {"const": 2}}, "required": ["b"]}]})",
       {"{\"a\":1}", "{\"b\":2}"},
       {"{}", "{\"a\":2}", "{\"a\":1,\"b\":2}"}},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}}, "anyOf": [{"required": ["a"]}]})",
       {"{\"a\":1}"},
       {"{}"}},
      {R"({"oneOf": [{"type": "integer"}, {"type": "string"}, {"type": "array", "items": {"const": 1}}]})",
       {"1", "\"\"", "[1]"},
       {"null", "[2]"}},
      {R"({"oneOf": [{"type": "object", "properties": {"k": {"const": "a"}, "x": {"type": "integer"}}, "required": ["k", "x"]},
                     {"type": "object", "properties": {"k": {"const": "b"}}, "required": ["k"]}], "discriminator": {"propertyName": "k"}})",
       {"{\"k\":\"a\",\"x\":1}", "{\"k\":\"b\"}"},
       {"{\"k\":\"a\"}", "{\"k\":\"c\"}"}},
      {R"({"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 5}]})", {"3", "5"}, {"2", "6"}},
      {R"({"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"properties": {"b": {"const": 2}}}]})",
       {"{\"a\":1}", "{\"a\":1,\"b\":2}"},
       {"{\"b\":2}"}},
      {R"({"allOf": [{"properties": {"a": {"minimum": 3}}}, {"properties": {"a": {"type": "integer", "maximum": 5}}}], "type": "object"})",
       {"{\"a\":4}"},
       {"{\"a\":6}", "{\"a\":2}"}},
      {R"({"allOf": [{"enum": [1, 2, 3]}, {"enum": [2, 3, 4]}, {"const": 3}]})",
       {"3"},
       {"1", "2", "4"}},
      {R"({"$defs": {"n": {"type": "integer"}}, "type": "array", "items": {"$ref": "#/$defs/n"}})",
       {"[1,2]"},
       {"[\"a\"]"}},
      {R"({"definitions": {"a/b": {"const": 1}}, "$ref": "#/definitions/a~1b", "title": "T"})",
       {"1"},
       {"2"}},
      {R"({"$ref": "#/$defs/n", "maximum": 3, "$defs": {"n": {"type": "integer", "minimum": 1}}})",
       {"1", "3"},
       {"0", "4"}},
      {R"({"$defs": {"tree": {"type": "object", "properties": {"v": {"type": "integer"}, "c": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}, "required": ["v"]}}, "$ref": "#/$defs/tree"})",
       {"{\"v\":1}", "{\"v\":1,\"c\":[{\"v\":2,\"c\":[]},{\"v\":3}]}"},
       {"{}", "{\"v\":1,\"c\":[{}]}"}},
      {R"({"$defs": {"l": {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"n": {"$ref": "#/$defs/l"}}, "required": ["n"]}]}}, "$ref": "#/$defs/l"})",
       {"null", "{\"n\":{\"n\":null}}"},
       {"{}", "{\"n\":1}"}},
      {R"({"type": "string", "title": "t", "description": "d", "default": "x", "examples": [], "$comment": "c", "deprecated": true, "readOnly": true})",
       {"\"\""},
       {"1"}},
  };
  return list;
}

TEST(Schema, TakesWhatItAllowsAndNothingElse) {
  for (const auto &[schema, good, bad] : cases()) {
    ASSERT_EQ(refusal(Kind::JsonSchema, schema), "") << schema;
    const auto grammar = compiled(Kind::JsonSchema, schema);
    for (uint64_t seed : {1, 2, 3}) {
      for (const char *text : good)
        EXPECT_TRUE(meets(grammar, text, seed)) << schema << ": " << text;
      for (const char *text : bad)
        EXPECT_FALSE(meets(grammar, text, seed)) << schema << ": " << text;
    }
  }
}

TEST(Schema, WhatIsWrittenIsJsonThatItTakes) {
  size_t ended = 0, all = 0;
  for (const auto &[schema, good, bad] : cases()) {
    const auto grammar = compiled(Kind::JsonSchema, schema);
    for (uint64_t seed = 1; seed <= 6; ++seed, ++all) {
      const std::optional<std::string> text = written(grammar, seed);
      if (!text)
        continue;
      ++ended;
      // A key may come twice in an object that is open; else our own parser reads it.
      EXPECT_TRUE(nlohmann::json::accept(*text)) << schema << ": " << *text;
      EXPECT_TRUE(meets(grammar, *text, seed)) << schema << ": " << *text;
    }
  }
  EXPECT_GT(ended, all * 9 / 10);
}

TEST(Schema, RefusesByPlaceAndKeyword) {
  const std::pair<const char *, const char *> wrong[] = {
      {R"({"type": "object", "properties": {"a": {"not": {}}}})",
       "/properties/a/not is not supported"},
      {R"({"type": "object", "patternProperties": {}})", "/patternProperties is not supported"},
      {R"({"items": {"anyOf": [{"multipleOf": 2}]}})",
       "/items/anyOf/0/multipleOf is not supported"},
      {R"({"uniqueItems": true})", "/uniqueItems is not supported (docs/serve.md lists what is)"},
      {R"({"type": "text"})", "/type is not null, boolean"},
      {R"({"type": "string", "format": "iri"})",
       "/format is not one of those supported: date, time"},
      {R"x({"type": "string", "pattern": "(?=a)"})x",
       "/pattern is no pattern that is supported: at character 3"},
      {R"({"type": "string", "pattern": "a", "maxLength": 3})", "has more than one of pattern"},
      {R"({"$ref": "#/$defs/none"})", "/$ref leads nowhere"},
      {R"({"$ref": "http://x/y"})", "only references within the schema"},
      {R"({"$ref": "#"})", "refers to itself where a value begins, or through too many references"},
      {R"({"$ref": "#/a%2"})", "/$ref has a % without two hexadecimal digits"},
      {R"({"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"})",
       "refers to itself"},
      {R"({"anyOf": [{"$ref": "#"}, {"type": "null"}]})",
       "it refers to itself where a value begins"},
      {R"({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})",
       "no text can ever meet it"},
      {R"({"type": "array", "minItems": 2, "maxItems": 1})", "no text can ever meet it"},
      {R"({"type": "integer", "minimum": 2, "maximum": 1})", "no text can ever meet it"},
      {R"({"enum": []})", "no text can ever meet it"},
      {"false", "no text can ever meet it"},
      {R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})",
       "/oneOf has branches 0 and 1 that may both be met"},
      {R"({"oneOf": [{"type": "object"}, {"type": "object"}]})", "that may both be met"},
      {R"({"allOf": [{"pattern": "a"}, {"pattern": "b"}]})",
       "/allOf/1/pattern is said of the same value at /allOf/0/pattern too"},
      {R"({"allOf": [{"properties": {"a": {}}, "additionalProperties": false}, {"properties": {"b": {}}}]})",
       "has additionalProperties and is put together with properties that it does not name"},
      {R"({"type": "string", "minLength": -1})", "/minLength is not a whole number from 0"},
      {R"({"type": "string", "maxLength": 1000000})", "/maxLength is over 100000"},
      {R"({"type": "string", "minLength": 90000, "maxLength": 100000})", "states"},
      {R"({"type": "number", "minimum": 0.12345678})", "has a bound with more than"},
      {R"({"type": "integer", "minimum": "1"})", "/minimum is not a number"},
      {R"({"type": "integer", "minimum": 1e300})", "more than 18 digits"},
      {R"({"required": "a"})", "/required is not a list of texts"},
      {R"({"properties": []})", "/properties is not an object"},
      {R"({"properties": {"a": 3}})", "/properties/a is not a schema"},
      {R"({"anyOf": {}})", "/anyOf is not a list of schemas"},
      {R"({"enum": 3})", "/enum is not a list"},
      {R"({"enum": ["a"], "minLength": 1})", "/minLength beside enum or const is not supported"},
      {"3", "it is not a schema"},
      {"{", "the schema"},
  };
  for (const auto &[schema, message] : wrong)
    EXPECT_THAT(refusal(Kind::JsonSchema, schema), HasSubstr(message)) << schema;
  EXPECT_THAT(refusal(Kind::JsonSchema, std::string(300 << 10, ' ') + "{}"),
              HasSubstr("bytes, more than"));
}

TEST(Schema, DeepTextsEndInTime) {
  const auto grammar = compiled(Kind::JsonSchema, R"({"type": "array", "items": {"$ref": "#"}})");
  Matcher matcher(grammar);
  size_t depth = 0;
  while (matcher.accept('['))
    ++depth;
  EXPECT_GT(depth, 60u);
  TokenSet allowed;
  matcher.mask(allowed);
  for (int32_t token = 0; token <= stopToken(); ++token) {
    Matcher copy = matcher;
    EXPECT_EQ(copy.accept(token), allows(allowed, token)) << token;
  }
  for (size_t i = 0; i < depth; ++i)
    EXPECT_TRUE(matcher.accept(']')) << i;
  EXPECT_TRUE(matcher.done());
}

TEST(Schema, ManyWaysToReadATextAreFollowed) {
  std::string schema = R"({"$defs": {"x": {"anyOf": [{"type": "null"})";
  for (int i = 1; i < 40; ++i)
    schema += R"(, {"type": "array", "items": {"$ref": "#/$defs/x"}, "maxItems": )" +
              std::to_string(i) + "}";
  const auto grammar = compiled(Kind::JsonSchema, schema + R"(]}}, "$ref": "#/$defs/x"})");
  Matcher matcher(grammar);
  for (int i = 0; i < 20; ++i)
    ASSERT_TRUE(matcher.accept('['));
  for (int i = 0; i < 20; ++i)
    ASSERT_TRUE(matcher.accept(']'));
  EXPECT_TRUE(matcher.done());
}

} // namespace
} // namespace retort::grammar::test
