//===- Machine.h - The simulated device's lanes, warps, CTAs, launches ----===//
// SPDX-License-Identifier: Apache-2.0
//
// One host thread at a time runs everything (Driver.cpp holds the lock). A lane is a fiber. Lanes
// of a warp hand over to each other directly; when none of a warp can go on, the scheduler takes
// another warp, of any CTA, launch and device.
#pragma once
#include "kernels/cuda/machine.h"
#include "kernels/sim/sim_types.h"
#include <boost/context/detail/fcontext.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace retort::sim {

struct Warp;
struct Cta;
struct Launch;
struct Device;
struct Clock;

constexpr unsigned kMaxDevices = 8;
constexpr unsigned kWarpsPerDevice = 256; // resident at a time, over all launches
constexpr uint32_t kAllLanes = 0xffffffffu;

/// Settings, from the environment (RETORT_SIM_*) and retort_sim_set.
struct Settings {
  unsigned devices = 1, multiprocessors = 4, arch = 900;
  uint64_t seed = 0, memoryBytes = uint64_t(8) << 30;
  bool peers = true, check = false, count = false;
  int64_t failAllocation = -1; // allocations that still succeed; -1: all
  int64_t loseDevice = -1;     // launches that still succeed; -1: all
  unsigned lostDevice = 0;
  unsigned hostWaitMs =
      500; // how long a stalled device waits for other host threads before it is a deadlock
  bool instrumented() const { return check || count; }
  const cuda::Architecture &architecture() const { return cuda::architecture(int(arch / 10)); }
};
extern Settings settings;

enum class Meet : uint8_t {
  WarpSync,
  Shuffle,
  Ballot,
  MmaF16,
  MmaBf16,
  MmaS8,
  Ldmatrix,
  Barrier,
  Wgmma,
  WgmmaFence,
  WgmmaCommit,
  WgmmaWait
};

struct AsyncCopy {
  uint8_t *dest;
  const uint8_t *source; // null: zeros
  uint32_t bytes;
  uint64_t *bar; // bulk copies
};

struct Lane : retort_sim_lane {
  boost::context::detail::fcontext_t context = nullptr;
  Warp *warp = nullptr;
  uint32_t lane = 0, bit = 0;
  uint8_t *stack = nullptr; // top
  const void *lastLoad = nullptr;
  uint32_t lastValue = 0;
  std::vector<AsyncCopy> copies;
  std::vector<uint32_t> groups; // ends of committed groups in copies
  // Checking: what this lane has seen if it is more than its warp has; what its last fence
  // released; what its relaxed loads would acquire at the next, from this device and from others.
  Clock *own = nullptr, *fenced = nullptr, *loaded = nullptr, *loadedSystem = nullptr;
  int fencedScope = 0;
  uint32_t asyncFenced = 0; // its warp's time at its last fenceAsyncShared
};

/// A wgmma that a warp has begun: 16 rows of it.
struct WarpProduct {
  float *d[32];
  uint32_t a[32][4];
  uint64_t b;
  bool accumulate;
};

/// A load or store of up to 32 lanes at one place in the program.
struct Request {
  uint32_t key, mask;     // key: twice the site's number, and 1 for a store
  uint8_t bytes;          // of each lane
  int32_t previous, next; // requests of the same key
  uint64_t address[32];
};

struct Warp {
  Lane lanes[32];
  Cta *cta = nullptr;
  uint32_t index = 0;
  uint32_t runnable = 0, spinning = 0, exited = 0, arrived = 0;
  bool queued = false;
  Meet meet = Meet::WarpSync;
  const void *site = nullptr;
  void *argD[32];
  const void *argA[32], *argB[32];
  uint32_t value[32];
  int source[32];
  std::vector<WarpProduct> pending;    // wgmmas that nobody has waited for
  std::vector<uint32_t> pendingGroups; // ends of committed groups in pending
  uint64_t products = 0;               // wgmmas begun
  bool registersFenced = false;        // by a wgmmaFence since the last that was waited for
  uint64_t stallMark = 0;
  uint32_t stalls = 0;
  // Checking: a component of the clocks, its time, the time at which this warp got it, what the
  // warp has seen.
  uint32_t slot = 0, now = 0, born = 0;
  Clock *seen = nullptr;
  std::vector<Request> requests; // the first numRequests are of now
  uint32_t numRequests = 0, cursor[32];
  std::vector<int32_t> placeFirst, placeLast; // by key: the first and the last request, or -1
};

struct Barrier {
  uint32_t arrived = 0, expected = 0;
  const void *site = nullptr;
  std::vector<uint32_t> came, waiting; // lanes, a mask for each warp
  Clock *clock = nullptr;
};

/// Four warps: how many wgmmas the first to come has begun, and their columns.
struct Warpgroup {
  uint64_t count = 0, latest[256] = {};
};

struct Cta {
  Launch *launch = nullptr;
  uint32_t index = 0, arenaSlot = 0, alive = 0;
  uint8_t *arena = nullptr;
  std::vector<Warp *> warps;
  Barrier barriers[16];
  std::vector<AsyncCopy> bulk; // on their way
  std::vector<Warpgroup> groups;
  bool triggered = false;
};

struct Function {
  std::string name;
  retort_sim_kernel kernel;
  uint32_t maxShared = 48 * 1024;
};

struct Launch {
  Device *device = nullptr;
  const Function *function = nullptr;
  uint32_t grid = 0, threads = 0, shared = 0;
  bool cooperative = false, dependent = false; // dependent: by programmatic dependent launch
  std::vector<uint8_t> parameters;
  std::vector<uint32_t> offsets; // of each in parameters
  std::vector<uint32_t> order;   // CTAs yet to start are order[started..]
  uint32_t started = 0, finished = 0, triggered = 0;
  bool running = false, failed = false;
  Launch *before = nullptr; // the launch that this one overlaps, until it has finished
  std::vector<Cta *> ctas;
  size_t parameterBytes() const { return parameters.size() + 16 * offsets.size(); }
  Clock *begin = nullptr, *end = nullptr, *prior = nullptr; // prior: what pdlWait acquires
};

/// CTAs of a launch that fit a multiprocessor at once; 0 if none does.
unsigned occupancy(const Function &function, unsigned threads, size_t shared);

//===- Scheduler.cpp ------------------------------------------------------===//

enum class Outcome { Progress, Idle, Stalled };
/// Begins a launch: its CTAs start as multiprocessors are free.
void beginLaunch(Launch *launch);
/// Starts what can start, runs one warp for a while. Idle: nothing is running; Stalled: all that
/// run wait for each other.
Outcome step();
/// Launches that ended (finished or failed) since the last call.
std::vector<Launch *> takeEnded();
/// Ends every running launch of a device, or all (null), as failed.
void abandon(Device *device);
/// Reports why nothing goes on and ends all running launches as failed.
void reportDeadlock();
/// Ends the running launch with a finding; does not return. Only from a lane.
[[noreturn]] void fail(const char *kind, const std::string &message, const void *site, int error);
/// Something happened that a waiting lane may be waiting for.
extern uint64_t progress;
inline Lane *self() { return static_cast<Lane *>(retort_sim_self); }
/// Waits for the warp's lanes. True for the last to come, which then acts for all before any other
/// goes on.
bool meetLanes(Meet kind, const void *site);
/// Gives way until another warp, or all, had a turn.
void spin(Lane *lane);
void randomSeed(uint64_t seed);
uint32_t randomBelow(uint32_t bound);
std::string describe(const Lane *lane);

} // namespace retort::sim
