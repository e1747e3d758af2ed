// A CTA's view of a step, its shared memory, and the ring that weights stream through.
// SPDX-License-Identifier: Apache-2.0
//
// Rules for every phase function (matmul.cuh, attend.cuh, embed.cuh, rows.cuh):
// - All kThreads threads of all CTAs of the grid call it. It loops over this CTA's share of its
//   tiles.
// - What it reads from activations was written before the last wait. What it writes may be read by
//   other CTAs after the next wait, and by its own after the next ctaSync().
// - The work area of shared memory is a phase's own from call to return; nothing is left in it.
//   The ring is not touched but by products (matmul, matmulGlu).
// - Reductions have an order that is a function of the shape and of the row alone: a row gives the
//   same bits decoded alone, in a batch, and on any number of multiprocessors. Prefill has orders
//   of its own.
//
// Weights. Decoding is bound by their bytes, and they do not depend on activations, so a product is
// cut in two:
//
//   matmulFetch<P>(cta, w);     // the first tiles' bytes set out for the ring; returns at once
//   cta.wait();                 // ... while the rows that the product reads are being finished
//   matmul<P>(cta, x, ..., w);  // consumes the ring and keeps it full until its own last tile
//
// Each product's fetch is called exactly once before it, after the product before it has returned;
// phases without weights (attend, norm, ...) may stand in between. So persistent code is:
// fetch(first), then for each phase: wait where the program says so, run, and after a product the
// fetch of the next product. One kernel a phase: fetch, wait, run.
//
// Each warp has a ring of its own: it alone fills and reads it, so a main loop has no CTA barrier.
// From sm_90 one lane asks for a slot in one bulk copy that completes on the slot's mbarrier;
// before, each lane copies 16 bytes at a time.
#pragma once
#include "kernels/cuda/shapes.h"
#include "kernels/cuda/wrap.cuh"
#include "runtime/src/abi/cuda_program.h"
namespace retort::cuda {

#ifdef RETORT_PORTABLE // PTX
constexpr SharedMemory kShared = {kPortableSharedBytes};
#else
constexpr SharedMemory kShared = {sharedBytesOf(RETORT_ARCH / 10)};
#endif
constexpr int kBarrierBytes = SharedMemory::kBarrierBytes, kMaxSlots = SharedMemory::kMaxSlots;
static_assert(kShared.workBytes() >= 32 * 1024, "reductions and at least one row of activations");

/// The tiles of this CTA: equal shares, neighbours together, so that its weights are one range of
/// memory.
struct TileRange {
  int begin, end;
  RETORT_DEVICE explicit TileRange(int tiles)
      : begin(int(ctaIndex() * uint32_t(tiles) / ctaCount())),
        end(int((ctaIndex() + 1) * uint32_t(tiles) / ctaCount())) {}
};

struct Cta {
  retort_cuda_step step; // a copy: its fields are read in every phase
  uint32_t parity = 0;   // bit s: the parity that the next wait for slot s of the ring waits for

  /// All threads, once, first thing in a kernel. `step` is written before the launch only.
  RETORT_DEVICE explicit Cta(const retort_cuda_step *source) : step(*source) {
    if (threadIndex() < kWarps * kMaxSlots)
      mbarInit(reinterpret_cast<uint64_t *>(sharedArena()) + threadIndex(), 1);
    fenceMbarInit();
    ctaSync();
  }

  template <class T = uint8_t> RETORT_DEVICE const T *weights(int64_t offset) const {
    return reinterpret_cast<const T *>(step.weights + offset);
  }
  template <class T = float> RETORT_DEVICE T *activation(int64_t offset) const {
    return reinterpret_cast<T *>(step.activations + offset);
  }
  RETORT_DEVICE const int32_t *tokens() const { return step.tokens; }
  RETORT_DEVICE const int32_t *positions() const { return step.positions; }
  RETORT_DEVICE const int32_t *wanted() const { return step.wanted; }
  RETORT_DEVICE float *logits() const { return step.logits; }

  /// Memory of the other device, for what this one sends, and where this one has what it was sent
  /// (not `activations`: without peer access both are memory of the host).
  /// These and the waits of exchanges are functions and not inlined: their addresses would be kept
  /// across phases, which leave no registers.
  template <class T = float> RETORT_PHASE T *sent(int64_t offset) const {
    return reinterpret_cast<T *>(step.peers[1 - step.device].activations + offset);
  }
  template <class T = float> RETORT_PHASE const T *received(int64_t offset) const {
    return reinterpret_cast<const T *>(step.peers[step.device].activations + offset);
  }

