//===- TaskTest.cpp - Task files and how questions are judged ---------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Task.h"
#include "runtime/base/Error.h"

#include <cmath>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace retort;
using testing::ElementsAre;
using testing::HasSubstr;

namespace {
Error errorOf(std::string_view text) {
  try {
    parseTask(text, "faq.jsonl");
  } catch (const Error &error) {
    return error;
  }
  return {ExitCode::Ok, ""};
}
} // namespace

TEST(Task, EachKindIsReadFromItsFields) {
  const std::vector<TaskItem> items =
      parseTask(R"({"prompt": "open is in", "choices": ["2", " 3"], "answer": 1}

{"question": "What?", "choices": ["so", "caf\u00e9"], "answer": 0, "id": [1, {"x": null}]}
{"prompt": "2 + 2 = ", "answer": "4"}
{"text": "The call returns a file descriptor.\n"}
{"text": "The call returns a file descriptor.", "answer": "file descriptor."})",
                "faq.jsonl");
  ASSERT_EQ(items.size(), 5u);
  EXPECT_EQ(items[0].kind, TaskKind::MultipleChoice);
  EXPECT_EQ(items[0].context, "open is in");
  EXPECT_THAT(items[0].continuations, ElementsAre(" 2", " 3"));
  EXPECT_THAT(items[0].lengths, ElementsAre(1, 2));
  EXPECT_EQ(items[0].answer, 1u);
  EXPECT_EQ(items[1].context, "Question: What?\nAnswer:");
  EXPECT_THAT(items[1].lengths, ElementsAre(2, 4)); // characters, not bytes
  EXPECT_EQ(items[2].kind, TaskKind::ExactMatch);
  EXPECT_THAT(items[2].continuations, ElementsAre("4"));
  EXPECT_EQ(items[3].kind, TaskKind::Cloze);
  EXPECT_EQ(items[3].context, "The call returns a file");
  EXPECT_THAT(items[3].continuations, ElementsAre(" descriptor."));
  EXPECT_EQ(items[4].context, "The call returns a");
  EXPECT_THAT(items[4].continuations, ElementsAre(" file descriptor."));
}

TEST(Task, ABadLineIsRefusedByItsNumber) {
  const std::string good = "{\"prompt\": \"a\", \"answer\": \"b\"}\n\n";
  const std::pair<const char *, const char *> bad[] = {
      {"no json", "is no JSON object"},
      {"[1]", "is no JSON object"},
      {"{\"prompt\": \"a\", \"choices\": [\"b\"], \"answer\": 0}", "at least two \"choices\""},
      {"{\"prompt\": \"a\", \"choices\": \"bc\", \"answer\": 0}", "at least two \"choices\""},
      {"{\"prompt\": \"a\", \"choices\": [\"b\", 1], \"answer\": 0}", "a choice that is no text"},
      {"{\"prompt\": \"a\", \"choices\": [\"b\", \"\"], \"answer\": 0}", "or empty"},
      {"{\"prompt\": \"a\", \"choices\": [\"b\", \"c\"], \"answer\": 2}", "from 0 to 1"},
      {"{\"prompt\": \"a\", \"choices\": [\"b\", \"c\"], \"answer\": -1}", "from 0 to 1"},
      {"{\"prompt\": \"a\", \"choices\": [\"b\", \"c\"], \"answer\": \"b\"}", "from 0 to 1"},
      {"{\"prompt\": \"a\", \"choices\": [\"b\", \"c\"]}", "from 0 to 1"},
      {"{\"prompt\": \"a\", \"question\": \"b\", \"answer\": \"c\"}", "either \"prompt\" or"},
      {"{\"answer\": \"c\"}", "either \"prompt\" or"},
      {"{\"prompt\": \"\", \"answer\": \"c\"}", "needs \"prompt\""},
      {"{\"prompt\": \"a\", \"answer\": 1}", "needs \"answer\""},
      {"{\"text\": \"word\"}", "has a \"text\" with nothing before what is to be predicted"},
      {"{\"text\": \"a b\", \"answer\": \"c\"}", "does not end with"},
      {"{\"text\": 1}", "needs \"text\""},
      {"{\"prompt\": \"\xff\", \"answer\": \"b\"}", "not UTF-8"}};
  for (const auto &[line, words] : bad) {
    const Error error = errorOf(good + line + "\n" + good);
    EXPECT_EQ(error.code, ExitCode::BadInput) << line;
    EXPECT_THAT(error.message, testing::StartsWith("faq.jsonl:3: the line "));
    EXPECT_THAT(error.message, HasSubstr(words)) << line;
    EXPECT_EQ(error.message.find('\n'), std::string::npos);
  }
  EXPECT_THAT(errorOf("\n \n").message, HasSubstr("has no questions"));
  EXPECT_EQ(errorOf("\n").code, ExitCode::BadInput);
}

// lm-evaluation-harness, api/task.py: acc is argmax(lls) == gold, acc_norm is
// argmax(lls / [len(choice)]) == gold, where argmax takes the first of several.
TEST(Task, ChoicesAreJudgedAsTheHarnessDoes) {
  TaskItem item{.continuations = {" a", " abcd", " abcd"}, .lengths = {1, 4, 4}, .answer = 1};
  EXPECT_FALSE(isChosen(item, {-2, -4, -5}, false));
  EXPECT_TRUE(isChosen(item, {-2, -4, -5}, true));
  EXPECT_TRUE(isChosen(item, {-2, -1, -1}, false));
  item.answer = 2;
  EXPECT_FALSE(isChosen(item, {-2, -1, -1}, false));
}

TEST(Task, AccuracyHasThePairedInterval) {
  std::vector<double> a, b;
  for (int i = 0; i < 100; ++i) {
    a.push_back(i < 80);
    b.push_back(i < 70);
  }
  EXPECT_DOUBLE_EQ(accuracy(a).value, 0.8);
  // The harness's stderr of a mean: the sample's deviation / sqrt(n).
  EXPECT_NEAR(accuracy(a).standardError, std::sqrt(0.8 * 0.2 * 100 / 99 / 100), 1e-12);
  const Estimate difference = accuracyDifference(a, b);
  EXPECT_DOUBLE_EQ(difference.value, 0.1);
  EXPECT_GT(difference.low, 0.04);
  EXPECT_LT(difference.high, 0.18);
}
