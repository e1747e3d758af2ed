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
  EXPECT_EQ(shinglesOf(" ... ", 5).size(), 1u);
  EXPECT_EQ(shinglesOf("\u4e2d\u6587\u5b57\u7b26\u4e32\u5904", 5).size(), 2u); // a word a character
}

/// What a reader takes for the same has the same shingles.
TEST(NearDuplicates, ReadersSeeNoCaseFormOrHiddenCharacter) {
  const std::vector<uint64_t> plain =
      shinglesOf("Caf\u00e9 au lait for the \u00dcber Stra\u00dfe", 3);
  for (const char *same :
       {"Cafe\u0301 au lait for the U\u0308ber Stra\u00dfe",           // NFD
        "caf\u00c9 AU\u00a0lait for\u2003the \u00fcber STRASSE",       // case, spaces
        "Ca\u200bf\u00e9 au la\u00adit for the \u00dcber Stra\u00dfe", // not shown
        "\uff23af\u00e9 au lait for the \u00dcber Stra\u00dfe"})       // wide
    EXPECT_EQ(shinglesOf(same, 3), plain) << same;
  EXPECT_NE(shinglesOf("Cafe au lait for the \u00dcber Stra\u00dfe", 3), plain);
}

/// Runs of letters from `first` on, a space after each `every` (0: none).
static std::string lettersFrom(char32_t first, unsigned letters, size_t length, size_t every,
                               std::mt19937_64 &random) {
  std::string text;
  for (size_t i = 0; i < length; ++i) {
    const char32_t c = first + random() % letters;
    text += {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 63)),
             static_cast<char>(0x80 | (c & 63))};
    if (every && i % every == every - 1)
      text += ' ';
  }
  return text;
}

/// Scripts without spaces between words: one letter changed in 250 leaves a near-duplicate.
TEST(NearDuplicates, FindsCopiesInEveryScript) {
  std::mt19937_64 random(11);
  for (const auto &[first, letters] :
       std::initializer_list<std::pair<char32_t, unsigned>>{{0x0E01, 46},    // Thai
                                                            {0x0E94, 4},     // Lao
                                                            {0x1000, 33},    // Burmese
                                                            {0x1780, 35},    // Khmer
                                                            {0x3042, 70},    // kana
                                                            {0x4E00, 2000}}) // Chinese
    for (const size_t every : {size_t(0), size_t(40)}) {
      const std::string text = lettersFrom(first, letters, 2000, every, random);
      std::string copy = text;
      for (size_t i = 0; i < 8; ++i) // 40 letters and a space are 121 bytes
        copy.replace(every ? i * 6 * 121 + 30 : i * 690 + 300, 3, text, 0, 3);
      NearDuplicateIndex index(0.8, 5);
      EXPECT_EQ(index.findOrAdd(text), -1);
      EXPECT_EQ(index.findOrAdd(lettersFrom(first, letters, 2000, every, random)), -1)
          << uint32_t(first);
      EXPECT_EQ(index.findOrAdd(copy), 0) << uint32_t(first);
    }
}

TEST(NearDuplicates, TextsOfSignsAreToldApart) {
  NearDuplicateIndex index(0.8, 5);
  for (const char *text :
       {"++++[>+++<-]>.<", ">>,[>>,]<<[[<<]>>>>]<<.", "--==##==-- /\\/\\ ~~~ !!! ???",
        "|---|---|\n|:-:|---|", "\u2190\u2191\u2192\u2193", "\u200b"})
    EXPECT_EQ(index.findOrAdd(text), -1) << text;
  EXPECT_EQ(index.findOrAdd("++++ [>+++<-] >.<"), 0);
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
