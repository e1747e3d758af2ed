//===- GateTest.cpp - What a specialist must reach ------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Gate.h"
#include "runtime/base/Error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace retort;
using testing::HasSubstr;

namespace {
std::string refusal(const std::string &text) {
  try {
    Gate::parse(text);
  } catch (const Error &error) {
    EXPECT_EQ(error.code, ExitCode::Usage);
    EXPECT_EQ(error.message.find('\n'), std::string::npos);
    return error.message;
  }
  return "accepted";
}
} // namespace

TEST(Gate, ReadsEachForm) {
  const Gate bits = Gate::parse(" bits_per_byte <= 0.85 * teacher ");
  EXPECT_EQ(bits.metric, "bits_per_byte");
  EXPECT_EQ(bits.bound, 0.85);
  EXPECT_TRUE(bits.ofTeacher && !bits.strict && bits.task.empty());
  EXPECT_EQ(bits.text, "bits_per_byte <= 0.85 * teacher");
  const Gate beats = Gate::parse("bits_per_byte<teacher");
  EXPECT_TRUE(beats.ofTeacher && beats.strict);
  EXPECT_EQ(beats.bound, 1);
  const Gate task = Gate::parse("task:my questions.jsonl >= 0.8");
  EXPECT_EQ(task.task, "my questions.jsonl");
  EXPECT_EQ(task.metric, "acc");
  EXPECT_TRUE(!task.ofTeacher && !task.strict);
  const Gate norm = Gate::parse("task:faq.jsonl acc_norm > 1.1*teacher");
  EXPECT_EQ(norm.task, "faq.jsonl");
  EXPECT_EQ(norm.metric, "acc_norm");
  EXPECT_EQ(norm.bound, 1.1);
}

TEST(Gate, SaysWhatIsWrong) {
  EXPECT_THAT(refusal("bits_per_byte"), HasSubstr("compares nothing"));
  EXPECT_THAT(refusal("perplexity <= 3"),
              HasSubstr("'perplexity' is no figure: there are bits_per_byte"));
  EXPECT_THAT(refusal("bits_per_byte >= 1"), HasSubstr("the limit is <="));
  EXPECT_THAT(refusal("task:a <= 0.5"), HasSubstr("the limit of an accuracy is >="));
  EXPECT_THAT(refusal("bits_per_byte = 1"), HasSubstr("'=' is no limit"));
  EXPECT_THAT(refusal("task: >= 0.5"), HasSubstr("names no task file"));
  EXPECT_THAT(refusal("task:a >= 1.5"), HasSubstr("no accuracy is above 1"));
  EXPECT_THAT(refusal("bits_per_byte <= 0.85 teacher"), HasSubstr("expected '*' before teacher"));
  EXPECT_THAT(refusal("bits_per_byte <= x * teacher"), HasSubstr("'x' is no number above 0"));
  for (const char *number : {"", "nan", "inf", "-1", "0", "1e999", "1 2"})
    EXPECT_THAT(refusal(std::string("bits_per_byte <= ") + number), HasSubstr("no number above 0"));
}

TEST(Gate, StandsAroundThePipeline) {
  const Gates none({});
  EXPECT_EQ(none.around("builtin.module(cse)", "9"), "builtin.module(cse)");
  const Gates gates({"bits_per_byte <= 0.85 * teacher", "bits_per_byte < 1"});
  EXPECT_TRUE(gates.needCorpus());
  EXPECT_EQ(gates.around("builtin.module(cse,run-data-work)", "9"),
            "builtin.module(insert-score{name=teacher_as_it_came tokens=9},run-data-work,"
            "cse,run-data-work"
            ",insert-score{name=specialist_at_gate tokens=9}"
            ",insert-gate{score=specialist_at_gate metric=bits_per_byte bound=0.85"
            " of=teacher_as_it_came}"
            ",insert-gate{score=specialist_at_gate metric=bits_per_byte bound=1 strict=true}"
            ",run-data-work)");
}

TEST(Gate, FailuresAreOneLine) {
  EXPECT_EQ(failureOf({{"a", 1, 2, true}}), "");
  EXPECT_EQ(failureOf({{"a", 1, 2, true}, {"b", 0.5, 0.25, false}, {"c", 3, 4, false}}),
            "b: reached 0.5000, the limit is 0.2500; c: reached 3.0000, the limit is 4.0000");
}
