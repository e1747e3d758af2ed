//===- CApiTest.cpp - Models, text and tokens through retort.h ------------===//
// SPDX-License-Identifier: Apache-2.0
#include "retort.hpp"
#include "test/unit/Runtime/TestBundle.h"

#include <cstring>
#include <filesystem>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace retort::test {
namespace {

using testing::HasSubstr;

class CApi : public testing::Test {
protected:
  CApi() { writeTestBundle(folder / "m.retort"); }
  TempFolder folder;
};

TEST_F(CApi, InfoOfAModel) {
  Model model(folder / "m.retort");
  auto info = model.info();
  EXPECT_STREQ(info.name, "hash");
  EXPECT_STREQ(info.family, "test");
  EXPECT_STREQ(info.isa, "x86-64-v3");
  EXPECT_EQ(info.vocab, kVocab);
  EXPECT_EQ(info.tokenizer_vocab, kTokens);
  EXPECT_EQ(info.context, kContext);
  EXPECT_EQ(info.max_rows, TEST_MAX_ROWS);
  EXPECT_EQ(info.eos_token, kEnd);
  EXPECT_EQ(info.bos_token, -1);
  EXPECT_EQ(info.has_chat, 1);
  EXPECT_EQ(info.page_bytes, uint64_t(TEST_PAGE_BYTES));
  EXPECT_EQ(info.weight_bytes, 5000u);
  EXPECT_EQ(nlohmann::json::parse(model.manifest())["model"]["name"], "hash");
  EXPECT_EQ(model.part("report.json"), "{\"format\": 1}\n");
  EXPECT_THROW(model.part("report.html"), Failure);
}

/// A program built with an older header gets the fields that it knows.
TEST_F(CApi, OlderStructsAreFilledAsFarAsTheyGo) {
  Model model(folder / "m.retort");
  retort_model_info info;
  std::memset(&info, 0x55, sizeof info);
  info.struct_bytes = offsetof(retort_model_info, vocab);
  ASSERT_EQ(retort_model_get_info(model.get(), &info), RETORT_OK);
  EXPECT_STREQ(info.isa, "x86-64-v3");
  EXPECT_EQ(info.vocab, 0x55555555);
  info.struct_bytes = 0;
  EXPECT_EQ(retort_model_get_info(model.get(), &info), RETORT_E_ARGUMENT);
}

TEST_F(CApi, TextToTokensAndBack) {
  Model model(folder / "m.retort");
  const std::string text = "Grüße, \xF0\x9F\x98\x80!";
  const auto tokens = model.tokenize(text);
  EXPECT_EQ(tokens.size(), text.size());
  EXPECT_EQ(model.detokenize(tokens), text);
  EXPECT_EQ(model.tokenize("<|end|>").size(), 7u);
  EXPECT_EQ(model.tokenize("<|end|>", RETORT_PARSE_SPECIAL), std::vector<int32_t>{kEnd});
  EXPECT_EQ(model.detokenize(std::vector<int32_t>{65, kEnd}), "A");
  EXPECT_EQ(model.detokenize(std::vector<int32_t>{65, kEnd}, true), "A<|end|>");
  EXPECT_EQ(model.tokenBytes('A'), "A");
  EXPECT_TRUE(model.isStop(kEnd));
  EXPECT_FALSE(model.isStop('A'));
  EXPECT_THROW(model.detokenize(std::vector<int32_t>{kVocab}), Failure);
  EXPECT_THROW(model.tokenize("a", 64), Failure);
}

TEST_F(CApi, SmallBuffersAreToldTheirSize) {
  Model model(folder / "m.retort");
  int32_t tokens[3] = {-7, -7, -7};
  size_t count = 0;
  retort_error error;
  EXPECT_EQ(retort_tokenize(model.get(), "abcd", 4, 0, tokens, 3, &count, &error),
            RETORT_E_CAPACITY);
  EXPECT_EQ(count, 4u);
  EXPECT_EQ(tokens[0], -7);
  EXPECT_THAT(error.message, HasSubstr("4 elements but the buffer holds 3"));
  EXPECT_EQ(retort_tokenize(model.get(), nullptr, 0, 0, nullptr, 0, &count, nullptr), RETORT_OK);
  EXPECT_EQ(count, 0u);
}

TEST_F(CApi, DecodersGiveWholeCharacters) {
  Model model(folder / "m.retort");
  Decoder decoder(model);
  EXPECT_EQ(decoder.push(0xF0), "");
  EXPECT_EQ(decoder.push(0x9F), "");
  EXPECT_EQ(decoder.push(0x98), "");
  EXPECT_EQ(decoder.push(0x80), "\xF0\x9F\x98\x80");
  EXPECT_EQ(decoder.push(0xC3), "");
  EXPECT_EQ(decoder.finish(), "\xEF\xBF\xBD");
  EXPECT_THROW(decoder.push(-1), Failure);
}

TEST_F(CApi, DecodersEndAtStops) {
  Model model(folder / "m.retort");
  Decoder decoder(model);
  decoder.setStops({"bcd", "<|user|>"});
  const auto text = [&](const std::vector<int32_t> &tokens) {
    std::string result;
    for (int32_t token : tokens)
      result += decoder.push(token);
    return result;
  };
  EXPECT_EQ(text({'a', 'b', 'c'}), "a") << "bc may become a stop";
  EXPECT_FALSE(decoder.stopped());
  EXPECT_EQ(text({'d', 'e'}), "");
  EXPECT_TRUE(decoder.stopped());
  EXPECT_EQ(decoder.finish(), "");
  EXPECT_EQ(text({'a', 'b', 'c'}), "a") << "starts anew";
  EXPECT_FALSE(decoder.stopped());
  EXPECT_EQ(decoder.finish(), "bc");
  EXPECT_EQ(text({'x', 'b', kUser, 'y'}), "x") << "a special token's name";
  EXPECT_TRUE(decoder.stopped());
  EXPECT_EQ(decoder.finish(), "b");
  EXPECT_THROW(decoder.setStops({""}), Failure);
  EXPECT_EQ(text({'b', 'c', 'd'}), "") << "still the stops before";
  decoder.setStops({});
  EXPECT_EQ(text({'b', 'c', 'd', kUser}), "bcd");
  EXPECT_FALSE(decoder.stopped());
}

TEST_F(CApi, ConversationsInTheModelsFormat) {
  Model model(folder / "m.retort");
  const std::vector<Message> messages = {{"user", "a<|end|>"}};
  EXPECT_EQ(model.chatText(messages), "<|user|>a<|end|>\n<|answer|>");
  const auto tokens = model.chatTokens(messages);
  EXPECT_EQ(tokens.front(), kUser);
  EXPECT_EQ(tokens.back(), kAnswer);
  EXPECT_EQ(tokens.size(), 1 + 1 + 7 + 1 + 1u); // what the user wrote is no special token
  const std::vector<Message> unknown = {{"wizard", "a"}};
  EXPECT_THROW(model.chatText(unknown), Failure);
}

TEST_F(CApi, ConversationsAsJson) {
  Model model(folder / "m.retort");
  Conversation c{.messages = R"([{"role": "user", "content": "a<|end|>", "x": [1, 2.5, null]}])"};
  EXPECT_EQ(model.chatText(c), "<|user|>a<|end|>\n<|answer|>");
  EXPECT_EQ(model.chatTokens(c).size(), 1 + 1 + 7 + 1 + 1u);
  EXPECT_EQ(model.chatText(c, RETORT_NO_ANSWER), "<|user|>a<|end|>\n");
  c.tools = R"([{"name": "f<|end|>", "b": 1, "a": "\u00e9"}])";
  c.variables = R"({"date": "<|end|>"})";
  c.date = "2030-05-07";
  EXPECT_EQ(model.chatText(c),
            "<|user|>a<|end|>\n07<|end|>"
            "[{\"name\": \"f<|end|>\", \"b\": 1, \"a\": \"\xC3\xA9\"}]<|answer|>");
  // Nothing but what the template wrote is a special token.
  const auto tokens = model.chatTokens(c);
  EXPECT_EQ(std::count_if(tokens.begin(), tokens.end(), [](int32_t t) { return t >= 256; }), 2);
}

TEST_F(CApi, ConversationsThatAreRefused) {
  Model model(folder / "m.retort");
  auto refusal = [&](const Conversation &c) -> std::string {
    try {
      model.chatText(c);
    } catch (const Failure &failure) {
      return std::string(retort_status_name(failure.status())) + " " + failure.what();
    }
    return "";
  };
  EXPECT_THAT(
      refusal({.messages = R"([{"role": "wizard"}])"}),
      HasSubstr("RETORT_E_ARGUMENT chat template, line 1: it refuses the conversation: no wizard"));
  EXPECT_THAT(refusal({.messages = R"([{"role": "user"}])"}),
              HasSubstr("RETORT_E_ARGUMENT chat template, line 1: "));
  EXPECT_THAT(refusal({.messages = "[1]"}),
              HasSubstr("RETORT_E_BAD_INPUT messages: is no list of objects"));
  EXPECT_THAT(refusal({.messages = "[{"}),
              HasSubstr("RETORT_E_BAD_INPUT messages: byte 3: is not valid JSON"));
  EXPECT_THAT(refusal({.messages = ""}), HasSubstr("has no messages"));
  EXPECT_THAT(refusal({.messages = "[]", .tools = "{}"}),
              HasSubstr("tools: is no list of objects"));
  EXPECT_THAT(refusal({.messages = "[]", .variables = R"({"tools": 1})"}),
              HasSubstr("RETORT_E_ARGUMENT variables: 'tools' has a place of its own"));
  EXPECT_THAT(refusal({.messages = "[]", .date = "2026-02-29"}),
              HasSubstr("RETORT_E_ARGUMENT the date is none"));
}

TEST_F(CApi, ModelsWithoutTokenizer) {
  writeTestBundle(folder / "bare.retort", testManifest(), 5000, false);
  Model model(folder / "bare.retort");
  EXPECT_EQ(model.info().tokenizer_vocab, 0);
  EXPECT_EQ(model.info().has_chat, 0);
  try {
    model.tokenize("a");
    FAIL();
  } catch (const Failure &failure) {
    EXPECT_EQ(failure.status(), RETORT_E_UNSUPPORTED);
    EXPECT_THAT(failure.what(), HasSubstr("has no tokenizer"));
  }
  Session session(model);
  auto result = session.generate(0, std::vector<int32_t>{1}, {.maxTokens = 5, .onText = [](auto) {
                                                                ADD_FAILURE();
                                                                return true;
                                                              }});
  EXPECT_EQ(result.tokens, 5u);
}

/// No call crashes on NULL.
TEST_F(CApi, GrammarsOfNoKindAreRefused) {
  Model model(folder / "m.retort");
  retort_grammar *grammar = nullptr;
  retort_error error{};
  EXPECT_EQ(retort_grammar_create(model.get(), 99, "a", 1, &grammar, &error), RETORT_E_ARGUMENT);
  EXPECT_EQ(grammar, nullptr);
  EXPECT_THAT(error.message, HasSubstr("there is no such kind of grammar"));
}

TEST_F(CApi, NullIsAnArgumentError) {
  retort_error error;
  EXPECT_EQ(retort_model_open(nullptr, nullptr, nullptr, nullptr), RETORT_E_ARGUMENT);
  retort_model *none = nullptr;
  EXPECT_EQ(retort_model_open(nullptr, nullptr, &none, &error), RETORT_E_ARGUMENT);
  EXPECT_STRNE(error.message, "");
  EXPECT_EQ(retort_model_get_info(nullptr, nullptr), RETORT_E_ARGUMENT);
  EXPECT_STREQ(retort_model_manifest(nullptr), "");
  EXPECT_EQ(retort_model_part(nullptr, "a", nullptr, nullptr, nullptr), RETORT_E_ARGUMENT);
  size_t size = 0;
  EXPECT_EQ(retort_tokenize(nullptr, "", 0, 0, nullptr, 0, &size, nullptr), RETORT_E_ARGUMENT);
  EXPECT_EQ(retort_detokenize(nullptr, nullptr, 0, 0, nullptr, 0, &size, nullptr),
            RETORT_E_ARGUMENT);
  EXPECT_EQ(retort_token_bytes(nullptr, 0, nullptr, nullptr), RETORT_E_ARGUMENT);
  EXPECT_EQ(retort_token_is_stop(nullptr, 0), 0);
  EXPECT_EQ(retort_chat_tokens(nullptr, nullptr, 0, 0, nullptr, 0, &size, nullptr),
            RETORT_E_ARGUMENT);
  EXPECT_EQ(retort_chat_text(nullptr, nullptr, 0, 0, nullptr, 0, &size, nullptr),
            RETORT_E_ARGUMENT);
  EXPECT_EQ(retort_decoder_create(nullptr, nullptr, nullptr), RETORT_E_ARGUMENT);
  EXPECT_EQ(retort_decoder_push(nullptr, 0, nullptr, nullptr), RETORT_E_ARGUMENT);
  EXPECT_EQ(retort_decoder_finish(nullptr, nullptr, nullptr), RETORT_E_ARGUMENT);
  EXPECT_EQ(retort_decoder_set_stops(nullptr, nullptr, 0, nullptr), RETORT_E_ARGUMENT);
  EXPECT_EQ(retort_decoder_stopped(nullptr), 0);
  EXPECT_EQ(retort_session_create(nullptr, nullptr, nullptr, nullptr), RETORT_E_ARGUMENT);
  EXPECT_STREQ(retort_session_error(nullptr), "the session is NULL");
  EXPECT_EQ(retort_session_get_info(nullptr, nullptr), RETORT_E_ARGUMENT);
  EXPECT_EQ(retort_step(nullptr, nullptr, 0, nullptr, 0, nullptr), RETORT_E_ARGUMENT);
  EXPECT_EQ(retort_prefill(nullptr, 0, nullptr, 0, nullptr), RETORT_E_ARGUMENT);
  EXPECT_EQ(retort_slot_length(nullptr, 0), 0u);
  EXPECT_EQ(retort_slot_truncate(nullptr, 0, 0), RETORT_E_ARGUMENT);
  EXPECT_EQ(retort_slot_reset(nullptr, 0), RETORT_E_ARGUMENT);
  EXPECT_EQ(retort_sampler_create(nullptr, nullptr, nullptr), RETORT_E_ARGUMENT);
  EXPECT_EQ(retort_sample(nullptr, nullptr, 0, nullptr), RETORT_E_ARGUMENT);
  EXPECT_EQ(retort_generate(nullptr, 0, nullptr, 0, nullptr, nullptr), RETORT_E_ARGUMENT);
  retort_model_destroy(nullptr);
  retort_session_destroy(nullptr);
  retort_sampler_destroy(nullptr);
  retort_decoder_destroy(nullptr);
}

TEST(Version, SaysItself) {
  EXPECT_STREQ(retort_version(), "0.1.0");
  EXPECT_STREQ(retort_status_name(RETORT_E_CONTEXT), "RETORT_E_CONTEXT");
  EXPECT_STREQ(retort_status_name(99), "RETORT_E_?");
}

} // namespace
} // namespace retort::test
