//===- machine.h - GPUs, and how kernels use a multiprocessor --------------------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// The one place that knows what architectures have and how a CTA divides it. Device code, the
// shapes of kernels (shapes.h), the compiler and the simulator read it. Plain C++20.
#pragma once
#include <stdint.h>

#if defined(__CUDACC__)
#define RETORT_HOST_DEVICE __host__ __device__
#else
#define RETORT_HOST_DEVICE
#endif

namespace retort::cuda {

RETORT_HOST_DEVICE constexpr int minOf(int a, int b) { return a < b ? a : b; }
RETORT_HOST_DEVICE constexpr int maxOf(int a, int b) { return a > b ? a : b; }
RETORT_HOST_DEVICE constexpr int ceilDiv(int a, int b) { return (a + b - 1) / b; }

//===- Architectures ------------------------------------------------------------------------===//

/// A GPU architecture (CUDA C++ Programming Guide, technical specifications by compute capability).
struct Architecture {
  int number;      ///< ten times the compute capability: 90
  int sharedBytes; ///< that one CTA may have
  int threads;     ///< of a multiprocessor
  int ctas;        ///< of a multiprocessor
  bool wgmma;      ///< has it, in code that names the architecture alone ("sm_90a")

  constexpr int major() const { return number / 10; }
  constexpr int multiprocessorSharedBytes() const { return sharedBytes + 1024; }
};
constexpr Architecture kArchitectures[] = {
    {80, 163 * 1024, 2048, 32, false},  {86, 99 * 1024, 1536, 16, false},
    {87, 163 * 1024, 1536, 16, false},  {89, 99 * 1024, 1536, 24, false},
    {90, 227 * 1024, 2048, 32, true},   {100, 227 * 1024, 2048, 32, false},
    {101, 227 * 1024, 2048, 32, false}, {103, 227 * 1024, 2048, 32, false},
    {110, 227 * 1024, 1536, 24, false}, {120, 99 * 1024, 1536, 24, false},
    {121, 99 * 1024, 1536, 24, false}};

/// The oldest one that kernels run on: the first with cp.async and bf16 products.
constexpr int kOldestArchitecture = kArchitectures[0].number;

/// The row of `number`, or of an architecture that the table lacks the row of the newest before it.
constexpr const Architecture &architecture(int number) {
  const Architecture *found = &kArchitectures[0];
  for (const Architecture &row : kArchitectures)
    if (row.number <= number)
      found = &row;
  return *found;
}

/// Dynamic shared memory of the step's kernels in code that any architecture may run (PTX): the
/// least that a CTA may have.
constexpr int kPortableSharedBytes = [] {
  int least = kArchitectures[0].sharedBytes;
  for (const Architecture &row : kArchitectures)
    least = minOf(least, row.sharedBytes);
  return least;
}();
/// The same in code for architecture `number`, which later ones of its major version run too.
constexpr int sharedBytesOf(int number) {
  int least = 0;
  for (const Architecture &row : kArchitectures)
    if (row.major() == number / 10)
      least = least == 0 ? row.sharedBytes : minOf(least, row.sharedBytes);
  return least == 0 ? kPortableSharedBytes : least;
}

//===- Launches: what the emitter puts in the manifest --------------------------------------===//

/// Threads of a CTA, one CTA a multiprocessor.
constexpr int kThreads = 256;
constexpr int kPrefillThreads = kThreads;
constexpr int kWarps = kThreads / 32;

/// The kernel that draws tokens (sample.cuh), a launch of its own with a CTA a row. More threads
/// have fewer registers each: 768 spill on sm_120.
constexpr int kSampleThreads = 512;
constexpr int kSampleSharedBytes = 32 * 1024;

/// How a CTA of the step's kernels divides its shared memory (cta.cuh): barriers, then while
/// decoding the ring that weights stream through and the work area, in prefill one arena.
struct SharedMemory {
  int bytes;

  static constexpr int kMaxSlots = 16; ///< of a warp's ring, each with a barrier
  static constexpr int kBarrierBytes = kWarps * kMaxSlots * 8;
  /// An H100 has 3.35 TB/s and answers after 0.7 us: 18 KB in flight a multiprocessor. The rest of
  /// the ring covers the wait.
  RETORT_HOST_DEVICE constexpr int ringBytes() const {
    return bytes == kPortableSharedBytes ? 56 * 1024 : 128 * 1024;
  }
  RETORT_HOST_DEVICE constexpr int warpRingBytes() const { return ringBytes() / kWarps; }
  RETORT_HOST_DEVICE constexpr int arenaBytes() const { return bytes - kBarrierBytes; }
  RETORT_HOST_DEVICE constexpr int workBytes() const { return arenaBytes() - ringBytes(); }
};

/// Words of retort_cuda_step::sync: the grid barrier, flags of prefill's exchanges, then from
/// kSyncReserved on what a decoding device was sent (exchange.cuh; at the same place on both), then
/// the arrivals of attend's splits, one for each row and key/value head (of the layer with the
/// most).
constexpr int kSyncBarrier = 0;
// Exchanges between devices: how many CTAs have sent (graph form), and where the other device says
// that it has sent everything, two words in turns, each in a sector of its own.
constexpr int kSyncSent = 8;
constexpr int kSyncFlags = 16, kSyncFlagStride = 8;
constexpr int kMaxExchanges = 254; // of a step; times generations they number 16 bits
constexpr int kSyncReserved = 64;
RETORT_HOST_DEVICE constexpr int syncWords(int maxRows, int maxKvHeads, int receivedWords = 0) {
  return kSyncReserved + receivedWords + maxRows * maxKvHeads;
}
/// What a decoding device was sent (exchange.cuh): a word holds two columns' values and their flag.
/// Words from one row to the next: four columns are 16 aligned bytes.
constexpr int kReceivedBytes = 8;
RETORT_HOST_DEVICE constexpr int receivedStride(int columns) { return (columns + 3) / 4 * 2; }

} // namespace retort::cuda
