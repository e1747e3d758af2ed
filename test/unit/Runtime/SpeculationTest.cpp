//===- SpeculationTest.cpp - Guesses, and steps that verify them ----------===//
// SPDX-License-Identifier: Apache-2.0
#include "retort.hpp"
#include "runtime/src/engine/Drafter.h"
#include "runtime/src/engine/StepTimes.h"
#include "test/unit/Runtime/TestBundle.h"

#include <algorithm>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <random>

namespace retort::test {
namespace {

using engine::StepTimes;
using testing::ElementsAre;
using GuessingDrafter = engine::Drafter;

std::vector<int32_t> guessOf(GuessingDrafter &drafter, double least, size_t most) {
  const std::span<const int32_t> guess = drafter.guess(least, most, nullptr);
  return {guess.begin(), guess.end()};
}

/// The positions behind every earlier occurrence of the text's end that is as long as any, found by trying
/// all.
std::vector<size_t> longestMatches(const std::vector<int32_t> &text) {
  std::vector<size_t> ends;
  size_t best = 2;
  for (size_t end = 1; end < text.size(); ++end) {
    size_t length = 0;
    while (length < std::min<size_t>(end, 32) &&
           text[end - 1 - length] == text[text.size() - 1 - length])
      ++length;
    if (length > best)
      ends.clear();
    best = std::max(best, length);
    if (length == best)
      ends.push_back(end);
  }
  return ends;
}

// What is guessed followed the last of the longest matches, in texts of every repetitiveness.
TEST(Drafter, GuessesWhatFollowedTheLongestMatch) {
  size_t guesses = 0;
  for (uint32_t seed = 0; seed < 40; ++seed) {
    std::mt19937 random(seed);
    const uint32_t words = 2 + seed;
    std::vector<int32_t> text;
    GuessingDrafter drafter;
    for (size_t i = 0; i < 300; ++i) {
      const int32_t token = int32_t(random() % words);
      text.push_back(token);
      drafter.see({&token, 1});
      const std::vector<int32_t> guess = guessOf(drafter, 0.1, 6);
      if (guess.empty())
        continue;
      const std::vector<size_t> ends = longestMatches(text);
      ASSERT_FALSE(ends.empty());
      // Of two tokens only a bounded number of earlier ones is looked at.
      if (words < 10)
        continue;
      std::vector<int32_t> expected;
      for (size_t k = 0; k < guess.size(); ++k)
        expected.push_back(ends.back() + k < text.size() ? text[ends.back() + k]
                                                         : expected[ends.back() + k - text.size()]);
      ASSERT_EQ(guess, expected) << "seed " << seed << ", " << i;
      ++guesses;
    }
  }
  EXPECT_GT(guesses, 300u);
}

TEST(Drafter, WhereAllIsRightItSoonGuessesAsMuchAsItMay) {
  GuessingDrafter drafter;
  std::vector<int32_t> text;
  for (int32_t i = 0; i < 200; ++i)
    text.push_back(i);
  drafter.see(text);
  size_t at = 2, steps = 0;
  drafter.see(std::span(text).first(at));
  while (at + 9 < text.size()) {
    const auto guess = guessOf(drafter, 0.2, 8);
    ASSERT_TRUE(std::equal(guess.begin(), guess.end(), text.begin() + long(at)));
    drafter.see(std::span(text).subspan(at, guess.size() + 1));
    at += guess.size() + 1;
    ++steps;
  }
  EXPECT_LT(steps, 45u) << "of 190 tokens";
  EXPECT_EQ(drafter.guessed(), drafter.right());
}

// Where no guess is right, they take kShare of the time and kFirst rows, also when all had been right before.
TEST(Drafter, WhereNothingIsRightItCostsLittle) {
  for (const double least : {0.0, 0.1, 0.3, 1.0})
    for (const bool wasRight : {false, true}) {
      std::mt19937 random(5);
      GuessingDrafter drafter;
      std::vector<int32_t> text(4000);
      for (int32_t &token : text)
        token = int32_t(random() % 12); // many matches
      if (wasRight) {
        for (int i = 0; i < 400; ++i) {
          const int32_t token = i % 20;
          drafter.see({&token, 1});
          for (const int32_t next : guessOf(drafter, least, 8))
            drafter.see({&next, 1}), i += next >= 0;
        }
      }
      const uint64_t before = drafter.guessed(), rightBefore = drafter.right();
      size_t steps = 0;
      for (const int32_t token : text) {
        const auto guess = guessOf(drafter, least, 8);
        ++steps;
        // Something that no text holds comes, and then what does.
        const int32_t other = guess.empty() ? token : 1000 + int32_t(steps);
        drafter.see({&other, 1});
      }
      EXPECT_EQ(drafter.right(), rightBefore);
      const double cost = double(drafter.guessed() - before) * std::max(least, 0.1);
      EXPECT_LE(cost, GuessingDrafter::kShare * double(steps) +
                          (wasRight ? 40.0 : GuessingDrafter::kFirst) * std::max(least, 0.1))
          << least << " " << wasRight;
      EXPECT_GT(cost, 0) << "it goes on trying";
    }
}

TEST(StepTimes, LinesBetweenMeans) {
  StepTimes times;
  EXPECT_EQ(times.expected(1), 0);
  times.add(1, 2.0);
  EXPECT_EQ(times.expected(1), 2.0);
  EXPECT_EQ(times.expected(4), 8.0);
  times.add(8, 9.0);
  EXPECT_DOUBLE_EQ(times.expected(4), 5.0);
  EXPECT_DOUBLE_EQ(times.expected(16), 18.0);
  for (int i = 0; i < 100; ++i)
    times.add(8, 1.0); // less than one row takes: no time at all
  EXPECT_DOUBLE_EQ(times.expected(4), 2.0);
}

class Speculation : public testing::Test {
protected:
  Speculation() { writeTestBundle(folder / "m.retort"); }
  TempFolder folder;
};

Sampling randomSampling(std::mt19937 &random) {
  Sampling sampling = {.temperature = random() % 3 ? float(random() % 20) / 10 : 0,
                       .topP = random() % 2 ? 1.0f : 0.9f,
                       .topK = random() % 2 ? 0u : 5u,
                       .seed = random(),
                       .minP = random() % 3 ? 0.0f : 0.1f};
  if (random() % 4 == 0)
    sampling.presencePenalty = 0.5f;
  if (random() % 4 == 0)
    sampling.repetitionPenalty = 1.2f;
  if (random() % 4 == 0)
    sampling.bias = {{int32_t(random() % kTokens), 9}};
  return sampling;
}

/// An answer whose tokens are known by single draws from the test program's own logits.
struct Answer {
  Answer(const Sampling &sampling, const Grammar *grammar, std::vector<int32_t> prompt,
         size_t count)
      : tokens(std::move(prompt)), sampler(sampling) {
    Sampler alone(sampling);
    for (Sampler *each : {&alone, &sampler}) {
      each->see(tokens);
      if (grammar)
        each->constrain(*grammar);
    }
    expected = tokens;
    while (expected.size() < tokens.size() + count && !(ends = alone.done())) {
      const std::vector<float> logits = expectedLogits(expected);
      expected.push_back(alone.sample(std::span(logits).first(kTokens)));
    }
  }
  std::vector<int32_t> tokens, expected;
  Sampler sampler;
  bool ends = false; ///< the grammar allows no more
};

// Whatever is guessed, of several slots in a step, the tokens, the logits, the slots and the pages are those of
// single steps.
TEST_F(Speculation, AnyGuessesGiveTheTokensOfSingleSteps) {
  const Model model(folder / "m.retort");
  const Grammar grammar(model, RETORT_GRAMMAR_REGEX, "([a-c]{2}-){3,12}x");
  std::mt19937 random(3);
  size_t rightGuesses = 0, wrongGuesses = 0;
  for (int round = 0; round < 60; ++round) {
    const bool wantsLogits = round % 3 == 0;
    Session session(model, {.threads = 2, .slots = 2, .prefixCache = round % 2 == 0});
    std::vector<Answer> answers;
    for (int32_t slot = 0; slot < 2; ++slot) {
      std::vector<int32_t> prompt(1 + random() % 20);
      for (int32_t &token : prompt)
        token = int32_t(random() % 4); // pages that are the same
      answers.emplace_back(randomSampling(random), random() % 3 ? nullptr : &grammar, prompt, 40);
    }
    std::vector<size_t> held(2, 0);
    while (true) {
      std::vector<retort_row> rows;
      std::vector<size_t> wanted, slots;
      std::vector<Sampler *> samplers;
      for (size_t slot = 0; slot < 2; ++slot) {
        Answer &answer = answers[slot];
        if (answer.tokens.size() == answer.expected.size())
          continue;
        const size_t most = std::min<size_t>(4, answer.tokens.size() - held[slot]);
        for (size_t i = 0; i < most; ++i)
          rows.push_back({answer.tokens[held[slot] + i], int32_t(slot), int32_t(held[slot] + i)});
        held[slot] += most;
        if (held[slot] < answer.tokens.size())
          continue;
        const auto want = [&] {
          wanted.push_back(rows.size() - 1), slots.push_back(slot);
          samplers.push_back(&answer.sampler);
        };
        want();
        const size_t right = random() % 4;
        for (size_t i = 0, guesses = random() % (5 - most); i < guesses; ++i) {
          const size_t at = held[slot] + i;
          if (at >= kContext)
            break;
          // A right guess at the last token shows nothing, unless nothing may follow.
          const bool good = i < right && at + !answer.ends < answer.expected.size();
          int32_t token = good ? answer.expected[at] : int32_t(random() % kTokens);
          if (!good && at < answer.expected.size() && token == answer.expected[at])
            token ^= 1;
          rows.push_back({token, int32_t(slot), int32_t(at)});
          want();
        }
      }
      if (rows.empty())
        break;
      std::vector<int32_t> tokens(wanted.size());
      std::vector<float> logits(wantsLogits ? wanted.size() * kVocab : 0);
      session.stepVerify(rows, wanted, tokens, samplers, logits);
      for (size_t i = 0; i < wanted.size(); ++i) {
        Answer &answer = answers[slots[i]];
        const bool guess = i > 0 && slots[i - 1] == slots[i];
        if (guess) {
          const bool right = tokens[i - 1] == rows[wanted[i]].token &&
                             answer.tokens.size() < answer.expected.size();
          ASSERT_EQ(tokens[i] != RETORT_TOKEN_UNPICKED, right) << round;
          held[slots[i]] += right;
          (right ? rightGuesses : wrongGuesses) += 1;
        }
        if (tokens[i] == RETORT_TOKEN_UNPICKED)
          continue;
        if (wantsLogits)
          ASSERT_EQ(std::vector<float>(&logits[i * kVocab], &logits[i * kVocab] + kVocab),
                    expectedLogits(answer.tokens));
        ASSERT_LT(answer.tokens.size(), answer.expected.size());
        ASSERT_EQ(tokens[i], answer.expected[answer.tokens.size()]) << round << ", row " << i;
        answer.tokens.push_back(tokens[i]);
      }
      for (int32_t slot = 0; slot < 2; ++slot)
        ASSERT_EQ(session.length(slot), held[size_t(slot)]);
    }
    for (int32_t slot = 0; slot < 2; ++slot) {
      EXPECT_EQ(answers[size_t(slot)].tokens, answers[size_t(slot)].expected);
      session.reset(slot);
    }
    EXPECT_EQ(session.info().free_pages, session.info().pages);
  }
  EXPECT_GT(rightGuesses, 300u);
  EXPECT_GT(wrongGuesses, 300u);
}

// An answer is the same with and without, and so are the slot and the next answer in it.
TEST_F(Speculation, GenerateGivesTheSameAnswer) {
  const Model model(folder / "m.retort");
  const Grammar grammars[] = {Grammar(model, RETORT_GRAMMAR_REGEX, "(abcde-){6}x"),
                              Grammar(model, RETORT_GRAMMAR_REGEX, "(ab[cd]){3,12}")};
  std::mt19937 random(9);
  size_t right = 0, wrong = 0;
  for (int round = 0; round < 300; ++round) {
    GenerateOptions options;
    options.sampling = randomSampling(random);
    if (random() % 2)
      options.sampling.bias = {{'x', 12}, {'y', 11}}; // a text that repeats itself
    options.maxTokens = random() % 50;
    options.ignoreStopTokens = random() % 2;
    options.grammar = random() % 2 ? &grammars[random() % 2] : nullptr;
    if (random() % 3 == 0)
      options.stop = {random() % 2 ? "xyx" : "e-a"};
    const size_t cancelAt = random() % 5 ? 1000 : random() % 40;
    std::vector<int32_t> prompt(1 + random() % 12);
    for (int32_t &token : prompt)
      token = 'a' + int32_t(random() % 3);
    std::vector<std::string> told[2];
    retort_generation results[2];
    for (const uint32_t speculate : {0, 5}) {
      Session session(model, {.threads = 1, .prefixCache = round % 2 == 0});
      std::vector<std::string> &log = told[speculate != 0];
      options.speculate = speculate;
      size_t tokens = 0;
      options.onText = [&](std::string_view text) { return log.emplace_back(text), true; };
      options.onToken = [&](int32_t) { return ++tokens != cancelAt; };
      const auto turn = [&](std::span<const int32_t> more) {
        const retort_generation result = session.generate(0, more, options);
        log.push_back(std::to_string(result.finish) + " " + std::to_string(result.tokens) + " " +
                      std::to_string(session.length(0)) + " " +
                      std::to_string(session.info().free_pages));
        return result;
      };
      results[speculate != 0] = turn(prompt);
      if (session.length(0) + 2 < size_t(kContext))
        turn(std::span(prompt).first(1));
    }
    ASSERT_EQ(told[0], told[1]) << "round " << round;
    EXPECT_EQ(results[0].guessed_tokens, 0u);
    ASSERT_LE(results[1].right_tokens, results[1].guessed_tokens);
    right += results[1].right_tokens;
    wrong += results[1].guessed_tokens - results[1].right_tokens;
  }
  // How many depends on what rows take, and so on the machine.
  EXPECT_GT(right, 30u);
  EXPECT_GT(wrong, 5u);
}

// A grammar's guesses are never what it forbids.
TEST_F(Speculation, GuessesKeepToTheGrammar) {
  const Model model(folder / "m.retort");
  const Grammar grammar(model, RETORT_GRAMMAR_REGEX, "abc[0-9]*");
  Sampler sampler;
  sampler.constrain(grammar);
  Drafter drafter;
  const std::string text = "zzabcabz";
  std::vector<int32_t> tokens(text.begin(), text.end());
  std::vector<int32_t> guess(8);
  for (int i = 0; i < 20; ++i) { // until it is sure
    drafter.see(tokens);
    if (const size_t count = drafter.guess(Sampler(), 0.1, guess))
      drafter.see(std::vector<int32_t>(guess.begin(), guess.begin() + long(count)));
  }
  for (const char c : std::string("zz"))
    drafter.see(std::vector<int32_t>{c});
  ASSERT_GT(drafter.guess(Sampler(), 0.1, guess), 4u);
  guess.resize(drafter.guess(sampler, 0.1, guess));
  EXPECT_THAT(guess, ElementsAre('a', 'b', 'c'));
}

TEST_F(Speculation, WrongArguments) {
  Drafter drafter;
  const Sampler sampler;
  std::vector<int32_t> guess(2);
  for (const double least : {-0.1, 1.1, std::nan("")})
    EXPECT_EQ(failureOf([&] { drafter.guess(sampler, least, guess); }),
              "RETORT_E_ARGUMENT: least is not 0 to 1");
  retort_error error;
  EXPECT_EQ(retort_drafter_create(nullptr, &error), RETORT_E_ARGUMENT);
  EXPECT_STREQ(error.message, "drafter is NULL");
  size_t count = 0;
  EXPECT_EQ(retort_drafter_guess(nullptr, nullptr, 0.5, guess.data(), 2, &count),
            RETORT_E_ARGUMENT);
  EXPECT_EQ(retort_drafter_see(nullptr, nullptr, 0), RETORT_E_ARGUMENT);
  const Model model(folder / "m.retort");
  Session session(model);
  const retort_row row = {1, 0, 0};
  const size_t wanted = 0;
  EXPECT_EQ(retort_step_verify(session.get(), &row, 1, &wanted, 1, nullptr, nullptr, nullptr),
            RETORT_E_ARGUMENT);
  EXPECT_STREQ(retort_session_error(session.get()), "a pointer is NULL");
  EXPECT_EQ(session.length(0), 0u);
  EXPECT_EQ(session.expectedSeconds(1), 0);
  int32_t token = -1;
  session.stepVerify({&row, 1}, {&wanted, 1}, {&token, 1}, {});
  EXPECT_GT(session.expectedSeconds(1), 0);
  EXPECT_EQ(retort_session_expected_seconds(session.get(), 0), 0);
  EXPECT_EQ(retort_session_expected_seconds(nullptr, 1), 0);
}

} // namespace
} // namespace retort::test
