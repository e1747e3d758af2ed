//===- ThreadTest.cpp - Threads that share a model; idle threads ----------===//
// SPDX-License-Identifier: Apache-2.0
#include "retort.hpp"
#include "runtime/src/engine/Model.h"
#include "runtime/src/engine/ThreadPool.h"
#include "test/unit/Runtime/TestBundle.h"
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <optional>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <thread>
#include <time.h>
#include <unistd.h>

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
    pool.run(job, &calls, 4);
  std::this_thread::sleep_for(std::chrono::milliseconds(50)); // they fall asleep
  const double before = cpuSeconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_LT(cpuSeconds() - before, 0.02);
  for (int i = 0; i < 100; ++i) { // and wake again, asleep or not
    std::this_thread::sleep_for(std::chrono::microseconds(i * 5));
    pool.run(job, &calls, 4);
  }
  EXPECT_EQ(calls, 200 * 4);
  pool.run(job, &calls, 3); // and not all of them have to
  pool.run(job, &calls, 1);
  EXPECT_EQ(calls, 200 * 4 + 4);
}

/// Sets the affinity of every thread of this process, as `taskset -a -p` does.
void setAffinity(const cpu_set_t &cores) {
  for (const auto &thread : std::filesystem::directory_iterator("/proc/self/task"))
    ASSERT_EQ(sched_setaffinity(std::stoi(thread.path().filename()), sizeof cores, &cores), 0);
}

TEST(Threads, CoresThatAreTakenLater) {
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  if (CPU_COUNT(&before) < 2)
    GTEST_SKIP() << "needs two cores";
  engine::ThreadPool pool(2);
  auto readySoon = [&] {
    unsigned ready = 0;
    for (int i = 0; i < 100; ++i)
      ready = pool.ready();
    return ready;
  };
  EXPECT_EQ(pool.ready(), 2u);
  CPU_ZERO(&one);
  for (int core = 0; CPU_COUNT(&one) == 0; ++core)
    if (CPU_ISSET(core, &before))
      CPU_SET(core, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0); // the caller's alone: the other has its own
  EXPECT_EQ(readySoon(), 2u);
  setAffinity(one);
  EXPECT_EQ(readySoon(), 1u);
  setAffinity(before);
  EXPECT_EQ(readySoon(), 2u);
}

TEST(Threads, PatienceEndsWhereLookingIsInVain) {
  retort_patience patience = {};
  auto waits = [&](int count, bool helps) { // how many of them looked
    int looks = 0;
    for (int i = 0; i < count; ++i)
      if (retort_patience_looks(&patience)) {
        ++looks;
        retort_patience_learn(&patience, helps);
      }
    return looks;
  };
  EXPECT_EQ(waits(1000, true), 1000);
  EXPECT_LE(waits(1000, false), 20);
  EXPECT_GE(waits(1000, true), 800); // it is tried again, and comes back
  for (int i = 0; i < 1000; ++i)     // one look in vain of four is no reason
    EXPECT_EQ(waits(1, i % 4 != 0), 1);
}

// An application's handler reports a thread's own faults, and its profiler samples every thread.
TEST(Threads, WorkersTakeTheirOwnFaultsSignals) {
  engine::ThreadPool pool(3);
  std::atomic<int> wrong{0};
  pool.run(
      [](const void *counter, int32_t thread) {
        sigset_t mask;
        pthread_sigmask(SIG_SETMASK, nullptr, &mask);
        auto &bad = *static_cast<std::atomic<int> *>(const_cast<void *>(counter));
        for (int own : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGPROF})
          bad += sigismember(&mask, own) != 0;
        for (int others : {SIGINT, SIGTERM, SIGUSR1, SIGCHLD, SIGALRM})
          bad += thread != 0 && sigismember(&mask, others) == 0;
      },
      &wrong, 3);
  EXPECT_EQ(wrong, 0);
}

