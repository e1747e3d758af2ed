//===- SessionTest.cpp - Steps, slots and pages ---------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "retort.hpp"
#include "test/unit/Runtime/TestBundle.h"

#include <algorithm>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>

namespace retort::test {
namespace {

using testing::HasSubstr;

std::vector<int32_t> someTokens(size_t count, int32_t seed = 1) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < count; ++i)
    tokens.push_back(int32_t(testMix(uint64_t(seed), i) % kVocab));
  return tokens;
}

std::vector<retort_row> rowsOf(std::span<const int32_t> tokens, int32_t slot, size_t begin,
                               size_t end) {
  std::vector<retort_row> rows;
  for (size_t i = begin; i < end; ++i)
    rows.push_back({tokens[i], slot, int32_t(i)});
  return rows;
}

class SessionTest : public testing::TestWithParam<uint32_t> {
protected:
  SessionTest() { writeTestBundle(folder / "m.retort"); }
  TempFolder folder;
};

/// Logits of every row are those of its tokens alone.
TEST_P(SessionTest, LogitsOfAnyChunks) {
  Model model(folder / "m.retort");
  const auto tokens = someTokens(kContext);
  for (size_t chunk : {1, 3, 7, 8}) {
    Session session(model, {.threads = GetParam()});
    for (size_t begin = 0; begin < tokens.size(); begin += chunk) {
      const size_t end = std::min(begin + chunk, tokens.size());
      std::vector<float> logits((end - begin) * kVocab);
      std::vector<size_t> wanted(end - begin);
      std::iota(wanted.begin(), wanted.end(), 0);
      session.step(rowsOf(tokens, 0, begin, end), wanted, logits);
      for (size_t i = begin; i < end; ++i)
        ASSERT_EQ(std::vector<float>(&logits[(i - begin) * kVocab],
                                     &logits[(i - begin) * kVocab] + kVocab),
                  expectedLogits({tokens.data(), i + 1}))
            << "chunk " << chunk << ", row " << i;
    }
    EXPECT_EQ(session.length(0), tokens.size());
  }
}

TEST_P(SessionTest, RowsOfManySlots) {
  Model model(folder / "m.retort");
  Session session(model, {.threads = GetParam(), .slots = 3});
  std::vector<std::vector<int32_t>> texts = {someTokens(40, 1), someTokens(40, 2),
                                             someTokens(40, 3)};
  std::vector<size_t> done(3, 0);
  std::vector<float> logits(TEST_MAX_ROWS * kVocab);
  for (int round = 0; round < 20; ++round) {
    std::vector<retort_row> rows;
    std::vector<size_t> wanted;
    for (int i = 0; i < 6; ++i) { // slots in an uneven order
      int32_t slot = int32_t(testMix(uint64_t(round), uint64_t(i)) % 3);
      if (done[size_t(slot)] == 40)
        continue;
      wanted.push_back(rows.size());
      rows.push_back({texts[size_t(slot)][done[size_t(slot)]], slot, int32_t(done[size_t(slot)])});
      ++done[size_t(slot)];
    }
    if (rows.empty())
      continue;
    session.step(rows, wanted, logits);
    for (size_t i = 0; i < rows.size(); ++i)
      ASSERT_EQ(std::vector<float>(&logits[i * kVocab], &logits[i * kVocab] + kVocab),
                expectedLogits({texts[size_t(rows[i].slot)].data(), size_t(rows[i].position) + 1}));
  }
}

TEST_P(SessionTest, TruncateAndReset) {
  Model model(folder / "m.retort");
  Session session(model, {.threads = GetParam(), .slots = 2});
  const auto tokens = someTokens(50);
  std::vector<float> logits(kVocab);
  session.prefill(1, someTokens(33, 9));
  session.prefill(0, tokens);
  session.truncate(0, 20);
  EXPECT_EQ(session.length(0), 20u);
  std::vector<int32_t> other(tokens.begin(), tokens.begin() + 20);
  for (int32_t token : someTokens(30, 5))
    other.push_back(token);
  session.prefill(0, std::span(other).subspan(20), logits);
  EXPECT_EQ(logits, expectedLogits(other));
  session.reset(0);
  EXPECT_EQ(session.length(0), 0u);
  session.prefill(0, tokens, logits);
  EXPECT_EQ(logits, expectedLogits(tokens));
}

INSTANTIATE_TEST_SUITE_P(Threads, SessionTest, testing::Values(1, 2, 5));

class Sessions : public SessionTest {};

