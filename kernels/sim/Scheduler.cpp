//===- Scheduler.cpp - Fibers, warps and CTAs -----------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "kernels/sim/Driver.h"
#include <algorithm>
#include <cstring>
#include <new>
#include <ucontext.h>

extern "C" __attribute__((visibility("default"))) retort_sim_lane *retort_sim_self = nullptr;

namespace retort::sim {

using boost::context::detail::jump_fcontext;
using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

uint64_t progress = 0;

namespace {
Lane home; // the scheduler's own context
std::deque<Warp *> queue;
std::vector<Launch *> running, ended;
std::vector<Warp *> spareWarps;
std::vector<unsigned> spareArenas;
unsigned numArenas = 0;
uint64_t randomState = 0;

void switchTo(Lane *from, Lane *to) {
  retort_sim_self = to;
  const transfer_t t = jump_fcontext(to->context, from);
  static_cast<Lane *>(t.data)->context = t.fctx;
}

void enqueue(Warp *warp) {
  if (!warp->queued) {
    warp->queued = true;
    queue.push_back(warp);
  }
}

/// Gives the processor to the next lane of the warp that can go on, or to the scheduler.
void leave(Lane *lane) {
  Warp *warp = lane->warp;
  const uint32_t ready = warp->runnable & ~warp->spinning;
  if (!ready)
    return switchTo(lane, &home);
  const uint32_t above = ready & ~((lane->bit << 1) - 1);
  Lane *next = &warp->lanes[__builtin_ctz(lane->lane != 31 && above ? above : ready)];
  if (next != lane)
    switchTo(lane, next);
}

void laneMain(transfer_t t) {
  static_cast<Lane *>(t.data)->context = t.fctx;
  Lane *lane = self();
  Warp *warp = lane->warp;
  Cta *cta = warp->cta;
  const Launch *launch = cta->launch;
  // Each lane has its own parameters, on its stack.
  const retort_sim_kernel &kernel = launch->function->kernel;
  auto *storage = static_cast<uint8_t *>(__builtin_alloca(launch->parameterBytes() + 16));
  storage += 15 - (reinterpret_cast<uint64_t>(storage) + 15) % 16;
  void *parameters[16];
  for (uint32_t i = 0; i < kernel.parameters; ++i) {
    memcpy(storage, launch->parameters.data() + launch->offsets[i], kernel.sizes[i]);
    parameters[i] = storage;
    storage += (kernel.sizes[i] + 15) / 16 * 16;
  }
  kernel.call(kernel.function, parameters);
  warp->exited |= lane->bit;
  warp->runnable &= ~lane->bit;
  --cta->alive;
  ++progress;
  if (warp->arrived)
    fail("divergence", "a lane returned from the kernel while others of its warp wait for it",
         warp->site, CUDA_ERROR_LAUNCH_FAILED);
  // At the CTA's own barrier every thread waits, so those that have not come are those that
  // returned.
  if (const Barrier &b = cta->barriers[0]; b.arrived && b.arrived == cta->alive)
    fail("divergence",
         std::to_string(b.arrived) + " of " + std::to_string(b.expected) +
             " threads wait at the CTA's barrier, and the others returned from the kernel",
         b.site, CUDA_ERROR_LAUNCH_FAILED);
  leave(lane);
  __builtin_unreachable();
}

void startCta(Launch *launch, uint32_t index) {
  auto *cta = new Cta;
  cta->launch = launch;
  cta->index = index;
  cta->alive = launch->threads;
  if (spareArenas.empty())
    spareArenas.push_back(numArenas++);
  cta->arenaSlot = spareArenas.back();
  spareArenas.pop_back();
  cta->arena = arenaOf(cta->arenaSlot);
  memset(cta->arena, 0xff, launch->shared); // NaN: what a kernel reads before it writes shows
  launch->ctas.push_back(cta);
  ++launch->device->resident;
  for (uint32_t w = 0; w < launch->threads / 32; ++w) {
    Warp *warp;
    if (spareWarps.empty()) {
      // In the space of the stacks, of which accesses are not watched: a lane reads its own record
      // there.
      static_assert(sizeof(Warp) < (64 << 10));
      warp = new (takeStack() - (64 << 10)) Warp;
    } else {
      warp = spareWarps.back();
      spareWarps.pop_back();
    }
    warp->cta = cta;
    warp->index = w;
    warp->runnable = kAllLanes;
    warp->spinning = warp->exited = warp->arrived = 0;
    warp->queued = false;
    warp->stallMark = 0;
    warp->stalls = 0;
    warp->pending.clear();
    warp->pendingGroups.clear();
    warp->products = 0;
    warp->registersFenced = false;
    for (uint32_t l = 0; l < 32; ++l) {
      Lane &lane = warp->lanes[l];
      lane.thread = w * 32 + l;
      lane.threads = launch->threads;
      lane.cta = index;
      lane.ctas = launch->grid;
      lane.arena = cta->arena;
      lane.warp = warp;
      lane.lane = l;
      lane.bit = 1u << l;
      lane.lastLoad = nullptr;
      lane.asyncFenced = 0;
      lane.copies.clear();
      lane.groups.clear();
      lane.stack = takeStack();
      lane.context = make_fcontext(lane.stack, 200 << 10, laneMain);
    }
    cta->warps.push_back(warp);
  }
  if (settings.instrumented())
    ctaBegins(cta);
  for (Warp *warp : cta->warps)
    enqueue(warp);
  ++progress;
}

void endCta(Cta *cta) {
  if (settings.instrumented())
    ctaEnds(cta);
  for (Warp *warp : cta->warps) {
    for (Lane &lane : warp->lanes)
      freeStack(lane.stack);
    if (warp->queued)
      queue.erase(std::find(queue.begin(), queue.end(), warp));
    spareWarps.push_back(warp);
  }
  for (Barrier &barrier : cta->barriers)
    freeClock(barrier.clock);
  spareArenas.push_back(cta->arenaSlot);
  Launch *launch = cta->launch;
  launch->ctas.erase(std::find(launch->ctas.begin(), launch->ctas.end(), cta));
  --launch->device->resident;
  delete cta;
}

void endLaunch(Launch *launch) {
  while (!launch->ctas.empty())
    endCta(launch->ctas.back());
  launch->running = false;
  running.erase(std::find(running.begin(), running.end(), launch));
  for (Launch *other : running)
    if (other->before == launch) {
      other->before = nullptr;
      if (settings.instrumented() && launch->end) {
        other->prior = newClock();
        join(other->prior, launch->end);
      }
    }
  ended.push_back(launch);
  ++progress;
}

void startCtas() {
  for (Launch *launch : running) {
    const unsigned perMultiprocessor =
        launch->cooperative ? occupancy(*launch->function, launch->threads, launch->shared) : 1;
    while (launch->started < launch->grid &&
           launch->ctas.size() < size_t(settings.multiprocessors) * perMultiprocessor &&
           (!settings.instrumented() || haveSlots(launch->threads / 32)))
      startCta(launch, launch->order[launch->started++]);
  }
}

void resume(Warp *warp) {
  uint32_t ready = warp->runnable & ~warp->spinning;
  if (!ready) {
    warp->spinning = 0;
    ready = warp->runnable;
  }
  switchTo(&home, &warp->lanes[__builtin_ctz(ready)]);
}
} // namespace

void randomSeed(uint64_t seed) { randomState = seed; }
uint32_t randomBelow(uint32_t bound) { // splitmix64
  uint64_t z = randomState += 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return uint32_t((z ^ (z >> 31)) >> 32) % bound;
}

std::string describe(const Lane *lane) {
  return "thread " + std::to_string(lane->thread) + " of CTA " + std::to_string(lane->cta) +
         " on device " + std::to_string(lane->warp->cta->launch->device->index);
}

void spin(Lane *lane) {
  lane->warp->spinning |= lane->bit;
  leave(lane);
}

void fail(const char *kind, const std::string &message, const void *site, int error) {
  Lane *lane = self();
  Launch *launch = lane->warp->cta->launch;
  report(kind, message + ", " + describe(lane), launch->function->name, site);
  launch->failed = true;
  launch->device->error = CUresult(error);
  switchTo(lane, &home);
  __builtin_unreachable();
}

void beginLaunch(Launch *launch) {
  launch->order.resize(launch->grid);
  for (uint32_t i = 0; i < launch->grid; ++i)
    launch->order[i] = i;
  if (settings.seed)
    for (uint32_t i = launch->grid; i > 1; --i)
      std::swap(launch->order[i - 1], launch->order[randomBelow(i)]);
  launch->running = true;
  running.push_back(launch);
  ++runCounters.launches;
  ++kernelCounters(launch->function->name).launches;
  ++progress;
}

Outcome step() {
  startCtas();
  if (queue.empty())
    return running.empty() ? Outcome::Idle : Outcome::Stalled;
  if (settings.seed)
    std::swap(queue.front(), queue[randomBelow(uint32_t(queue.size()))]);
  Warp *warp = queue.front();
  queue.pop_front();
  warp->queued = false;
  Launch *launch = warp->cta->launch;
  resume(warp);
  if (launch->failed) {
    endLaunch(launch);
    return Outcome::Progress;
  }
  Cta *cta = warp->cta;
  if (cta->alive == 0) {
    ++launch->finished;
    if (!cta->triggered)
      ++launch->triggered;
    endCta(cta);
    if (launch->finished == launch->grid)
      endLaunch(launch);
    return Outcome::Progress;
  }
  if (!warp->runnable)
    return Outcome::Progress; // it waits at a barrier
  enqueue(warp);              // its lanes that can go on all spin
  if (warp->stallMark != progress) {
    warp->stallMark = progress;
    warp->stalls = 0;
  }
  // Everybody had two turns, and nothing that anybody could wait for has happened.
  if (++warp->stalls >= 2)
    for (const Warp *other : queue)
      if (other->stallMark != progress || other->stalls < 2)
        return Outcome::Progress;
  return warp->stalls >= 2 ? Outcome::Stalled : Outcome::Progress;
}

std::vector<Launch *> takeEnded() { return std::exchange(ended, {}); }

void abandon(Device *device) {
  for (size_t i = running.size(); i-- > 0;)
    if (!device || running[i]->device == device) {
      running[i]->failed = true;
      endLaunch(running[i]);
    }
}

void reportDeadlock() {
  for (Launch *launch : running) {
    uint32_t spinning = 0, meeting = 0, atBarrier = 0;
    const void *site = nullptr;
    std::string where;
    for (const Cta *cta : launch->ctas) {
      for (const Warp *warp : cta->warps) {
        spinning += __builtin_popcount(warp->runnable);
        meeting += __builtin_popcount(warp->arrived);
        if (warp->arrived)
          site = warp->site;
        for (const Lane &lane : warp->lanes)
          if ((warp->runnable & lane.bit) && lane.lastLoad && where.empty())
            where =
                "; " + describe(&lane) + " last read the value " + std::to_string(lane.lastValue);
      }
      for (const Barrier &b : cta->barriers)
        if (b.arrived) {
          atBarrier += b.arrived;
          site = b.site;
        }
    }
    report("deadlock",
           "nothing goes on: " + std::to_string(spinning) + " threads spin, " +
               std::to_string(atBarrier) + " wait at a barrier, " + std::to_string(meeting) +
               " for other lanes of their warp; " + std::to_string(launch->grid - launch->started) +
               " CTAs have not started" + where,
           launch->function->name, site);
    launch->device->error = CUDA_ERROR_LAUNCH_TIMEOUT;
  }
  abandon(nullptr);
}

//===- Faults -------------------------------------------------------------===//

namespace {
const void *faultAddress = nullptr, *faultSite = nullptr;

/// Where a lane goes on after a fault: on its stack's top, which nothing needs any more.
[[noreturn]] void landAfterFault() {
  if (spaceOf(faultAddress) == kStackSpace)
    fail("out-of-bounds", "a lane's local variables need more than 250 KB", faultSite,
         CUDA_ERROR_ILLEGAL_ADDRESS);
  char text[64];
  snprintf(text, sizeof text, "the kernel touches %p, where nothing is mapped", faultAddress);
  fail("out-of-bounds", text, faultSite, CUDA_ERROR_ILLEGAL_ADDRESS);
}

void onFault(int signal, siginfo_t *info, void *context) {
  if (retort_sim_self == nullptr ||
      retort_sim_self == &home) { // not device code: as if we were not here
    ::signal(signal, SIG_DFL);
    return;
  }
  faultAddress = info->si_addr;
#if defined(__x86_64__)
  auto &registers = static_cast<ucontext_t *>(context)->uc_mcontext.gregs;
  faultSite = reinterpret_cast<void *>(registers[REG_RIP] + 1); // sites are return addresses
  // As after a call: 8 bytes below a multiple of 16.
  registers[REG_RSP] = reinterpret_cast<greg_t>(self()->stack) / 16 * 16 - 4096 - 8;
  registers[REG_RIP] = reinterpret_cast<greg_t>(&landAfterFault);
#elif defined(__aarch64__)
  auto &registers = static_cast<ucontext_t *>(context)->uc_mcontext;
  faultSite = reinterpret_cast<void *>(registers.pc + 4);
  registers.sp = reinterpret_cast<uint64_t>(self()->stack) / 16 * 16 - 4096;
  registers.pc = reinterpret_cast<uint64_t>(&landAfterFault);
#endif
}
} // namespace

FaultGuard::FaultGuard() {
  static thread_local std::vector<uint8_t> alternate(64 << 10);
  const stack_t mine{.ss_sp = alternate.data(), .ss_flags = 0, .ss_size = alternate.size()};
  sigaltstack(&mine, &stack);
  struct sigaction action{};
  action.sa_sigaction = onFault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigaction(SIGSEGV, &action, &segv);
  sigaction(SIGBUS, &action, &bus);
}
FaultGuard::~FaultGuard() {
  sigaction(SIGSEGV, &segv, nullptr);
  sigaction(SIGBUS, &bus, nullptr);
  sigaltstack(&stack, nullptr);
}

//===- Barriers -----------------------------------------------------------===//

/// `lanes` of the running lane's warp come to a barrier. True if it opens, so that those that wait
/// may go on.
static bool arrive(int id, uint32_t expected, uint32_t lanes, bool wait, const void *site) {
  Lane *lane = self();
  Warp *warp = lane->warp;
  Cta *cta = warp->cta;
  Barrier &b = cta->barriers[id];
  if (b.came.empty()) {
    b.came.resize(cta->warps.size());
    b.waiting.resize(cta->warps.size());
  }
  if (b.arrived == 0) {
    b.expected = expected;
    b.site = site;
  }
  if (b.expected != expected)
    fail("divergence",
         "barrier " + std::to_string(id) + " is used with " + std::to_string(expected) +
             " threads and with " + std::to_string(b.expected),
         site, CUDA_ERROR_LAUNCH_FAILED);
  if (id == 0 && b.site != site)
    fail("divergence", "threads of one CTA wait at different barriers of the program", site,
         CUDA_ERROR_LAUNCH_FAILED);
  if (id == 0 && cta->alive < expected)
    fail("divergence",
         "all " + std::to_string(expected) + " threads must come to the CTA's barrier, but only " +
             std::to_string(cta->alive) + " have not returned from the kernel",
         site, CUDA_ERROR_LAUNCH_FAILED);
  if (settings.instrumented())
    barrierArrives(b, warp, lanes);
  b.came[warp->index] |= lanes;
  if (wait)
    b.waiting[warp->index] |= lanes;
  b.arrived += uint32_t(__builtin_popcount(lanes));
  if (b.arrived < expected)
    return false;
  if (settings.instrumented())
    barrierOpens(cta, b);
  b.arrived = 0;
  ++progress;
  for (Warp *other : cta->warps) {
    const uint32_t waiting = std::exchange(b.waiting[other->index], 0);
    b.came[other->index] = 0;
    other->runnable |= waiting;
    if (other != warp && waiting)
      enqueue(other);
  }
  return true;
}

//===- Meetings of a warp's lanes -----------------------------------------===//
bool meetLanes(Meet kind, const void *site) {
  Lane *lane = self();
  Warp *warp = lane->warp;
  if (!warp->arrived) {
    warp->meet = kind;
    warp->site = site;
  } else if (warp->meet != kind || (settings.instrumented() && warp->site != site)) {
    fail("divergence", "lanes of one warp wait for each other at different places", site,
         CUDA_ERROR_LAUNCH_FAILED);
  }
  if (warp->exited)
    fail("divergence", "a lane waits for lanes of its warp that have returned from the kernel",
         site, CUDA_ERROR_LAUNCH_FAILED);
  warp->arrived |= lane->bit;
  if (warp->arrived == kAllLanes) {
    warp->arrived = 0;
    warp->runnable = kAllLanes;
    if (settings.instrumented())
      flushRequests(warp);
    return true;
  }
  warp->runnable &= ~lane->bit;
  leave(lane);
  return false;
}

} // namespace retort::sim

