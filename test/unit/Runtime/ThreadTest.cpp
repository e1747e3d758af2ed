//===- ThreadTest.cpp - Threads that share a model; idle threads ----------===//
// SPDX-License-Identifier: Apache-2.0
#include "retort.hpp"
#include "runtime/src/engine/ThreadPool.h"
#include "test/unit/Runtime/TestBundle.h"

#include <chrono>
#include <gtest/gtest.h>
#include <thread>
#include <time.h>

namespace retort::test {
namespace {

/// Eight threads, each with a session of two, on one model: every answer is that of a lone session.
/// Run under TSan by the `tsan` check of docs/runtime.md.
TEST(Threads, SessionsOnOneModel) {
  TempFolder folder;
  writeTestBundle(folder / "m.retort");
  Model model(folder / "m.retort");
  auto answer = [&](int seed) {
    Session session(model, {.threads = 2, .slots = 2});
    std::string text;
    for (int32_t slot : {0, 1})
      session.generate(slot, model.tokenize("prompt " + std::to_string(seed)),
                       {.sampling = {.temperature = 1, .seed = uint64_t(seed)},
                        .maxTokens = 30,
                        .ignoreStopTokens = true,
                        .onText = [&](auto piece) {
                          text += piece;
                          return true;
                        }});
    return text;
  };
  std::vector<std::string> alone, together(8);
  for (int i = 0; i < 8; ++i)
    alone.push_back(answer(i));
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&, i] { together[size_t(i)] = answer(i); });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(alone, together);
}

TEST(Threads, ManyModelsAtOnce) {
  TempFolder folder;
  writeTestBundle(folder / "m.retort");
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int round = 0; round < 5; ++round) {
        Model model(folder / "m.retort");
        Session session(model, {.threads = 1});
        const std::vector<int32_t> prompt = {1, 2, 3};
        std::vector<float> logits(kVocab);
        session.prefill(0, prompt, logits);
        EXPECT_EQ(logits, expectedLogits(prompt));
      }
    });
  for (std::thread &thread : threads)
    thread.join();
}

double cpuSeconds() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return double(time.tv_sec) + double(time.tv_nsec) * 1e-9;
}

TEST(Threads, IdlePoolUsesNoCpu) {
  engine::ThreadPool pool(4);
  std::atomic<int> calls{0};
  auto job = [](const void *counter, int32_t) {
    ++*static_cast<std::atomic<int> *>(const_cast<void *>(counter));
  };
  for (int i = 0; i < 100; ++i)
    pool.run(job, &calls);
  std::this_thread::sleep_for(std::chrono::milliseconds(50)); // they fall asleep
  const double before = cpuSeconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(cpuSeconds() - before, 0.02);
  for (int i = 0; i < 100; ++i) { // and wake again, asleep or not
    std::this_thread::sleep_for(std::chrono::microseconds(i * 5));
    pool.run(job, &calls);
  }
  EXPECT_EQ(calls, 200 * 4);
}

} // namespace
} // namespace retort::test
