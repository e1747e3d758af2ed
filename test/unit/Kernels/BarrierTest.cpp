//===- BarrierTest.cpp - The pool's barrier -----------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "Kernels.h"
#include "runtime/src/abi/cpu_program.h"
#include <chrono>
#include <ctime>
#include <thread>

using namespace retort::test;

namespace {

/// Runs `rounds` rounds on `threads` threads; in each, a thread writes its own cell, waits, and
/// counts the neighbours that are not at this round. A second wait keeps the next round away.
int64_t stragglers(int threads, int rounds) {
  ::retort_cpu_barrier barrier = {};
  auto *shared = reinterpret_cast<v3::retort_cpu_barrier *>(&barrier);
  std::vector<int> cells(threads * 16); // plain ints: the barrier alone orders them
  std::vector<int64_t> late(threads * 8);
  auto work = [&](int t) {
    for (int round = 1; round <= rounds; ++round) {
      cells[t * 16] = round;
      v3::rk_barrier_v3(shared, threads);
      for (int other = 0; other < threads; ++other)
        late[t * 8] += cells[other * 16] != round;
      v3::rk_barrier_v3(shared, threads);
    }
  };
  std::vector<std::thread> pool;
  for (int t = 1; t < threads; ++t)
    pool.emplace_back(work, t);
  work(0);
  for (std::thread &thread : pool)
    thread.join();
  EXPECT_EQ(barrier.arrived, 0u);
  EXPECT_EQ(barrier.generation, threads > 1 ? 2u * unsigned(rounds) : 0u);
  int64_t sum = 0;
  for (int64_t count : late)
    sum += count;
  return sum;
}

TEST(Barrier, WaitsForEveryThread) {
  EXPECT_EQ(stragglers(1, 1000), 0);
  EXPECT_EQ(stragglers(2, 20000), 0);
}

TEST(Barrier, MoreThreadsThanCoresDoNotStall) {
  EXPECT_EQ(stragglers(2 * int(std::thread::hardware_concurrency()) + 1, 200), 0);
}

/// What a thread that waits takes of a core: the others come 2 ms later, a hundred times.
TEST(Barrier, SleepsWhereItWaitsForLong) {
  constexpr int kRounds = 100;
  ::retort_cpu_barrier barrier = {};
  auto *shared = reinterpret_cast<v3::retort_cpu_barrier *>(&barrier);
  double seconds = 0;
  std::thread waiting([&] {
    for (int round = 0; round < kRounds; ++round)
      v3::rk_barrier_v3(shared, 2);
    timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    seconds = double(used.tv_sec) + double(used.tv_nsec) * 1e-9;
  });
  for (int round = 0; round < kRounds; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    v3::rk_barrier_v3(shared, 2);
  }
  waiting.join();
  EXPECT_LT(seconds, kRounds * 1e-3); // spinning or yielding takes twice that
  EXPECT_EQ(barrier.sleeping, 0u);
}

} // namespace
