//===- ScoringTest.cpp - Bits per byte on documents -------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Scoring.h"
#include "runtime/base/Error.h"
#include "test/unit/Data/TestText.h"

#include <algorithm>
#include <cmath>
#include <functional>
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
  std::vector<std::string> texts(windows.documents.size());
  for (const EvalWindow &window : windows.windows) {
    EXPECT_LE(window.tokens.size(), 100u);
    EXPECT_GE(window.tokens.size(), 50u); // even: no sliver
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
  ASSERT_EQ(bytes.documents.size(), pairs.documents.size());
  EXPECT_LE(bytes.totalBytes, 20'000u);
  EXPECT_GE(bytes.totalBytes, 19'000u);
  EXPECT_GE(bytes.documents.size(), kLeastScoredDocuments);
  for (size_t d = 0; d < bytes.documents.size(); ++d) {
    EXPECT_EQ(bytes.documents[d].sha256, pairs.documents[d].sha256);
    EXPECT_EQ(bytes.documents[d].textBytes, pairs.documents[d].textBytes);
    EXPECT_LE(bytes.documents[d].textBytes, 20'000 / kLeastScoredDocuments);
  }
}

TEST(EvalWindows, EveryTokenizerSeesTheSameTextInAWindow) {
  std::mt19937_64 random(6);
  std::vector<Document> documents = {documentOf(joined(randomWords(random, 5000))),
                                     documentOf(std::string(kScoredWindowBytes + 1, 'x')),
                                     documentOf(std::string(6000, ' ') + "\n")};
  // One token a call: what it was asked to tokenise, by number.
  std::vector<std::string> texts;
  const auto whole = [&](std::string_view text) {
    texts.emplace_back(text);
    return std::vector<int32_t>{static_cast<int32_t>(texts.size() - 1)};
  };
  const EvalWindows one = evalWindows(pointersTo(documents), whole, 0, 1);
  const EvalWindows bytes = evalWindows(pointersTo(documents), bytesOf, 0, kScoredWindowBytes);
  ASSERT_EQ(one.windows.size(), bytes.windows.size());
  for (size_t w = 0; w < bytes.windows.size(); ++w) {
    const std::string &text = texts[static_cast<size_t>(one.windows[w].tokens[0])];
    EXPECT_EQ(text, std::string(bytes.windows[w].tokens.begin(), bytes.windows[w].tokens.end()));
    EXPECT_LE(text.size(), kScoredWindowBytes);
    EXPECT_GE(text.size(), kScoredWindowBytes / 4);
  }
  for (const EvalDocument &document : bytes.documents)
    EXPECT_LE(document.textBytes, kScoredDocumentBytes);
  EXPECT_EQ(texts[0].back(), '\n');
}

namespace {
/// 40 documents, of which the first model's text is harder in the long tail.
struct Sample {
  std::vector<DocumentScore> teacher, student;

  Sample() {
    uint64_t state = 12345;
    const auto uniform = [&] {
      state = state * 6364136223846793005u + 1442695040888963407u;
      return static_cast<double>(state >> 33) / 0x1p31;
    };
    for (int i = 0; i < 40; ++i) {
      const auto bytes = 500 + static_cast<uint64_t>(uniform() * 7500);
      const double u = uniform(), hard = 0.4 + 0.8 * u * u * u;
      teacher.push_back({bytes, static_cast<double>(bytes) * hard});
      student.push_back({bytes, static_cast<double>(bytes) * hard * (0.8 + 0.3 * uniform())});
    }
  }
};

/// Ends of an interval from 10,000 resamples differ from the limit by about 0.03 standard errors.
void expectInterval(const Estimate &estimate, double value, double low, double high,
                    double standardError) {
  EXPECT_NEAR(estimate.value, value, 1e-12);
  EXPECT_NEAR(estimate.low, low, 0.1 * standardError);
  EXPECT_NEAR(estimate.high, high, 0.1 * standardError);
}
} // namespace

// The values are of scipy 1.17.1: stats.bootstrap((numerators, denominators), ratio, paired=True,
// method="BCa", n_resamples=400000, random_state=1), and numpy's for the effective number.
TEST(Scoring, IntervalsAreScipysBCa) {
  const Sample s;
  EXPECT_NEAR(effectiveDocuments(s.teacher), 31.92015183160512, 1e-9);
  expectInterval(bitsPerByte(s.student), 0.8211554486560405, 0.7188785967820994, 0.9639691191323163,
                 0.06117964135371868);
  expectInterval(bitsPerByteDifference(s.student, s.teacher), -0.0545356789024901,
                 -0.0919245970835675, -0.024992063526936906, 0.016926193375636767);
  expectInterval(bitsPerByteRatio(s.student, s.teacher), 0.937722700177929, 0.9021803859128303,
                 0.9719218135498301, 0.0178594594662189);
  EXPECT_EQ(bitsPerByte(s.student).low, bitsPerByte(s.student).low);
}

namespace {
/// How many of 300 intervals over 60 documents hold the true ratio `truth`, where `rate` draws a
/// document's nats a byte.
int covered(double truth, const std::function<double(double normal)> &rate) {
  std::mt19937_64 random(9);
  std::normal_distribution<double> normal;
  int count = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<DocumentScore> scores;
    for (int i = 0; i < 60; ++i) {
      const auto bytes = 500 + random() % 7500;
      scores.push_back({bytes, static_cast<double>(bytes) * rate(normal(random))});
    }
    const Estimate estimate = bitsPerByte(scores);
    count +=
        estimate.low <= truth / std::numbers::ln2 && truth / std::numbers::ln2 <= estimate.high;
  }
  return count;
}
} // namespace

TEST(Scoring, AnIntervalCoversTheTruthNineteenTimesInTwenty) {
  const int symmetric = covered(0.5, [](double z) { return 0.5 + 0.1 * z; });
  // 285 are expected, with a standard deviation of 3.8.
  EXPECT_GE(symmetric, 273);
  EXPECT_LE(symmetric, 297);
  // A long tail to the right, whose mean is 0.5 + 0.1 e^(1/8). scipy's BCa covers 92 to 93 % of such
  // samples of 60: 278, with a standard deviation of 4.5.
  EXPECT_GE(
      covered(0.5 + 0.1 * std::exp(0.125), [](double z) { return 0.5 + 0.1 * std::exp(z / 2); }),
      264);
}

TEST(Scoring, NoIntervalWithoutTwoDocumentsAndAPointWithoutSpread) {
  const Estimate one = bitsPerByte(std::vector<DocumentScore>{{100, 50}});
  EXPECT_TRUE(std::isnan(one.low) && std::isnan(one.high) && std::isnan(one.standardError));
  const Estimate flat = bitsPerByte(std::vector<DocumentScore>(20, {100, 50}));
  EXPECT_DOUBLE_EQ(flat.low, flat.value);
  EXPECT_DOUBLE_EQ(flat.high, flat.value);
  EXPECT_EQ(effectiveDocuments({}), 0);
  EXPECT_DOUBLE_EQ(effectiveDocuments(std::vector<DocumentScore>(20, {100, 50})), 20);
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
  constexpr int rounds = 400;
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
