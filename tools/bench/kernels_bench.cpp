//===- kernels_bench.cpp - Speed of the linear kernels against this machine's limits --------===//
// SPDX-License-Identifier: Apache-2.0
//
// Prints, for each weight format, what decoding (one row) reads from memory per second beside what
// a plain read of the same memory reaches, and what prefill (64 rows) computes per second. Each
// thread has its own share of a 96 MB weight, larger than the caches; best of several runs, since
// other work on the machine only ever makes a run slower.
//
//   kernels_bench [threads = 2] [isa = v4|v3] [cols = 576]
//
//===----------------------------------------------------------------------------------===//
#include "test/unit/Kernels/Kernels.h"
#include <chrono>
#include <cstdio>
#include <functional>
#include <immintrin.h>
#include <string>
#include <thread>

using namespace retort;
using namespace retort::test;
using Kind = NumberFormat::Kind;

namespace {

constexpr int64_t kWeightBytes = int64_t(96) << 20;
constexpr int kRuns = 60;

double bestSeconds(int threads, const std::function<void(int)> &work, int runs = kRuns) {
  double best = 1e9;
  for (int i = 0; i < runs; ++i) {
    auto begin = std::chrono::steady_clock::now();
    std::vector<std::thread> pool;
    for (int t = 1; t < threads; ++t)
      pool.emplace_back(work, t);
    work(0);
    for (std::thread &thread : pool)
      thread.join();
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

/// Reads bytes as 256-bit words, four streams of additions: nothing but loads.
__attribute__((target("avx2"))) uint64_t readAll(const uint8_t *p, int64_t bytes) {
  __m256i sums[4] = {};
  for (int64_t i = 0; i + 256 <= bytes; i += 256)
    for (int j = 0; j < 4; ++j) {
      _mm_prefetch(reinterpret_cast<const char *>(p + i + 64 * j + 2048), _MM_HINT_T0);
      const auto *q = reinterpret_cast<const __m256i *>(p + i + 64 * j);
      sums[j] = _mm256_add_epi64(sums[j],
                                 _mm256_add_epi64(_mm256_load_si256(q), _mm256_load_si256(q + 1)));
    }
  __m256i sum =
      _mm256_add_epi64(_mm256_add_epi64(sums[0], sums[1]), _mm256_add_epi64(sums[2], sums[3]));
  return uint64_t(_mm256_extract_epi64(sum, 0)) + uint64_t(_mm256_extract_epi64(sum, 2));
}

struct Bench {
  const Isa &isa;
  int threads;
  int64_t cols;

  /// Seconds of rows x (all of W), columns split evenly over the threads.
  double linear(const NumberFormat &format, int64_t rows, const Bytes &w, int64_t out, int runs) {
    int64_t rowBytes = format.integers() ? v3::rk_quant_row_bytes(cols, format.group) : 0;
    Bytes xq(rows * rowBytes);
    std::vector<float> x(rows * cols, 0.5f), y(rows * out);
    for (int64_t r = 0; r < rows && format.integers(); ++r)
      isa.rk_quantize(&x[r * cols], cols, format.group, xq.data() + r * rowBytes);
    return bestSeconds(
        threads,
        [&](int t) {
          int64_t n0 = out / 16 * t / threads * 16, n1 = out / 16 * (t + 1) / threads * 16;
          if (format.kind == Kind::F32)
            isa.rk_linear_f32(x.data(), cols, rows, w.data(), cols, out, n0, n1, nullptr, 0,
                              nullptr, y.data());
          else if (format.kind == Kind::F16 || format.kind == Kind::BF16)
            (format.kind == Kind::F16 ? isa.rk_linear_f16 : isa.rk_linear_bf16)(
                x.data(), cols, rows, w.data(), cols, out, n0, n1, nullptr, 0, nullptr, y.data());
          else if (format.kind == Kind::F8)
            isa.rk_linear_f8(x.data(), cols, rows, w.data(), cols, format.group, out, n0, n1,
                             nullptr, 0, nullptr, y.data());
          else
            (format.kind == Kind::I8   ? isa.rk_linear_i8
             : format.kind == Kind::I3 ? isa.rk_linear_i3s
             : !format.minima          ? isa.rk_linear_i4s
                              : isa.rk_linear_i4a)(xq.data(), rows, w.data(), cols, format.group,
                                                   out, n0, n1, nullptr, 0, nullptr, y.data());
        },
        runs);
  }

  void report(const NumberFormat &format) {
    int64_t block = weight::blockBytes(format, cols);
    int64_t out = kWeightBytes / block * 16, bytes = out / 16 * block, few = 2048;
    Bytes w(bytes);
    std::fill_n(w.data(), bytes, uint8_t(0x11)); // any codes; scales of 0x1111 are small numbers
    double decode = linear(format, 1, w, out, kRuns);
    double prefill = linear(format, 64, w, few, 2 * kRuns);
    std::printf("%-8s decode %6.1f GB/s   prefill %7.1f GFLOP/s\n", nameOf(format).c_str(),
                double(bytes) / decode / 1e9, 2.0 * 64 * double(few * cols) / prefill / 1e9);
  }
};

} // namespace

int main(int argc, char **argv) {
  int threads = argc > 1 ? std::atoi(argv[1]) : 2;
  const Isa &isa = argc > 2 && std::string(argv[2]) == "v3" ? kIsaV3 : kIsaV4;
  int64_t cols = argc > 3 ? std::atoll(argv[3]) : 576;
  if (threads < 1 || cols < 32 || cols % 128 % 32 != 0 || !machineHas(isa)) {
    std::fprintf(stderr, "kernels_bench: want [threads >= 1] [v3|v4, one this machine has] [cols, "
                         "a multiple of 32]\n");
    return 2;
  }
  Bytes memory(kWeightBytes);
  volatile uint64_t sink = 0;
  double read = bestSeconds(threads, [&](int t) {
    sink = readAll(memory.data() + kWeightBytes / threads * t, kWeightBytes / threads / 64 * 64);
  });
  std::printf("x86-64-%s, %d threads, %lld columns\nplain read      %6.1f GB/s\n", isa.name,
              threads, static_cast<long long>(cols), double(kWeightBytes) / read / 1e9);
  Bench bench{isa, threads, cols};
  for (const NumberFormat &format :
       {NumberFormat{Kind::F32}, NumberFormat{Kind::F16}, NumberFormat{Kind::BF16},
        NumberFormat{Kind::F8, 64}, NumberFormat{Kind::I8, 32}, NumberFormat{Kind::I3, 64},
        NumberFormat{Kind::I4, 32}, NumberFormat{Kind::I4, 64}, NumberFormat{Kind::I4, 128},
        NumberFormat{Kind::I4, 32, true}})
    bench.report(format);
}