TEST_F(Sessions, PagesAreTakenOnDemandAndGivenBack) {
  Model model(folder / "m.retort");
  Session session(model, {.threads = 1, .slots = 4, .cacheBytes = 5 * TEST_PAGE_BYTES + 1});
  EXPECT_EQ(session.info().pages, 5u);
  session.prefill(0, someTokens(33)); // 3 pages
  session.prefill(1, someTokens(16)); // 1
  EXPECT_EQ(session.info().free_pages, 1u);
  EXPECT_EQ(failureOf([&] { session.prefill(2, someTokens(17)); }),
            "RETORT_E_PAGES: there are 17 tokens, which need 2 pages of cache, and 1 of 5 are "
            "free: reset a slot or give the session more cache_bytes");
  EXPECT_EQ(session.length(2), 0u);
  std::vector<retort_row> rows = {{1, 2, 0}, {1, 1, 16}};
  EXPECT_EQ(failureOf([&] { session.step(rows, {}, {}); }),
            "RETORT_E_PAGES: the step needs 2 pages of cache, and 1 of 5 are free: reset a slot "
            "or give the session more cache_bytes");
  EXPECT_EQ(session.length(1), 16u);
  session.truncate(0, 16);
  EXPECT_EQ(session.info().free_pages, 3u);
  session.step(rows, {}, {});
  EXPECT_EQ(session.length(1), 17u);
  session.truncate(1, 16);
  session.truncate(1, 15);
  EXPECT_EQ(session.info().free_pages, 2u);
  session.reset(0), session.reset(1), session.reset(2);
  EXPECT_EQ(session.info().free_pages, 5u);
}

/// Slots that begin alike share pages, whatever is done to them: what each computes is what its tokens
/// say, and pages are neither lost nor given twice.
TEST_P(SessionTest, PrefixesAreShared) {
  Model model(folder / "m.retort");
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    constexpr int32_t kSlots = 4;
    const uint64_t pages = seed % 2 ? 9 : 16; // too few for all, or enough
    Session session(model, {.threads = GetParam(),
                            .slots = kSlots,
                            .cacheBytes = pages * TEST_PAGE_BYTES,
                            .prefixCache = true});
    uint64_t draws = 0;
    const auto below = [&](uint64_t n) { return testMix(seed, ++draws) % n; };
    std::vector<std::vector<int32_t>> texts(kSlots);
    size_t reused = 0;
    for (int i = 0; i < 400; ++i) {
      const int32_t slot = int32_t(below(kSlots));
      std::vector<int32_t> &text = texts[size_t(slot)];
      if (text.size() + 20 > kContext || below(5) == 0) {
        session.reset(slot);
        text.clear();
      } else if (!text.empty() && below(4) == 0) {
        const size_t length = below(text.size() + 1);
        try {
          session.truncate(slot, length);
          text.resize(length);
        } catch (const Failure &failure) {
          ASSERT_EQ(failure.status(), RETORT_E_PAGES);
          ASSERT_EQ(session.info().free_pages, 0u);
        }
      }
      ASSERT_EQ(session.length(slot), text.size());
      // Few texts, which part at any place.
      std::vector<int32_t> more = text;
      const size_t length = text.size() + 1 + below(text.empty() ? 45 : 20);
      while (more.size() < length)
        more.push_back(more.size() < 40 && below(30) ? int32_t(more.size()) : int32_t(below(2)));
      size_t begin = text.size();
      if (text.empty()) {
        begin = session.reuse(slot, more);
        EXPECT_EQ(begin % TEST_PAGE_ROWS, 0u);
        EXPECT_LT(begin, more.size());
        reused += begin;
      }
      std::vector<float> logits(kVocab);
      try {
        session.prefill(slot, std::span(more).subspan(begin), logits);
        text = more;
        ASSERT_EQ(logits, expectedLogits(text)) << "seed " << seed << ", turn " << i;
      } catch (const Failure &failure) {
        ASSERT_EQ(failure.status(), RETORT_E_PAGES);
        session.reset(slot);
        text.clear();
      }
    }
    EXPECT_GT(reused, 0u);
    for (int32_t slot = 0; slot < kSlots; ++slot)
      session.reset(slot);
    EXPECT_EQ(session.info().free_pages, pages);
    // All pages are still there: four slots of four, or one that takes every page in turn.
    for (int round = 0; round < 3; ++round) {
      session.prefill(0, someTokens(kContext, 77 + round));
      session.reset(0);
    }
  }
}

