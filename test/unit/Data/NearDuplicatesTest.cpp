//===- NearDuplicatesTest.cpp - Texts that are almost the same --------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/NearDuplicates.h"
#include "test/unit/Data/TestText.h"

#include <gtest/gtest.h>

using namespace retort;
using namespace retort::test;

TEST(NearDuplicates, ShinglesSeeWordsOnly) {
  EXPECT_EQ(shinglesOf("Open the file, then close it.", 3),
            shinglesOf("open  THE\nfile then close (it)", 3));
  EXPECT_NE(shinglesOf("open the file", 3), shinglesOf("close the file", 3));
  EXPECT_EQ(shinglesOf("a b c d e f", 5).size(), 2u);
  EXPECT_EQ(shinglesOf("a b", 5).size(), 1u);
  EXPECT_TRUE(shinglesOf(" ... ", 5).empty());
  EXPECT_EQ(shinglesOf("\u4e2d\u6587\u5b57\u7b26\u4e32\u5904", 5).size(), 2u); // a word a character
}

TEST(NearDuplicates, JaccardIsExact) {
  EXPECT_DOUBLE_EQ(jaccard({1, 2, 3}, {2, 3, 4}), 0.5);
  EXPECT_DOUBLE_EQ(jaccard({1, 2}, {3}), 0);
  EXPECT_DOUBLE_EQ(jaccard({}, {}), 1);
  EXPECT_DOUBLE_EQ(jaccard({1}, {}), 0);
}

/// `text` with one word in `every` replaced: each such edit changes five of its shingles.
static std::string edited(std::vector<std::string> words, size_t every, std::mt19937_64 &random) {
  for (size_t i = every / 2; i < words.size(); i += every)
    words[i] = "edit" + std::to_string(random());
  return joined(words);
}

TEST(NearDuplicates, FindsEveryPairAboveTheThresholdAndNoneBelow) {
  std::mt19937_64 random(7);
  unsigned above = 0, below = 0;
  for (int round = 0; round < 300; ++round) {
    const std::vector<std::string> words = randomWords(random, 600);
    // From one edit in 20 words (similarity about 0.6) to one in 120 (about 0.92).
    const std::string original = joined(words), copy = edited(words, 20 + random() % 100, random);
    const double similarity = jaccard(shinglesOf(original, 5), shinglesOf(copy, 5));
    NearDuplicateIndex index(0.8, 5);
    ASSERT_EQ(index.findOrAdd(original), -1);
    const bool found = index.findOrAdd(copy) == 0;
    EXPECT_EQ(found, similarity >= 0.8) << similarity;
    ++(similarity >= 0.8 ? above : below);
  }
  EXPECT_GT(above, 50u);
  EXPECT_GT(below, 50u);
}

TEST(NearDuplicates, TellsWhichTextItWas) {
  std::mt19937_64 random(3);
  std::vector<std::vector<std::string>> words;
  std::vector<std::string> texts;
  for (int i = 0; i < 200; ++i) {
    words.push_back(randomWords(random, 200));
    texts.push_back(joined(words.back()));
  }
  NearDuplicateIndex index(0.8, 5);
  for (const std::string &text : texts)
    ASSERT_EQ(index.findOrAdd(text), -1);
  for (size_t i = 0; i < texts.size(); ++i)
    EXPECT_EQ(index.findOrAdd(edited(words[i], 100, random)), static_cast<int64_t>(i));
}

TEST(NearDuplicates, TextsWithoutWordsAreAlike) {
  NearDuplicateIndex index(0.8, 5);
  EXPECT_EQ(index.findOrAdd("..."), -1);
  EXPECT_EQ(index.findOrAdd("---"), 0);
  EXPECT_EQ(index.findOrAdd("word"), -1);
}