using namespace retort::sim;
#define RETORT_EXPORT extern "C" __attribute__((visibility("default")))
#define SITE __builtin_return_address(0)

RETORT_EXPORT void retort_sim_cta_sync() {
  Lane *lane = self();
  if (!arrive(0, lane->threads, lane->bit, true, SITE)) {
    lane->warp->runnable &= ~lane->bit;
    leave(lane);
  }
}
// Whole warps come to a numbered barrier: the lanes meet, and the last to come arrives for all.
RETORT_EXPORT void retort_sim_bar(int id, int threads, int wait) {
  if (id < 1 || id > 15 || threads <= 0 || threads % 32 || uint32_t(threads) > self()->threads)
    fail("divergence",
         "barrier " + std::to_string(id) + " with " + std::to_string(threads) +
             " threads: numbers are 1 to 15, threads a multiple of 32 and no more than the CTA has",
         SITE, CUDA_ERROR_LAUNCH_FAILED);
  if (!meetLanes(Meet::Barrier, SITE) ||
      arrive(id, uint32_t(threads), kAllLanes, wait != 0, SITE) || !wait)
    return;
  self()->warp->runnable = 0;
  leave(self());
}
RETORT_EXPORT void retort_sim_spin() { spin(self()); }
RETORT_EXPORT void retort_sim_trap() {
  fail("trap", "the kernel called trap()", SITE, CUDA_ERROR_LAUNCH_FAILED);
}
RETORT_EXPORT void retort_sim_count_wait() {
  Lane *lane = self();
  if (lane->cta == 0 && lane->thread == 0) {
    ++runCounters.waits;
    ++kernelCounters(lane->warp->cta->launch->function->name).waits;
  }
}
RETORT_EXPORT void retort_sim_count_tile() {
  ++kernelCounters(self()->warp->cta->launch->function->name).tiles;
}
RETORT_EXPORT void retort_sim_pdl_launch() {
  Cta *cta = self()->warp->cta;
  if (!cta->triggered) {
    cta->triggered = true;
    ++cta->launch->triggered;
    ++progress;
  }
}
RETORT_EXPORT void retort_sim_pdl_wait() {
  Lane *lane = self();
  Launch *launch = lane->warp->cta->launch;
  retort_sim_count_wait();
  while (launch->before)
    spin(lane);
  if (settings.instrumented())
    dependencyMet(lane);
}
