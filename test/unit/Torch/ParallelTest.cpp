//===- ParallelTest.cpp - The executor's loops on libtorch's threads -----------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Parallel.h"
#include <ATen/Parallel.h>
#include <atomic>
#include <chrono>
#include <fstream>
#include <gtest/gtest.h>
#include <set>
#include <stdexcept>
#include <thread>

namespace retort::exec {
namespace {

struct ParallelTest : testing::Test {
  const int before = at::get_num_threads();
  void SetUp() override { at::set_num_threads(2); }
  void TearDown() override { at::set_num_threads(before); }
};

// Each chunk waits for the other to begin: on one thread the first would wait for ever.
TEST_F(ParallelTest, ChunksRunAtTheSameTime) {
  std::atomic<int> begun = 0;
  std::atomic<bool> late = false;
  parallel(2, 1, [&](int64_t begin, int64_t end) {
    EXPECT_EQ(end, begin + 1);
    ++begun;
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (begun < 2 && !late)
      late = std::chrono::steady_clock::now() > limit;
  });
  EXPECT_EQ(begun, 2);
  EXPECT_FALSE(late);
}

TEST_F(ParallelTest, CoversEachIndexOnce) {
  for (const int threads : {1, 2, 3, 8})
    for (const int64_t count : {0, 1, 2, 5, 16, 17, 1000})
      for (const int64_t grain : {1, 4, 16, 2000}) {
        at::set_num_threads(threads);
        std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
        std::atomic<int> chunks = 0;
        parallel(count, grain, [&](int64_t begin, int64_t end) {
          ++chunks;
          for (int64_t i = begin; i < end; ++i)
            ++seen[size_t(i)];
        });
        for (const auto &times : seen)
          ASSERT_EQ(times, 1);
        EXPECT_LE(chunks, std::max<int64_t>(1, count / grain));
        EXPECT_LE(chunks, threads);
      }
}

TEST_F(ParallelTest, CarriesExceptions) {
  for (const int64_t bad : {0, 1})
    EXPECT_THROW(parallel(2, 1,
                          [&](int64_t begin, int64_t) {
                            if (begin == bad)
                              throw std::runtime_error("this one");
                          }),
                 std::runtime_error);
}

// Each index once; what libtorch computes in it is not shared out again, however few they are.
TEST_F(ParallelTest, SharesOut) {
  for (const int threads : {1, 2, 8})
    for (const int64_t count : {0, 1, 2, 5, 17}) {
      at::set_num_threads(threads);
      std::vector<std::atomic<int>> seen(static_cast<size_t>(count));
      std::atomic<int> alone = 0;
      shareOut(count, [&](int64_t i) {
        ++seen[size_t(i)];
        alone += at::in_parallel_region() || at::get_num_threads() == 1;
      });
      for (const auto &times : seen)
        ASSERT_EQ(times, 1);
      EXPECT_EQ(alone, count);
    }
  EXPECT_THROW(shareOut(3, [](int64_t i) { TORCH_CHECK(i != 1, "this one"); }), c10::Error);
}

// A second OpenMP runtime would have threads of its own.
TEST_F(ParallelTest, OneRuntime) {
  parallel(2, 1, [](int64_t, int64_t) {});
  std::ifstream maps("/proc/self/maps");
  std::set<std::string> runtimes;
  for (std::string line; std::getline(maps, line);)
    for (const char *name : {"libgomp", "libomp", "libiomp"})
      if (const size_t at = line.find(name); at != std::string::npos)
        runtimes.insert(line.substr(line.find('/')));
  EXPECT_EQ(runtimes.size(), 1u) << testing::PrintToString(runtimes);
}

} // namespace
} // namespace retort::exec