TEST_F(Sessions, WhatPrefixesHold) {
  Model model(folder / "m.retort");
  const auto tokens = someTokens(40);
  Session plain(model, {.threads = 1});
  plain.prefill(0, tokens);
  plain.reset(0);
  EXPECT_EQ(plain.reuse(0, tokens), 0u) << "no prefix cache";

  Session session(
      model, {.threads = 1, .slots = 3, .cacheBytes = 6 * TEST_PAGE_BYTES, .prefixCache = true});
  session.prefill(0, tokens);
  EXPECT_EQ(session.info().free_pages, 3u);
  EXPECT_EQ(session.reuse(1, tokens), 32u) << "full pages";
  EXPECT_EQ(session.info().free_pages, 3u) << "shared";
  EXPECT_EQ(session.reuse(2, std::span(tokens).first(32)), 16u) << "not the last token";
  EXPECT_EQ(failureOf([&] { session.reuse(2, tokens); }),
            "RETORT_E_ARGUMENT: slot 2 holds 16 positions: only an empty slot can begin with what "
            "others computed");
  session.reset(0), session.reset(1), session.reset(2);
  EXPECT_EQ(session.info().free_pages, 6u) << "kept pages are free";
  EXPECT_EQ(session.reuse(0, tokens), 32u) << "and remembered";
  session.reset(0);
  // What was let go of first goes first, the end of a text before its beginning.
  session.prefill(1, someTokens(64, 2));
  EXPECT_EQ(session.reuse(0, tokens), 32u);
  session.reset(0);
  session.prefill(2, someTokens(16, 3));
  EXPECT_EQ(session.reuse(0, tokens), 16u);
  session.reset(1), session.reset(2);
  EXPECT_EQ(session.generate(0, std::vector<int32_t>{1}, {.maxTokens = 1}).cached_tokens, 0u);
  session.reset(0);
  EXPECT_EQ(session.generate(0, tokens, {.maxTokens = 1}).cached_tokens, 16u);
  // What is refused leaves the slot as it was.
  EXPECT_EQ(failureOf([&] { session.generate(2, tokens, {.maxTokens = 1}); }), "no failure");
  session.reset(2);
  session.prefill(1, someTokens(48, 4));
  session.reset(0);
  session.prefill(0, std::span(tokens).first(33));
  const std::vector<int32_t> longer = someTokens(60, 1);
  EXPECT_EQ(failureOf([&] { session.generate(2, longer, {.maxTokens = 1}); }),
            "RETORT_E_PAGES: the prompt has, beside what is known, 28 tokens, which need 2 pages "
            "of cache, and 0 of 6 are free: reset a slot or give the session more cache_bytes");
  EXPECT_EQ(session.length(2), 0u);
}

TEST_F(Sessions, TruncatingASharedPage) {
  Model model(folder / "m.retort");
  const auto tokens = someTokens(33);
  Session session(
      model, {.threads = 1, .slots = 2, .cacheBytes = 4 * TEST_PAGE_BYTES, .prefixCache = true});
  session.prefill(0, tokens);
  ASSERT_EQ(session.reuse(1, tokens), 32u);
  session.prefill(1, someTokens(1, 8)); // no page is free now
  EXPECT_EQ(failureOf([&] { session.truncate(1, 33), session.truncate(0, 20); }), "no failure")
      << "slot 0's own page becomes free";
  EXPECT_EQ(session.info().free_pages, 0u);
  EXPECT_EQ(failureOf([&] { session.truncate(0, 5); }), "no failure");
  EXPECT_EQ(session.info().free_pages, 0u)
      << "the first page was copied to where the second had been";
  std::vector<float> logits(kVocab);
  std::vector<int32_t> other(tokens.begin(), tokens.begin() + 5);
  other.push_back(9);
  session.prefill(0, std::span(other).subspan(5), logits);
  EXPECT_EQ(logits, expectedLogits(other));
  std::vector<int32_t> first(tokens.begin(), tokens.begin() + 32);
  first.push_back(someTokens(1, 8)[0]), first.push_back(3);
  session.prefill(1, std::span(first).subspan(33), logits);
  EXPECT_EQ(logits, expectedLogits(first)) << "what the other slot reads is as it was";
  // Two slots on the same pages, and nothing to copy to.
  session.reset(0), session.reset(1);
  Session full(model,
               {.threads = 1, .slots = 2, .cacheBytes = 2 * TEST_PAGE_BYTES, .prefixCache = true});
  full.prefill(0, std::span(tokens).first(32));
  ASSERT_EQ(full.reuse(1, tokens), 32u);
  EXPECT_EQ(failureOf([&] { full.truncate(1, 20); }),
            "RETORT_E_PAGES: slot 1 shares the page of position 20 with others, and none of 2 "
            "pages is free to copy it to: reset a slot");
  EXPECT_EQ(full.length(1), 32u);
  full.reset(0);
  full.truncate(1, 20);
  EXPECT_EQ(full.length(1), 20u);
}

