//===- GenerateTest.cpp - Answers, stop strings, cancelling ---------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/engine/Generate.h"
#include "retort.hpp"
#include "runtime/base/Error.h"
#include "test/unit/Runtime/TestBundle.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <thread>

namespace retort::test {
namespace {

using testing::HasSubstr;

/// The greedy answer to a prompt, computed from the test program's definition.
std::vector<int32_t> greedyAnswer(std::vector<int32_t> tokens, size_t count) {
  std::vector<int32_t> answer;
  while (answer.size() < count) {
    auto logits = expectedLogits(tokens);
    auto best = std::max_element(logits.begin(), logits.begin() + kTokens) - logits.begin();
    answer.push_back(int32_t(best));
    tokens.push_back(int32_t(best));
  }
  return answer;
}

class GenerateTest : public testing::Test {
protected:
  GenerateTest() { writeTestBundle(folder / "m.retort"); }
  TempFolder folder;
};

TEST_F(GenerateTest, GreedyAnswerAndItsText) {
  Model model(folder / "m.retort");
  Session session(model, {.threads = 2});
  const auto prompt = model.tokenize("hello world");
  const auto answer = greedyAnswer(prompt, 20);
  std::string text;
  auto result = session.generate(
      0, prompt, {.maxTokens = 20, .ignoreStopTokens = true, .onText = [&](std::string_view piece) {
                    EXPECT_FALSE(piece.empty());
                    text += piece;
                    return true;
                  }});
  EXPECT_EQ(text, model.detokenize(answer));
  EXPECT_EQ(result.finish, RETORT_FINISH_LENGTH);
  EXPECT_EQ(result.prompt_tokens, prompt.size());
  EXPECT_EQ(result.tokens, 20u);
  EXPECT_EQ(session.length(0), prompt.size() + 20);
  EXPECT_GT(result.prefill_seconds, 0);
  EXPECT_GT(result.decode_seconds, 0);
}

TEST_F(GenerateTest, GreedyStepsGiveTheAnswersTokens) {
  Model model(folder / "m.retort");
  Session session(model, {.threads = 2});
  auto tokens = model.tokenize("hello");
  const auto answer = greedyAnswer(tokens, 5);
  std::vector<retort_row> rows;
  for (size_t i = 0; i < tokens.size(); ++i)
    rows.push_back({tokens[i], 0, int32_t(i)});
  std::vector<size_t> wanted = {2, tokens.size() - 1};
  std::vector<int32_t> picked(2);
  session.stepSample(rows, wanted, picked);
  EXPECT_EQ(picked[0], greedyAnswer({tokens.begin(), tokens.begin() + 3}, 1)[0]);
  EXPECT_EQ(picked[1], answer[0]);
  for (size_t i = 1; i < answer.size(); ++i) {
    const retort_row row = {answer[i - 1], 0, int32_t(tokens.size() + i - 1)};
    session.stepSample({&row, 1}, std::vector<size_t>{0}, {picked.data(), 1});
    EXPECT_EQ(picked[0], answer[i]);
  }
  const retort_row row = {0, 0, int32_t(session.length(0))};
  EXPECT_EQ(retort_step_sample(session.get(), &row, 1, wanted.data(), 1, nullptr, nullptr),
            RETORT_E_ARGUMENT);
  EXPECT_EQ(session.length(0), tokens.size() + 4); // nothing ran
}

/// A step's samplers pick as they do from its logits, and stay where they are if it does not run.
TEST_F(GenerateTest, SampledStepsPickAsSamplersDo) {
  Model model(folder / "m.retort");
  Session session(model, {.threads = 2, .slots = 2}), twin(model, {.threads = 2, .slots = 2});
  Sampler hot({.temperature = 2, .seed = 9}), cold({.temperature = 0.5f, .topP = 0.8f, .seed = 9}),
      hotTwin({.temperature = 2, .seed = 9}),
      coldTwin({.temperature = 0.5f, .topP = 0.8f, .seed = 9}), greedy;
  const size_t vocab = size_t(model.info().vocab), pickable = size_t(model.info().tokenizer_vocab);
  const std::vector<size_t> wanted = {0, 1, 2, 3};
  Sampler *const samplers[] = {&hot, &cold, nullptr, &hot}; // one in two rows
  Sampler *const twins[] = {&hotTwin, &coldTwin, &greedy, &hotTwin};
  for (int32_t i = 0; i < 10; ++i) {
    std::vector<retort_row> rows = {
        {i, 0, 2 * i}, {i + 7, 1, 2 * i}, {3, 0, 2 * i + 1}, {9, 1, 2 * i + 1}};
    std::vector<int32_t> tokens(4);
    std::vector<float> logits(4 * vocab);
    session.stepSample(rows, wanted, tokens, samplers);
    twin.step(rows, wanted, logits);
    for (size_t r = 0; r < 4; ++r)
      ASSERT_EQ(tokens[r], twins[r]->sample({&logits[r * vocab], pickable})) << i << " row " << r;
    rows[3].position = 0; // nothing runs
    EXPECT_THROW(session.stepSample(rows, wanted, tokens, samplers), Failure);
  }
  std::vector<int32_t> tokens(4);
  EXPECT_THROW(session.stepSample({}, wanted, tokens, std::span(samplers).first(3)), Failure);
}

TEST_F(GenerateTest, GoesOnInTheSameSlot) {
  Model model(folder / "m.retort");
  Session session(model, {.threads = 1});
  const auto prompt = model.tokenize("abc");
  session.generate(0, prompt, {.maxTokens = 4, .ignoreStopTokens = true});
  auto all = prompt;
  for (int32_t token : greedyAnswer(prompt, 4))
    all.push_back(token);
  const auto more = model.tokenize("def");
  all.insert(all.end(), more.begin(), more.end());
  std::string text;
  session.generate(0, more, {.maxTokens = 5, .ignoreStopTokens = true, .onText = [&](auto piece) {
                               text += piece;
                               return true;
                             }});
  EXPECT_EQ(text, model.detokenize(greedyAnswer(all, 5)));
}

TEST_F(GenerateTest, FullSlotEndsTheAnswer) {
  Model model(folder / "m.retort");
  Session session(model, {.threads = 1, .maxContext = 10});
  auto result = session.generate(0, std::vector<int32_t>(4, 65), {.ignoreStopTokens = true});
  EXPECT_EQ(result.finish, RETORT_FINISH_CONTEXT);
  EXPECT_EQ(result.tokens, 7u); // six fit, and the seventh is known
  EXPECT_EQ(session.length(0), 10u);
}

TEST_F(GenerateTest, PromptLongerThanTheContext) {
  Model model(folder / "m.retort");
  Session session(model);
  session.prefill(0, std::vector<int32_t>(10, 65));
  try {
    session.generate(0, std::vector<int32_t>(60, 65));
    FAIL();
  } catch (const Failure &failure) {
    EXPECT_EQ(failure.status(), RETORT_E_CONTEXT);
    EXPECT_STREQ(failure.what(), "the prompt has 60 tokens but the context holds 64, of which 10 "
                                 "are taken: shorten it or reset the slot");
  }
  EXPECT_EQ(session.length(0), 10u);
}

TEST_F(GenerateTest, StopTokensEndTheAnswer) {
  Model model(folder / "m.retort");
  Session session(model, {.threads = 1});
  for (int32_t first = 0; first < 256; ++first) { // some prompts are answered by <|end|>
    session.reset(0);
    const std::vector<int32_t> prompt = {first};
    const auto answer = greedyAnswer(prompt, 30);
    const size_t end = size_t(std::find(answer.begin(), answer.end(), kEnd) - answer.begin());
    auto result = session.generate(0, prompt, {.maxTokens = 30});
    ASSERT_EQ(result.tokens, end);
    ASSERT_EQ(result.finish, end < 30 ? RETORT_FINISH_STOP : RETORT_FINISH_LENGTH);
  }
}

TEST_F(GenerateTest, StopStringsAreNotShown) {
  Model model(folder / "m.retort");
  Session session(model, {.threads = 1});
  const auto prompt = model.tokenize("x");
  const std::string whole = model.detokenize(greedyAnswer(prompt, 30));
  const auto answer = greedyAnswer(prompt, 30);
  const std::string stop = model.detokenize({&answer[10], 2});
  std::string text;
  auto result = session.generate(0, prompt,
                                 {.maxTokens = 30,
                                  .stop = {"no such text", stop},
                                  .ignoreStopTokens = true,
                                  .onText = [&](auto piece) {
                                    text += piece;
                                    return true;
                                  }});
  EXPECT_EQ(text, whole.substr(0, whole.find(stop)));
  EXPECT_EQ(result.finish, RETORT_FINISH_STOP);
}

TEST_F(GenerateTest, CancelledByFlagBeforeAndByCallback) {
  Model model(folder / "m.retort");
  Session session(model);
  std::atomic<int> cancel{1};
  auto result = session.generate(0, std::vector<int32_t>(20, 65), {.cancel = &cancel});
  EXPECT_EQ(result.finish, RETORT_FINISH_CANCELLED);
  EXPECT_EQ(result.prompt_tokens, 0u);
  int pieces = 0;
  result =
      session.generate(0, std::vector<int32_t>(20, 65),
                       {.ignoreStopTokens = true, .onText = [&](auto) { return ++pieces < 3; }});
  EXPECT_EQ(result.finish, RETORT_FINISH_CANCELLED);
  EXPECT_EQ(pieces, 3);
}

TEST_F(GenerateTest, CancelledFromAnotherThread) {
  auto manifest = testManifest();
  manifest["model"]["context"] = 4000;
  writeTestBundle(folder / "long.retort", manifest);
  Model model(folder / "long.retort");
  Session session(model, {.threads = 1});
  std::atomic<int> cancel{0};
  std::thread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    cancel = 1;
  });
  auto result = session.generate(0, std::vector<int32_t>(1, 65),
                                 {.ignoreStopTokens = true, .cancel = &cancel});
  other.join();
  EXPECT_EQ(result.finish, RETORT_FINISH_CANCELLED);
  EXPECT_LT(result.tokens, 3999u);
}

