//===- Check.h - What the simulator watches -------------------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// The scheduler and the device functions call these while settings.instrumented(); each says at its
// declaration what it takes the event to mean. Clocks.cpp orders, Shadow.cpp remembers accesses,
// Counters.cpp counts.
#pragma once
#include "kernels/sim/Machine.h"
#include "kernels/sim/Memory.h"
#include "runtime/src/device/cuda_api.h"

namespace retort::sim {

//===- Findings (Report.cpp) ----------------------------------------------===//

/// Records a finding once for each kind and site. `other` is a second place in the program, or
/// null.
void report(const char *kind, const std::string &message, const std::string &kernel,
            const void *site, const void *other = nullptr);
constexpr uint32_t kMaxSites = 8192;
/// A number below kMaxSites for a place in the program, and back.
uint32_t siteOf(const void *pc);
const void *pcOf(uint32_t site);
struct SiteCounters {
  uint64_t requests = 0, sectors = 0, ideal = 0, conflicts = 0;
};
SiteCounters &countersOf(uint32_t site);
struct SharedCounters {
  uint64_t requests = 0, conflicts = 0;
};
extern SharedCounters sharedCounters;
struct RunCounters {
  uint64_t launches = 0, waits = 0, mma = 0, ldmatrix = 0, atomics = 0, bulkBytes = 0;
  uint64_t prefetchBytes = 0;
  uint64_t toDeviceBytes = 0, toHostBytes = 0; // the driver's copies
};
extern RunCounters runCounters;
struct KernelCounters {
  uint64_t launches = 0, tiles = 0;
  uint64_t waits = 0; // of the first CTA's first thread
};
KernelCounters &kernelCounters(const std::string &kernel);
Region *regionOf(Allocation *allocation, uint64_t address);
void nameRegion(Allocation *allocation, uint64_t begin, uint64_t bytes, const std::string &name);
std::string reportJson();
void clearReport();

//===- Order (Clocks.cpp) -------------------------------------------------===//
// A clock has a component for each resident warp. An access is stamped with its warp's time;
// another lane may touch the bytes without a race if its clock has reached that time.

constexpr uint32_t kMaxSlots = 4096;
struct Clock {
  uint32_t at[kMaxSlots];
};
Clock *newClock();
void freeClock(Clock *&clock);
void join(Clock *into, const Clock *from); // null is the empty clock
void copyClock(Clock *into, const Clock *from);

bool haveSlots(size_t warps); // whether so many more may be resident
void takeSlot(Warp *warp, unsigned device);
void freeSlot(Warp *warp);
void clearSync(uint64_t begin, uint64_t end); // forget what was released there
/// Whether the lane has seen the access of this stamp.
bool ordered(uint64_t stamp, const Lane *lane);
uint64_t stampOf(const Lane *lane, uint32_t site, bool atomic);
/// A stamp for what the stream does now, of no site; its clock has reached it.
uint64_t streamStamp(CUstream stream);
void freeStreamSlot(CUstream stream);
unsigned deviceOfSlot(uint32_t slot);
constexpr uint64_t kStampAtomic = uint64_t(1) << 49;
inline uint32_t siteOfStamp(uint64_t stamp) { return uint32_t(stamp >> 50) & 0x1fff; }
inline uint32_t slotOfStamp(uint64_t stamp) { return uint32_t(stamp >> 32) & 0xfff; }
inline uint32_t laneOfStamp(uint64_t stamp) { return uint32_t(stamp >> 44) & 31; }

void launchBegins(Launch *launch, const Clock *stream);
void ctaBegins(Cta *cta);
void ctaEnds(Cta *cta);
void warpSynced(Warp *warp); // all lanes see what all did
void barrierArrives(Barrier &barrier, Warp *warp,
                    uint32_t lanes);           // the barrier sees what the lanes did
void barrierOpens(Cta *cta, Barrier &barrier); // those that wait see what the barrier saw
void acquire(Lane *lane, const void *at, int scope);
void release(Lane *lane, const void *at, int scope,
             bool modify); // modify: what was released before stays
void relaxedLoad(Lane *lane, const void *at, int scope);
void relaxedStore(Lane *lane, const void *at, int scope, bool modify);
void fence(Lane *lane, int scope);
void asyncFence(Lane *lane);    // fenceAsyncShared
void dependencyMet(Lane *lane); // pdlWait

//===- Accesses (Shadow.cpp) ----------------------------------------------===//

enum Access : uint32_t {
  Read = 0,
  Write = 1,
  Atomic = 2,
  InFlight = 4,
  Constant = 8,
  Uncounted = 16
};
/// An access by the running lane: bounds, alignment, initialisation, races. Ends the launch where a
/// GPU would.
void access(const void *p, uint32_t bytes, uint32_t flags, const void *site);
/// The asynchronous proxy (wgmma) reads shared memory: whoever wrote there must have said
/// fenceAsyncShared since. Beside access(). Bytes that a bulk copy brought would not need it; they
/// are not told apart.
void asyncReads(const void *p, uint32_t bytes, const void *site);
/// An access by a copy or a set in a stream, whose clock and stamp (streamStamp) are given.
void copied(const void *p, uint64_t bytes, bool write, const Clock *clock, uint64_t stamp);
/// A copy to shared memory landed: the bytes may be read by whoever is ordered after it.
void landed(Lane *lane, const void *p, uint32_t bytes, const void *site);
void forgetArena(const Cta *cta); // uninitialised again

//===- Warp requests (Counters.cpp) ---------------------------------------===//

void countAccess(Lane *lane, const void *p, uint32_t bytes, bool write, const void *site);
void countLdmatrix(Warp *warp, const void *const *rows, int matrices, const void *site);
void countBulk(const void *source, uint32_t bytes, const void *site);
/// The lanes stand at the same place: what they did since they last did is grouped and counted.
void flushRequests(Warp *warp);

} // namespace retort::sim
