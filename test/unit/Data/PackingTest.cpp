//===- PackingTest.cpp - Documents as sequences of tokens -------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Data/Packing.h"
#include "runtime/base/Error.h"
#include "test/unit/Data/TestText.h"

#include <algorithm>
#include <gtest/gtest.h>
#include <map>
#include <set>

using namespace retort;
using namespace retort::test;

namespace {
constexpr int32_t startToken = 0;

/// Tokens of one to three bytes whose ids tell their bytes apart.
std::vector<int32_t> tokenize(std::string_view text) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < text.size();) {
    const size_t length =
        std::min<size_t>(text.size() - i, 1 + static_cast<unsigned char>(text[i]) % 3u);
    uint32_t id = 1;
    for (size_t j = 0; j < length; ++j)
      id = id * 131 + static_cast<unsigned char>(text[i + j]);
    tokens.push_back(static_cast<int32_t>(id));
    i += length;
  }
  return tokens;
}

std::vector<Document> randomDocuments(uint64_t seed, size_t count) {
  std::mt19937_64 random(seed);
  std::vector<Document> documents;
  for (size_t i = 0; i < count; ++i)
    documents.push_back(documentOf(joined(randomWords(random, 1 + random() % 120))));
  return documents;
}

/// The windows in a packing: the targets of each, in order, having checked every row on the way.
std::vector<std::vector<int32_t>> windowsOf(const PackedSequences &packed) {
  std::vector<std::vector<int32_t>> windows;
  const size_t length = packed.sequenceTokens;
  for (size_t row = 0; row < packed.tokens.size(); ++row) {
    if (packed.document[row] < 0) {
      EXPECT_EQ(packed.targets[row], -1);
      EXPECT_EQ(packed.targetBytes[row], 0u);
      continue;
    }
    const bool first = row % length == 0 || packed.document[row] != packed.document[row - 1];
    if (first) {
      EXPECT_EQ(packed.tokens[row], startToken);
      EXPECT_EQ(packed.positions[row], 0);
      EXPECT_EQ(packed.document[row], row % length ? packed.document[row - 1] + 1 : 0);
      windows.emplace_back();
    } else {
      EXPECT_EQ(packed.tokens[row], packed.targets[row - 1]);
      EXPECT_EQ(packed.positions[row], packed.positions[row - 1] + 1);
    }
    EXPECT_GE(packed.targets[row], 0);
    windows.back().push_back(packed.targets[row]);
  }
  return windows;
}

/// The windows that a document must become.
std::vector<std::vector<int32_t>> expectedWindows(const Document &document, size_t length) {
  const std::vector<int32_t> tokens = tokenize(document.text);
  std::vector<std::vector<int32_t>> windows;
  for (size_t i = 0; i < tokens.size(); i += length)
    windows.emplace_back(tokens.begin() + static_cast<std::ptrdiff_t>(i),
                         tokens.begin() +
                             static_cast<std::ptrdiff_t>(std::min(tokens.size(), i + length)));
  return windows;
}

bool same(const PackedSequences &a, const PackedSequences &b) {
  return a.tokens == b.tokens && a.targets == b.targets && a.document == b.document &&
         a.positions == b.positions && a.targetBytes == b.targetBytes;
}
} // namespace

TEST(Packing, EveryTokenIsATargetExactlyOnce) {
  for (uint32_t length : {1u, 7u, 64u, 1000u}) {
    const std::vector<Document> documents = randomDocuments(length, 100);
    PackOptions options;
    options.sequenceTokens = length;
    options.seed = length;
    const PackedSequences packed = packDocuments(pointersTo(documents), tokenize, options);
    std::vector<std::vector<int32_t>> expected, found = windowsOf(packed);
    uint64_t bytes = 0, tokens = 0;
    for (const Document &document : documents) {
      for (auto &window : expectedWindows(document, length))
        expected.push_back(std::move(window));
      bytes += document.text.size();
      tokens += tokenize(document.text).size();
    }
    std::sort(expected.begin(), expected.end());
    std::sort(found.begin(), found.end());
    EXPECT_EQ(found, expected);
    EXPECT_EQ(packed.targetCount, tokens);
    EXPECT_EQ(packed.textBytes, bytes);
    EXPECT_EQ(packed.tokens.size() % length, 0u);
    uint64_t sum = 0;
    for (uint32_t b : packed.targetBytes)
      sum += b;
    EXPECT_EQ(sum, bytes);
  }
}

TEST(Packing, LeavesLittlePadding) {
  const std::vector<Document> documents = randomDocuments(2, 300);
  PackOptions options;
  options.sequenceTokens = 256;
  const PackedSequences packed = packDocuments(pointersTo(documents), tokenize, options);
  EXPECT_GT(static_cast<double>(packed.targetCount),
            0.97 * static_cast<double>(packed.tokens.size()));
}