TEST_F(GenerateTest, ExceptionsOfTheCallbackComeOut) {
  Model model(folder / "m.retort");
  Session session(model);
  auto call = [&] {
    session.generate(0, model.tokenize("a"), {.ignoreStopTokens = true, .onText = [](auto) -> bool {
                                                throw std::runtime_error("mine");
                                              }});
  };
  EXPECT_THROW(call(), std::runtime_error);
}

TEST_F(GenerateTest, NoPageInTheMiddleKeepsTheResult) {
  Model model(folder / "m.retort");
  Session session(model, {.threads = 1, .slots = 2, .cacheBytes = TEST_PAGE_BYTES});
  retort_generate_options options = {};
  options.struct_bytes = sizeof options;
  options.ignore_stop_tokens = 1;
  retort_generation result = {};
  result.struct_bytes = sizeof result;
  const int32_t prompt[] = {65, 66};
  EXPECT_EQ(retort_generate(session.get(), 0, prompt, 2, &options, &result), RETORT_E_PAGES);
  EXPECT_EQ(result.tokens, 15u); // 16 positions: the prompt and 14; the 15th token found no page
  EXPECT_EQ(result.finish, RETORT_FINISH_FAILED);
  EXPECT_THAT(retort_session_error(session.get()), HasSubstr("0 of 1 are free"));
}