  /// The same of words that carry their flags (exchange.cuh), which lie in `sync`: on the other
  /// device; where this one reads them; where they arrive, which is host memory without peer
  /// access.
  RETORT_PHASE uint32_t *sentWords(int64_t offset) const {
    return step.peers[1 - step.device].sync + kSyncReserved + offset / 4;
  }
  RETORT_PHASE uint32_t *receivedWords(int64_t offset) const {
    return step.sync + kSyncReserved + offset / 4;
  }
  RETORT_PHASE const uint32_t *arrivedWords(int64_t offset) const {
    return step.peers[step.device].sync + kSyncReserved + offset / 4;
  }

  //===- Exchanges of prefill (kernel.exchange; decoding's are exchange.cuh): products have stored
  // what the other device needs there; what is left is to say so. One thread of the CTA that is
  // last to be done says it for the device: CTAs meet at device scope, which makes all their stores
  // part of what its release at system scope publishes. A flag's value is different for each
  // exchange of each step, so flags are never reset.

  /// Never 0, and in 16 bits.
  RETORT_DEVICE uint32_t flagValue(int exchange) const {
    static_assert(RETORT_CUDA_GENERATIONS * (kMaxExchanges + 1) + kMaxExchanges <= 0xffff);
    return uint32_t(step.generation) * (kMaxExchanges + 1) + uint32_t(exchange) + 1;
  }
  static RETORT_DEVICE int flagAt(int exchange) {
    return kSyncFlags + exchange % 2 * kSyncFlagStride;
  }
  /// One thread: what this device sent before is there.
  RETORT_DEVICE void raiseFlag(int exchange) const {
    fenceSys();
    storeReleaseSys(step.peers[1 - step.device].sync + flagAt(exchange), flagValue(exchange));
  }
  /// All threads: waits for what the other device sent.
  RETORT_DEVICE void receive(int exchange) const {
    if (threadIndex() == 0)
      while (loadAcquireSys(step.peers[step.device].sync + flagAt(exchange)) != flagValue(exchange))
        spinPause();
    ctaSync();
  }

#if defined(RETORT_GRAPH)
  /// All threads, at the end of a kernel whose phase sends.
  RETORT_DEVICE void send(int exchange) const {
    ctaSync();
    if (threadIndex() != 0)
      return;
    if (atomicAddAcqRelGpu(step.sync + kSyncSent, 1) == ctaCount() - 1) {
      atomicAddRelaxedGpu(step.sync + kSyncSent, 0u - ctaCount()); // for the next kernel that sends
      raiseFlag(exchange);
    }
  }
  /// A kernel a phase: what the launches before this one wrote is visible. The next launch may
  /// start its fetch.
  RETORT_DEVICE void wait() const {
    pdlWait();
    pdlLaunchDependents();
  }
#else
  /// One kernel: what all CTAs wrote is visible to all. In two parts, so that a fetch can go out in
  /// between.
  RETORT_DEVICE uint32_t arrive() const { return gridArrive(step.sync + kSyncBarrier); }
  RETORT_DEVICE void waitFor(uint32_t ticket) const { gridWait(step.sync + kSyncBarrier, ticket); }
  RETORT_DEVICE void wait() const { waitFor(arrive()); }
  /// The same for the CTAs of both devices.
  RETORT_PHASE uint32_t arriveSending(int exchange) const {
    const uint32_t ticket = arrive();
    // The last one's addition flips the top bit (gridArrive).
    const uint32_t mine = ctaIndex() == 0 ? 0x80000000u - (ctaCount() - 1) : 1u;
    if (threadIndex() == 0 && ((ticket ^ (ticket + mine)) & 0x80000000u) != 0)
      raiseFlag(exchange);
    return ticket;
  }
  RETORT_PHASE void waitReceiving(uint32_t ticket, int exchange) const {
    waitFor(ticket);
    receive(exchange);
  }
#endif