TEST(Packing, IsAFunctionOfDocumentsAndSeed) {
  std::vector<Document> documents = randomDocuments(3, 80);
  PackOptions options;
  options.sequenceTokens = 50;
  options.budgetTokens = 3000;
  options.seed = 5;
  const PackedSequences first = packDocuments(pointersTo(documents), tokenize, options);
  std::reverse(documents.begin(), documents.end());
  EXPECT_TRUE(same(first, packDocuments(pointersTo(documents), tokenize, options)));
  options.seed = 6;
  EXPECT_FALSE(same(first, packDocuments(pointersTo(documents), tokenize, options)));
}

TEST(Packing, ABudgetIsMetExactlyAndSpread) {
  // Ten documents, one of them with nine tenths of the text.
  std::mt19937_64 random(19);
  std::vector<Document> documents = {documentOf(joined(randomWords(random, 8100)))};
  for (int i = 0; i < 9; ++i)
    documents.push_back(documentOf(joined(randomWords(random, 100))));
  uint64_t total = 0;
  std::map<std::vector<int32_t>, size_t> owner;
  for (size_t d = 0; d < documents.size(); ++d)
    for (const auto &window : expectedWindows(documents[d], 32)) {
      owner[window] = d;
      total += window.size();
    }
  PackOptions options;
  options.sequenceTokens = 32;
  options.budgetTokens = total / 2;
  const PackedSequences packed = packDocuments(pointersTo(documents), tokenize, options);
  EXPECT_EQ(packed.targetCount, total / 2);
  std::map<size_t, uint64_t> tokensOf;
  for (const auto &window : windowsOf(packed))
    if (owner.count(window))
      tokensOf[owner[window]] += window.size();
  EXPECT_NEAR(static_cast<double>(tokensOf[0]), 0.45 * static_cast<double>(total),
              0.05 * static_cast<double>(total));
  EXPECT_EQ(tokensOf.size(), documents.size());
}

TEST(Packing, RepeatsTheDocumentsForALargerBudget) {
  const std::vector<Document> documents = randomDocuments(4, 20);
  PackOptions options;
  options.sequenceTokens = 64;
  const PackedSequences once = packDocuments(pointersTo(documents), tokenize, options);
  options.budgetTokens = once.targetCount * 5 / 2;
  EXPECT_EQ(packDocuments(pointersTo(documents), tokenize, options).targetCount,
            options.budgetTokens);
  options.budgetTokens = once.targetCount * 100;
  const PackedSequences four = packDocuments(pointersTo(documents), tokenize, options);
  EXPECT_EQ(four.targetCount, once.targetCount * 4);
  // Epochs differ in order.
  EXPECT_FALSE(std::equal(once.tokens.begin(), once.tokens.end(),
                          four.tokens.begin() + static_cast<std::ptrdiff_t>(once.tokens.size())));
}

TEST(Packing, TokenisesOnlyWhatABudgetNeeds) {
  std::vector<Document> documents;
  for (int i = 0; i < 3000; ++i)
    documents.push_back(documentOf(std::to_string(i)));
  uint64_t calls = 0;
  const auto large = [&](std::string_view text) {
    ++calls;
    return std::vector<int32_t>(10'000, static_cast<int32_t>(text.size()));
  };
  PackOptions options;
  options.budgetTokens = 1000;
  packDocuments(pointersTo(documents), large, options);
  EXPECT_EQ(calls, 400u); // 4 million tokens
}

TEST(Packing, RefusesTheImpossible) {
  const std::vector<Document> documents = randomDocuments(5, 3);
  const auto none = [](std::string_view) { return std::vector<int32_t>(); };
  EXPECT_THROW(packDocuments(pointersTo(documents), none, {}), Error);
  EXPECT_THROW(packDocuments({}, tokenize, {}), Error);
  PackOptions options;
  options.sequenceTokens = 0;
  EXPECT_THROW(packDocuments(pointersTo(documents), tokenize, options), Error);
}

TEST(Packing, CountsTokens) {
  const std::vector<Document> documents = {documentOf("aab"), documentOf("b")};
  const auto bytes = [](std::string_view text) {
    return std::vector<int32_t>(text.begin(), text.end());
  };
  const std::vector<uint64_t> counts = countTokens(pointersTo(documents), bytes, 128);
  EXPECT_EQ(counts['a'], 2u);
  EXPECT_EQ(counts['b'], 2u);
  EXPECT_THROW(countTokens(pointersTo(documents), bytes, 'b'), Error);
}