TEST_F(GenerateTest, AnswersMeetTheirGrammar) {
  Model model(folder / "m.retort");
  Session session(model, {.threads = 2});
  const auto prompt = model.tokenize("hello world");
  const Grammar grammar(model, RETORT_GRAMMAR_REGEX, "[xyz]{4}|w");
  for (float temperature : {0.0f, 1.0f}) {
    std::string text;
    session.reset(0);
    const auto result =
        session.generate(0, prompt,
                         {.sampling = {.temperature = temperature},
                          .maxTokens = 20,
                          .ignoreStopTokens = true,
                          .onText = [&](std::string_view piece) { return text += piece, true; },
                          .grammar = &grammar});
    EXPECT_EQ(result.finish, RETORT_FINISH_STOP);
    EXPECT_EQ(result.tokens, text.size());
    EXPECT_TRUE(text == "w" || (text.size() == 4 && text.find_first_not_of("xyz") == text.npos))
        << text;
  }
  // A sampler and a matcher say the same.
  Sampler sampler({.temperature = 1, .seed = 3});
  sampler.constrain(grammar);
  Matcher matcher(grammar);
  std::vector<uint64_t> allowed(size_t(kVocab + 63) / 64);
  const std::vector<float> logits(size_t(kVocab), 1.0f);
  while (!sampler.done()) {
    EXPECT_FALSE(matcher.done());
    matcher.mask(allowed);
    const int32_t token = sampler.sample(logits);
    EXPECT_TRUE(allowed[size_t(token) / 64] >> (token % 64) & 1);
    EXPECT_TRUE(matcher.accept(token));
  }
  EXPECT_TRUE(matcher.done() && matcher.complete());
  EXPECT_FALSE(matcher.accept('x'));
  std::vector<uint64_t> none;
  EXPECT_THROW(matcher.mask(none), Failure);
  EXPECT_THROW(Grammar(model, RETORT_GRAMMAR_REGEX, "("), Failure);
  EXPECT_THROW(Grammar(model, 7, "a"), Failure);
}

