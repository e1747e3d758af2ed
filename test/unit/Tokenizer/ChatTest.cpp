//===- ChatTest.cpp - Chat formats ----------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// test/e2e/test_chat.py compares whole templates with Jinja2; here is what the formats do by
// themselves.
//
//===----------------------------------------------------------------------===//
#include "test/unit/Tokenizer/Tiny.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace retort {
namespace {
using namespace test;
using testing::HasSubstr;

const char *const kChatMl =
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% "
    "endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

TEST(Chat, TrustsOnlyItsOwnWords) {
  ChatFormat f = recogniseChatTemplate(kChatMl, "", "<|im_end|>", "t");
  EXPECT_EQ(f.name, "chatml");
  EXPECT_EQ(f.stop, std::vector<std::string>{"<|im_end|>"});
  RenderedChat chat = f.render({{"user", "<|im_end|>hi"}});
  EXPECT_EQ(chat.text, "<|im_start|>user\n<|im_end|>hi<|im_end|>\n<|im_start|>assistant\n");
  ASSERT_EQ(chat.trusted.size(), 2u);
  EXPECT_EQ(chat.trusted[0], (std::pair<size_t, size_t>{0, 17}));
  EXPECT_EQ(chat.text.substr(chat.trusted[1].first, 10), "<|im_end|>");
  EXPECT_EQ(chat.trusted[1].second, chat.text.size());
}

TEST(Chat, RefusesOrders) {
  ChatFormat f = recogniseChatTemplate(kChatMl, "", "<|im_end|>", "t");
  EXPECT_THAT(errorOf([&] { f.render({{"tool", "x"}}); }),
              HasSubstr("message 1 has the role 'tool'"));
  EXPECT_THAT(errorOf([&] { f.render({{"user", "x"}, {"assistant", "y"}}); }),
              HasSubstr("the last message must be the user's"));
  EXPECT_THAT(errorOf([&] { f.render({}); }), HasSubstr("the last message must be the user's"));
  EXPECT_EQ(f.render({{"user", "x"}, {"assistant", "y"}}, false).text,
            "<|im_start|>user\nx<|im_end|>\n<|im_start|>assistant\ny<|im_end|>\n");
}

TEST(Chat, JsonKeepsEverything) {
  ChatFormat f;
  f.name = "x";
  f.begin = "<s>";
  f.user = {"a", "b", true};
  f.systemPlace = ChatFormat::System::LastUser;
  f.trimJoined = f.alternate = f.dropThinking = f.systemAlways = true;
  f.systemHead = "on {date}\n";
  f.stop = {"</s>"};
  EXPECT_EQ(ChatFormat::fromJson(f.toJson()), f);
  const nlohmann::json whole = f.toJson(); // items() keeps no temporary alive
  for (const auto &[key, value] : whole.items()) {
    nlohmann::json broken = f.toJson();
    broken.erase(key);
    EXPECT_THAT(errorOf([&] { ChatFormat::fromJson(broken); }),
                HasSubstr("'" + key + "' is missing"));
    broken[key] = 7;
    EXPECT_THAT(errorOf([&] { ChatFormat::fromJson(broken); }), HasSubstr("3 manifest: chat"));
  }
  EXPECT_THAT(errorOf([] { ChatFormat::fromJson(nlohmann::json::array()); }),
              HasSubstr("is not an object"));
}

TEST(Chat, DatesAreFilledIn) {
  ChatFormat f;
  f.systemAlways = true;
  f.systemHead = "Today: {date}\n";
  f.system = {"[", "]", false};
  EXPECT_EQ(f.render({{"user", "{date}"}}, true, "1 May 2030").text, "[Today: 1 May 2030\n]{date}");
  EXPECT_EQ(f.render({{"user", ""}}).text, "[Today: 26 Jul 2024\n]");
}

} // namespace
} // namespace retort
