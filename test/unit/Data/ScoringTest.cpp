//===- ScoringTest.cpp - Bits per byte on documents -------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Scoring.h"
#include "runtime/base/Error.h"
#include "test/unit/Data/TestText.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <numbers>

using namespace retort;
using namespace retort::test;

namespace {
std::vector<int32_t> bytesOf(std::string_view text) { return {text.begin(), text.end()}; }
/// Another vocabulary: two bytes a token.
std::vector<int32_t> pairsOf(std::string_view text) {
  return std::vector<int32_t>((text.size() + 1) / 2, 1);
}

std::vector<Document> randomDocuments(uint64_t seed, size_t count) {
  std::mt19937_64 random(seed);
  std::vector<Document> documents;
  for (size_t i = 0; i < count; ++i)
    documents.push_back(documentOf(joined(randomWords(random, 20 + random() % 200))));
  return documents;
}
} // namespace

TEST(EvalWindows, CoverEachTokenOnce) {
  std::vector<Document> documents = randomDocuments(1, 30);
  const EvalWindows windows = evalWindows(pointersTo(documents), bytesOf, 0, 100);
  uint64_t bytes = 0;
  std::vector<std::string> texts(windows.textBytes.size());
  for (const EvalWindow &window : windows.windows) {
    EXPECT_LE(window.tokens.size(), 100u);
    texts[window.document].append(window.tokens.begin(), window.tokens.end());
  }
  std::vector<std::string> expected;
  for (const Document &document : documents) {
    expected.push_back(document.text);
    bytes += document.text.size();
  }
  EXPECT_EQ(windows.tokens, bytes);
  EXPECT_EQ(windows.totalBytes, bytes);
  std::sort(texts.begin(), texts.end());
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(texts, expected);
}

TEST(EvalWindows, ALimitTakesTheSameTextForEveryTokenizer) {
  std::vector<Document> documents = randomDocuments(2, 60);
  documents.push_back(documentOf(std::string(100'000, 'x'))); // must not drown the others
  const EvalWindows bytes = evalWindows(pointersTo(documents), bytesOf, 0, 64, 20'000);
  std::reverse(documents.begin(), documents.end());
  const EvalWindows pairs = evalWindows(pointersTo(documents), pairsOf, 0, 64, 20'000);
  EXPECT_EQ(bytes.sha256, pairs.sha256);
  EXPECT_EQ(bytes.textBytes, pairs.textBytes);
  EXPECT_LE(bytes.totalBytes, 20'000u);
  EXPECT_GE(bytes.totalBytes, 19'000u);
  EXPECT_LE(*std::max_element(bytes.textBytes.begin(), bytes.textBytes.end()), 2500u);
}

TEST(Scoring, BitsPerByteIsARatioOfSums) {
  const double ln2 = std::numbers::ln2;
  const std::vector<DocumentScore> scores = {{100, 100 * ln2}, {300, 600 * ln2}};
  const Estimate estimate = bitsPerByte(scores);
  EXPECT_DOUBLE_EQ(estimate.value, 700.0 / 400);
  // Residuals 100 - 175 and 600 - 525, each 75: sqrt(2 / 1 * 2 * 75^2) / 400.
  EXPECT_NEAR(estimate.standardError, 150.0 / 400, 1e-12);
  EXPECT_TRUE(std::isnan(bitsPerByte(std::vector<DocumentScore>{{10, 1}}).standardError));
}

TEST(Scoring, StandardErrorIsThatOfRepeatedDraws) {
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal;
  const auto draw = [&] {
    std::vector<DocumentScore> scores;
    for (int i = 0; i < 60; ++i) {
      const auto bytes = 500 + random() % 5000;
      scores.push_back({bytes, static_cast<double>(bytes) * (0.6 + 0.1 * normal(random))});
    }
    return bitsPerByte(scores);
  };
  double sum = 0, squares = 0, claimed = 0;
  constexpr int rounds = 2000;
  for (int i = 0; i < rounds; ++i) {
    const Estimate estimate = draw();
    sum += estimate.value;
    squares += estimate.value * estimate.value;
    claimed += estimate.standardError / rounds;
  }
  const double actual = std::sqrt(squares / rounds - sum * sum / rounds / rounds);
  EXPECT_NEAR(claimed, actual, 0.1 * actual);
}

TEST(Scoring, PairedDifferenceCancelsWhatIsHardForBoth) {
  std::mt19937_64 random(4);
  std::vector<DocumentScore> a, b;
  for (int i = 0; i < 50; ++i) {
    const double hard = 0.3 + static_cast<double>(random() % 1000) / 1000;
    a.push_back({1000, 1000 * hard});
    b.push_back({1000, 1000 * (hard + 0.01)});
  }
  const Estimate difference = bitsPerByteDifference(b, a);
  EXPECT_NEAR(difference.value, 0.01 / std::numbers::ln2, 1e-9);
  EXPECT_LT(difference.standardError, 1e-9);
  EXPECT_GT(bitsPerByte(a).standardError, 0.01);
  b[0].textBytes = 999;
  EXPECT_THROW(bitsPerByteDifference(a, b), Error);
}
