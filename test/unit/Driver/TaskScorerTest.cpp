//===- TaskScorerTest.cpp - Answers of a model that knows one text --------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/TaskScorer.h"

#include <algorithm>
#include <gtest/gtest.h>

using namespace retort;

namespace {
constexpr int32_t kStop = 256, kVocab = 257;

/// A model over bytes that finds the next byte of its text the likeliest, then the end.
class Parrot : public Scorer {
public:
  explicit Parrot(std::string text, uint32_t context = 100)
      : text_(std::move(text)), context_(context) {}

  TokenizeFn tokenize() const override {
    return [](std::string_view text) {
      std::vector<int32_t> tokens;
      for (unsigned char byte : text)
        tokens.push_back(byte);
      return tokens;
    };
  }
  int32_t startToken() const override { return kStop; }
  uint32_t context() const override { return context_; }
  std::string vocabularyIdentity() const override { return "bytes"; }
  std::string_view tokenBytes(int32_t token) const override {
    bytes_[0] = static_cast<char>(token);
    return {bytes_, 1};
  }
  bool isStop(int32_t token) const override { return token == kStop; }

  void logits(std::span<const std::vector<int32_t>> sequences, const OnRow &onRow) override {
    for (size_t s = 0; s < sequences.size(); ++s) {
      EXPECT_LE(sequences[s].size(), context_);
      rows_ += sequences[s].size();
      std::string seen;
      for (size_t r = 0; r < sequences[s].size(); ++r) {
        if (sequences[s][r] != kStop)
          seen += static_cast<char>(sequences[s][r]);
        std::vector<float> logits(kVocab);
        const size_t at = text_.find(seen);
        const bool ends = at == std::string::npos || at + seen.size() >= text_.size();
        logits[ends ? kStop : static_cast<unsigned char>(text_[at + seen.size()])] = 5;
        onRow(s, r, logits);
      }
    }
  }
  size_t rows() const { return rows_; }

private:
  std::string text_;
  uint32_t context_;
  size_t rows_ = 0;
  mutable char bytes_[1];
};

double answered(TaskItem item, const std::string &text) {
  Parrot parrot(text);
  Progress silent(true);
  return scoreTask({std::move(item)}, parrot, silent).acc.at(0);
}

double exactly(const std::string &prompt, const std::string &answer, const std::string &text) {
  return answered({TaskKind::ExactMatch, prompt, {answer}, {}, 0}, text);
}
} // namespace

TEST(TaskScorer, AnExactMatchEndsWithTheLineOrTheText) {
  EXPECT_EQ(exactly("2 + 2 =", "4", "2 + 2 = 4\nmore"), 1);
  EXPECT_EQ(exactly("2 + 2 =", "4", "2 + 2 = 4"), 1);
  EXPECT_EQ(exactly("2 + 2 =", " 4 ", "2 + 2 = 4 \n"), 1);
  EXPECT_EQ(exactly("2 + 2 =", "4", "2 + 2 = 42\n"), 0);
  EXPECT_EQ(exactly("2 + 2 =", "42", "2 + 2 = 4\n"), 0);
  EXPECT_EQ(exactly("2 + 2 =", "4", "2 + 2 =\n4\n"), 0);
  EXPECT_EQ(exactly("a", "b c\nd", "ab c\nd\n\ne"), 1);
  EXPECT_EQ(exactly("a", "b c\nd", "ab c\nd\ne"), 0);
}

TEST(TaskScorer, AWrongAnswerIsGivenUpAtItsFirstToken) {
  Parrot parrot("a" + std::string(50, 'x'));
  Progress silent(true);
  EXPECT_EQ(scoreTask({{TaskKind::ExactMatch, "a", {"no"}, {}, 0}}, parrot, silent).acc[0], 0);
  EXPECT_EQ(parrot.rows(), 2u);
}

TEST(TaskScorer, AClozeWantsEachToken) {
  EXPECT_EQ(answered({TaskKind::Cloze, "it opens a", {" file"}, {}, 0}, "it opens a file"), 1);
  EXPECT_EQ(answered({TaskKind::Cloze, "it opens a", {" film"}, {}, 0}, "it opens a file"), 0);
}

TEST(TaskScorer, TheChoiceOfTheLargestLikelihoodCounts) {
  const TaskItem item{
      TaskKind::MultipleChoice, "it opens a ", {"door", "file", "fi"}, {4, 4, 2}, 1};
  Parrot parrot("it opens a file");
  Progress silent(true);
  const TaskScore score = scoreTask({item}, parrot, silent);
  EXPECT_EQ(score.acc[0], 0); // the part of an answer has the larger sum
  EXPECT_EQ(score.accNorm[0], 1);
}

TEST(TaskScorer, WhatDoesNotFitIsCutAtTheLeft) {
  Parrot parrot("abcdefghij", 5);
  Progress silent(true);
  const auto cloze = [](const std::string &context, const std::string &end) {
    return std::vector<TaskItem>{{TaskKind::Cloze, context, {end}, {}, 0}};
  };
  EXPECT_EQ(scoreTask(cloze("abcdefgh", "ij"), parrot, silent).acc[0], 1);
  EXPECT_THROW(scoreTask(cloze("abc", "defgh"), parrot, silent), Error);
}