  RETORT_DEVICE uint64_t *ringBarriers() const {
    return reinterpret_cast<uint64_t *>(sharedArena()) + warpIndex() * kMaxSlots;
  }
  RETORT_DEVICE uint8_t *ring() const {
    return sharedArena() + kBarrierBytes + warpIndex() * kShared.warpRingBytes();
  }
  RETORT_DEVICE uint8_t *work() const {
    return sharedArena() + kBarrierBytes + kShared.ringBytes();
  }
};

/// The stream of weights that a warp reads in a product: for each block of 16 rows of the CTA's
/// range, the warp's share of its pieces. The K dimension is split over the warps, so that even a
/// matrix of few rows keeps all of them loading.
/// Slots hold kChunk pieces. Traffic: each byte of the range once, in requests of whole 32-byte
/// sectors.
template <ProductShape P> struct WeightStream {
  static constexpr int kPieces = P.pieces(), kPieceCols = P.weights.pieceCols();
  static constexpr int kPieceBytes = P.weights.pieceBytes();
  static constexpr int64_t kBlockBytes = P.weights.blockBytes(P.in);
  static constexpr int kChunk = P.slotPieces(kShared);
  static constexpr bool kWhole = P.fullSlots(kShared);
  static constexpr int kSlotBytes = kChunk * kPieceBytes;
  static constexpr int kSlots = minOf(kMaxSlots, kShared.warpRingBytes() / kSlotBytes);
  static_assert(kSlots >= 1 && kPieceBytes % 32 == 0);

  // What is still to be asked for.
  const uint8_t *block; // this warp's share of the block
  int chunk = 0;        // of the block
  int blocksLeft;
  int slot = 0;        // where it goes, and where the next chunk to be read lies
  uint32_t parity = 0; // cta.parity while the product runs
  // Constant.
  int firstPiece, pieces, chunks;

  /// `blocks` blocks from `firstBlock` on.
  RETORT_DEVICE WeightStream(const uint8_t *weights, int firstBlock, int blocks)
      : blocksLeft(blocks) {
    const int warp = int(warpIndex());
    firstPiece = warp * kPieces / kWarps;
    pieces = (warp + 1) * kPieces / kWarps - firstPiece;
    chunks = ceilDiv(pieces, kChunk);
    block = weights + firstBlock * kBlockBytes + firstPiece * kPieceBytes;
    if (chunks == 0)
      blocksLeft = 0;
  }
  RETORT_DEVICE int chunkPieces(int index) const {
    if constexpr (kWhole)
      return kChunk;
    const int left = pieces - index * kChunk;
    return left < kChunk ? left : kChunk;
  }
  /// All lanes: fills the ring.
  RETORT_DEVICE void fetch(Cta &cta) {
    for (int s = 0; s < kSlots; ++s)
      ask(cta);
  }
  /// All lanes: goes on where fetch() stopped. The chunks are read from here to stop().
  RETORT_DEVICE void resume(const Cta &cta) {
    parity = cta.parity;
    if (chunks == 0)
      return;
    const int blocks = kSlots / chunks;
    blocksLeft -= blocks;
    block += blocks * kBlockBytes;
    chunk = kSlots % chunks;
  }
  RETORT_DEVICE void stop(Cta &cta) const { cta.parity = parity; }
  /// All lanes: waits for the oldest chunk that was asked for.
  RETORT_DEVICE const uint8_t *wait(Cta &cta) {
    if constexpr (kHasBulkCopy) {
      mbarWait(cta.ringBarriers() + slot, parity >> slot & 1);
      parity ^= 1u << slot;
    } else {
      cpAsyncWait<kSlots - 1>(); // one group a slot, empty ones at the end too
      warpSync();
    }
    return cta.ring() + slot * kSlotBytes;
  }
  /// All lanes, when they have read the chunk: its slot is asked to hold the next one.
  RETORT_DEVICE void release(Cta &cta) {
    if constexpr (kHasBulkCopy)
      fenceAsyncShared();
    warpSync();
    ask(cta);
  }

private:
  RETORT_DEVICE void ask(Cta &cta) {
    if (blocksLeft > 0) {
      const uint32_t bytes = uint32_t(chunkPieces(chunk) * kPieceBytes);
      const uint8_t *source = block + chunk * kSlotBytes;
      uint8_t *dest = cta.ring() + slot * kSlotBytes;
      if constexpr (kHasBulkCopy) {
        if (laneIndex() == 0) {
          mbarArriveExpect(cta.ringBarriers() + slot, bytes);
          bulkCopyStream(dest, source, bytes, cta.ringBarriers() + slot);
        }
      } else {
#pragma unroll
        for (int i = 0; i < kSlotBytes; i += 512)
          if (const uint32_t at = i + laneIndex() * 16; at < bytes)
            cpAsync16(dest + at, source + at);
      }
      if (++chunk == chunks) {
        chunk = 0;
        --blocksLeft;
        block += kBlockBytes;
      }
    }
    if constexpr (!kHasBulkCopy)
      cpAsyncCommit();
    slot = slot + 1 == kSlots ? 0 : slot + 1;
  }
};

} // namespace retort::cuda