TEST_F(Sessions, RefusedStepsChangeNothing) {
  Model model(folder / "m.retort");
  Session session(model, {.threads = 2, .slots = 2});
  session.prefill(0, someTokens(3));
  std::vector<float> logits(TEST_MAX_ROWS * kVocab);
  auto step = [&](std::vector<retort_row> rows, std::vector<size_t> wanted = {}) {
    return failureOf([&] { session.step(rows, wanted, logits); });
  };
  EXPECT_THAT(failureOf([&] { session.prefill(1, std::vector<int32_t>{1, kVocab}); }),
              HasSubstr("token 1 is 260, not one of the vocabulary's 260"));
  EXPECT_THAT(step({}), HasSubstr("a step has 0 rows, not 1 to 8"));
  EXPECT_THAT(step(rowsOf(someTokens(9), 1, 0, 9)), HasSubstr("a step has 9 rows"));
  EXPECT_THAT(step({{kVocab, 0, 3}}), HasSubstr("row 0 has token 260, not one of"));
  EXPECT_THAT(step({{-1, 0, 3}}), HasSubstr("row 0 has token -1"));
  EXPECT_THAT(step({{1, 2, 0}}), HasSubstr("row 0 has slot 2, and the session has 2"));
  EXPECT_THAT(step({{1, -1, 0}}), HasSubstr("slot -1"));
  EXPECT_THAT(step({{1, 0, 2}}), HasSubstr("row 0 has position 2, but slot 0 goes on at 3"));
  EXPECT_THAT(step({{1, 0, 3}, {1, 0, 5}}),
              HasSubstr("row 1 has position 5, but slot 0 goes on at 4"));
  EXPECT_THAT(step({{1, 0, -1}}), HasSubstr("position -1"));
  EXPECT_THAT(step({{1, 0, 3}}, {1}), HasSubstr("wanted[0] is 1"));
  EXPECT_THAT(step({{1, 0, 3}, {1, 0, 4}}, {1, 0}), HasSubstr("wanted[1] is 0"));
  EXPECT_THAT(step({{1, 0, 3}, {1, 0, 4}}, {1, 1}), HasSubstr("wanted[1] is 1"));
  EXPECT_EQ(session.length(0), 3u);
  EXPECT_EQ(step({{1, 0, 3}}, {0}), "no failure"); // and the counts of refused rows are forgotten
  EXPECT_THAT(failureOf([&] { session.truncate(0, 5); }), HasSubstr("slot 0 holds 4 positions"));
  EXPECT_THAT(failureOf([&] { session.truncate(7, 0); }), HasSubstr("slot 7 does not exist"));
}

TEST_F(Sessions, TheContextIsTheLimit) {
  Model model(folder / "m.retort");
  Session session(model, {.threads = 1, .maxContext = 20});
  EXPECT_EQ(failureOf([&] { session.prefill(0, someTokens(21)); }),
            "RETORT_E_CONTEXT: there are 21 tokens but the context holds 20: shorten it");
  session.prefill(0, someTokens(20));
  std::vector<retort_row> rows = {{1, 0, 20}};
  EXPECT_EQ(
      failureOf([&] { session.step(rows, {}, {}); }),
      "RETORT_E_CONTEXT: row 0 would make slot 0 21 positions long, but the context holds 20: "
      "reset or truncate the slot");
}

TEST_F(Sessions, OptionsOutOfRange) {
  Model model(folder / "m.retort");
  auto create = [&](SessionOptions options) {
    return failureOf([&] { Session session(model, options); });
  };
  EXPECT_THAT(create({.threads = 1025}), HasSubstr("threads is 1025, more than 1024"));
  EXPECT_THAT(create({.slots = 65537}), HasSubstr("slots is 65537"));
  EXPECT_THAT(create({.maxContext = kContext + 1}), HasSubstr("max_context is 65, more than 64"));
  EXPECT_THAT(create({.cacheBytes = 1}), HasSubstr("less than one page of 128"));
  EXPECT_EQ(create({.slots = 65536}), "no failure");
  EXPECT_EQ(create({.cacheBytes = UINT64_MAX}), "no failure"); // no more than the slots can use
}

TEST_F(Sessions, OutliveTheirModel) {
  auto model = std::make_unique<Model>(folder / "m.retort");
  retort_session *session = nullptr;
  ASSERT_EQ(retort_session_create(model->get(), nullptr, &session, nullptr), RETORT_OK);
  model.reset();
  const int32_t token = 3;
  std::vector<float> logits(kVocab);
  EXPECT_EQ(retort_prefill(session, 0, &token, 1, logits.data()), RETORT_OK);
  EXPECT_EQ(logits, expectedLogits({&token, 1}));
  retort_session_destroy(session);
}

} // namespace
} // namespace retort::test