TEST(Threads, WhatAThreadThrowsComesOut) {
  std::atomic<int> calls{0};
  EXPECT_THROW(engine::runOnThreads(4,
                                    [&] {
                                      if (++calls == 3)
                                        throw std::bad_alloc();
                                    }),
               std::bad_alloc);
  EXPECT_EQ(calls, 4);
}

// A child has a copy of the session and none of its threads.
TEST(Threads, AForksChildIsTold) {
  TempFolder folder;
  writeTestBundle(folder / "m.retort");
  Model model(folder / "m.retort");
  auto session = std::make_unique<Session>(model, SessionOptions{.threads = 2});
  const std::vector<int32_t> prompt = {1, 2, 3};
  std::vector<float> logits(kVocab);
  session->prefill(0, prompt);
  if (session->info().threads < 2)
    GTEST_SKIP() << "one core";
  const pid_t child = ::fork();
  if (child == 0) {
    const std::string said = failureOf([&] { session->prefill(0, prompt); });
    session.reset(); // waits for nobody
    Session own(model, {.threads = 2});
    own.prefill(0, prompt, logits);
    const bool good = said.find("RETORT_E_ARGUMENT: the session was made before this process was "
                                "forked") == 0 &&
                      logits == expectedLogits(prompt);
    ::_exit(good ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  session->truncate(0, 2);
  session->prefill(0, std::span(prompt).subspan(2), logits);
  EXPECT_EQ(logits, expectedLogits(prompt)) << "the parent goes on";
}

// The loader knows a library by its path: a number of a file that is another's by now.
TEST(Programs, OfTwoModelsAreTwo) {
  TempFolder folder;
  writeTestBundle(folder / "a.retort");
  writeTestBundle(folder / "b.retort");
  const auto a = engine::Model::open(folder / "a.retort"),
             b = engine::Model::open(folder / "b.retort");
  ASSERT_TRUE(a->program() && b->program());
  EXPECT_NE(a->program()->entry(), b->program()->entry());
  for (int fd = 3; fd < 64; ++fd) { // no file is left open
    char path[64] = {};
    if (::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path, sizeof path - 1) > 0)
      EXPECT_EQ(std::string(path).find("retort-program"), std::string::npos) << path;
  }
}

// Somebody copies another bundle over the one that is served.
TEST(Weights, ACopyIsItsOwn) {
  for (const int32_t how : {RETORT_WEIGHTS_COPIED, RETORT_WEIGHTS_LOCKED}) {
    TempFolder folder;
    writeTestBundle(folder / "m.retort");
    std::optional<Model> model;
    if (const std::string said = failureOf([&] { model.emplace(folder / "m.retort", "", 0, how); });
        !model) {
      EXPECT_EQ(how, RETORT_WEIGHTS_LOCKED);
      EXPECT_NE(said.find("RETORT_E_RESOURCES: "), std::string::npos);
      EXPECT_NE(said.find("cannot be locked in memory"), std::string::npos) << said;
      continue;
    }
    std::string other = readFile(folder / "m.retort");
    std::fill(other.begin(), other.end(), '\x55');
    {
      std::ofstream file(folder / "m.retort", std::ios::in | std::ios::out | std::ios::binary);
      file << other;
    }
    ASSERT_EQ(::truncate((folder / "m.retort").c_str(), 10), 0);
    Session session(*model, {.threads = 1});
    const std::vector<int32_t> prompt = {4, 5};
    std::vector<float> logits(kVocab);
    session.prefill(0, prompt, logits);
    EXPECT_EQ(logits, expectedLogits(prompt));
    EXPECT_EQ(model->detokenize(prompt), std::string("\x04\x05"));
  }
  TempFolder folder;
  writeTestBundle(folder / "m.retort");
  EXPECT_EQ(failureOf([&] { Model(folder / "m.retort", "", 0, 3); }),
            "RETORT_E_ARGUMENT: retort_model_options.weights is none of its values");
}

} // namespace
} // namespace retort::test
