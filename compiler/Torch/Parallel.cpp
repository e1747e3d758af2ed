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
  int64_t count;
  c10::function_ref<void(int64_t, int64_t)> work;
  std::atomic_flag failed;
  std::exception_ptr failure; ///< written by the thread that set `failed`

  /// One thread's part. The team may be smaller than was asked for.
  void part() noexcept {
    const int64_t threads = omp_get_num_threads(), chunk = (count + threads - 1) / threads;
    const int64_t begin = omp_get_thread_num() * chunk;
    try {
      if (begin < count)
        work(begin, std::min(count, begin + chunk));
    } catch (...) {
      if (!failed.test_and_set())
        failure = std::current_exception();
    }
  }
};

} // namespace

void parallel(int64_t count, int64_t grain, c10::function_ref<void(int64_t, int64_t)> work) {
  const int64_t threads = std::min<int64_t>(at::get_num_threads(), count / std::max<int64_t>(1, grain));
  if (threads <= 1 || at::in_parallel_region()) {
    if (count > 0)
      work(0, count);
    return;
  }
  Team team{count, work, {}, {}};
  GOMP_parallel([](void *data) { static_cast<Team *>(data)->part(); }, &team, unsigned(threads), 0);
  if (team.failure)
    std::rethrow_exception(team.failure);
}

} // namespace retort::exec