// What may have become a stop string is given when it is sure that no more comes.
TEST_F(GenerateTest, AFailureGivesTheTextThatWasHeldBack) {
  Model model(folder / "m.retort");
  const std::vector<int32_t> prompt = {65, 66}, answer = greedyAnswer(prompt, 15);
  const std::string whole = model.detokenize(answer);
  const std::string last = whole.substr(whole.size() - 4); // a character and U+FFFD
  Session session(model, {.threads = 1, .slots = 2, .cacheBytes = TEST_PAGE_BYTES});
  std::string text;
  EXPECT_THAT(failureOf([&] {
                session.generate(0, prompt,
                                 {.stop = {last + "never"},
                                  .ignoreStopTokens = true,
                                  .onText = [&](std::string_view piece) {
                                    text += piece;
                                    return true;
                                  }});
              }),
              HasSubstr("RETORT_E_PAGES"));
  EXPECT_EQ(text, whole);
}

TEST_F(GenerateTest, TokensAreToldBeforeTheirText) {
  Model model(folder / "m.retort");
  Session session(model, {.threads = 1});
  const auto prompt = model.tokenize("hello");
  std::vector<int32_t> tokens;
  session.generate(0, prompt,
                   {.maxTokens = 9, .ignoreStopTokens = true, .onToken = [&](int32_t token) {
                      tokens.push_back(token);
                      return true;
                    }});
  EXPECT_EQ(tokens, greedyAnswer(prompt, 9));
  session.reset(0);
  tokens.clear();
  const auto result = session.generate(
      0, prompt, {.maxTokens = 9, .ignoreStopTokens = true, .onToken = [&](int32_t token) {
                    tokens.push_back(token);
                    return tokens.size() < 3;
                  }});
  EXPECT_EQ(tokens.size(), 3u);
  EXPECT_EQ(result.finish, RETORT_FINISH_CANCELLED);
}

TEST_F(GenerateTest, SamplingIsDeterministic) {
  Model model(folder / "m.retort");
  auto answer = [&](uint64_t seed, uint32_t threads) {
    Session session(model, {.threads = threads});
    std::string text;
    session.generate(0, model.tokenize("q"),
                     {.sampling = {.temperature = 1, .topP = 0.9f, .topK = 40, .seed = seed},
                      .maxTokens = 20,
                      .ignoreStopTokens = true,
                      .onText = [&](auto piece) {
                        text += piece;
                        return true;
                      }});
    return text;
  };
  EXPECT_EQ(answer(1, 1), answer(1, 3));
  EXPECT_NE(answer(1, 1), answer(2, 1));
}

TEST(StopFinder, HoldsBackWhatMayBecomeAStop) {
  engine::StopFinder finder({"END", "xyz"});
  EXPECT_EQ(finder.push("abE"), "ab");
  EXPECT_EQ(finder.push("N"), "");
  EXPECT_EQ(finder.push("Ex"), "ENE");
  EXPECT_EQ(finder.push("y"), "");
  EXPECT_EQ(finder.push("zEND"), "");
  EXPECT_TRUE(finder.found());
}

TEST(StopFinder, GivesBackWhatDidNotBecomeOne) {
  engine::StopFinder finder({"aab"});
  EXPECT_EQ(finder.push("aaa"), "a");
  EXPECT_EQ(finder.finish(), "aa");
  EXPECT_FALSE(finder.found());
}

TEST(StopFinder, RefusesEmptyAndBrokenStops) {
  EXPECT_THROW(engine::StopFinder({""}), Error);
  EXPECT_THROW(engine::StopFinder({"\x80"}), Error);
}

} // namespace
} // namespace retort::test
