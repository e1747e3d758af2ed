//===- Parallel.cpp - Sharing kernels out among threads -----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Parallel.h"
#include <ATen/Parallel.h>
#include <algorithm>
#include <atomic>
#include <exception>

// libtorch is built by GCC, so its threads are libgomp's. Clang's -fopenmp would bring a second pool,
// LLVM's, which fights the first for cores, and at::parallel_for runs on one thread where the
// including file is not compiled for OpenMP. So the entry that GCC calls for `#pragma omp parallel`
// is called here.
extern "C" void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags);
extern "C" int omp_get_thread_num();
extern "C" int omp_get_num_threads();

namespace retort::exec {
namespace {

struct Team {
  c10::function_ref<void()> part;
  std::atomic_flag failed;
  std::exception_ptr failure; ///< written by the thread that set `failed`

  void run() noexcept {
    try {
      part();
    } catch (...) {
      if (!failed.test_and_set())
        failure = std::current_exception();
    }
  }
};

/// Calls `part` on each of so many threads, or of fewer.
void onThreads(int64_t threads, c10::function_ref<void()> part) {
  Team team{part, {}, {}};
  GOMP_parallel([](void *data) { static_cast<Team *>(data)->run(); }, &team, unsigned(threads), 0);
  if (team.failure)
    std::rethrow_exception(team.failure);
}

} // namespace

void parallel(int64_t count, int64_t grain, c10::function_ref<void(int64_t, int64_t)> work) {
  const int64_t threads =
      std::min<int64_t>(at::get_num_threads(), count / std::max<int64_t>(1, grain));
  if (threads <= 1 || at::in_parallel_region()) {
    if (count > 0)
      work(0, count);
    return;
  }
  onThreads(threads, [&] {
    const int64_t team = omp_get_num_threads(), chunk = (count + team - 1) / team;
    const int64_t begin = omp_get_thread_num() * chunk;
    if (begin < count)
      work(begin, std::min(count, begin + chunk));
  });
}

void shareOut(int64_t count, c10::function_ref<void(int64_t)> work) {
  std::atomic<int64_t> next = 0;
  const auto part = [&] {
    const at::AutoDispatchBelowADInplaceOrView noGradients;
    for (int64_t i = next++; i < count; i = next++)
      work(i);
  };
  // A team of two at least: what is computed outside of one, libtorch shares out itself.
  if (at::get_num_threads() == 1 || at::in_parallel_region())
    part();
  else if (count > 0)
    onThreads(std::clamp<int64_t>(count, 2, at::get_num_threads()), part);
}

} // namespace retort::exec
