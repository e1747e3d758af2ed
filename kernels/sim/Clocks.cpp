//===- Clocks.cpp - What has been seen by whom ----------------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Vector clocks with a component for each resident warp. A warp's lanes share a clock until one of
// them alone acquires something; it then has its own until the lanes synchronise. So the lanes of a
// warp are told apart between two synchronisations, and a barrier of a CTA costs a few joins.
#include "kernels/sim/Driver.h"
#include <algorithm>
#include <cstring>
#include <map>

namespace retort::sim {

namespace {
uint32_t numSlots = 0; // components in use; those above are zero in every clock
uint32_t timeOf[kMaxSlots];
unsigned slotDevice[kMaxSlots];
std::vector<uint32_t> spareSlots;
std::vector<Clock *> spareClocks;

/// What was released at an address: by any release of `device`, and by releases at system scope.
struct Released {
  unsigned device = 0;
  Clock *local = nullptr, *system = nullptr;
};
std::map<uint64_t, Released> released;

void tick(Warp *warp) { timeOf[warp->slot] = ++warp->now; }
unsigned deviceOf(const Lane *lane) { return lane->warp->cta->launch->device->index; }
const Clock *seenBy(const Lane *lane) { return lane->own ? lane->own : lane->warp->seen; }

Clock *ownOf(Lane *lane) {
  if (!lane->own) {
    lane->own = newClock();
    copyClock(lane->own, lane->warp->seen);
  }
  return lane->own;
}
void forget(Released &r) {
  freeClock(r.local);
  freeClock(r.system);
}
/// Adds what `clock` says at time `now` of the lane's warp.
void publish(Lane *lane, Released &r, const Clock *clock, uint32_t now, int scope) {
  if (r.local && r.device != deviceOf(lane))
    freeClock(r.local);
  r.device = deviceOf(lane);
  const uint32_t slot = lane->warp->slot;
  const auto add = [&](Clock *&into) {
    joinInto(into, clock);
    into->at[slot] = std::max(into->at[slot], now);
  };
  add(r.local);
  if (scope == 2)
    add(r.system);
}
} // namespace

Clock *newClock() {
  if (spareClocks.empty())
    return new Clock{};
  Clock *clock = spareClocks.back();
  spareClocks.pop_back();
  memset(clock->at, 0, numSlots * sizeof(uint32_t));
  return clock;
}
void freeClock(Clock *&clock) {
  if (clock)
    spareClocks.push_back(clock);
  clock = nullptr;
}
void join(Clock *into, const Clock *from) {
  if (from)
    for (uint32_t i = 0; i < numSlots; ++i)
      into->at[i] = std::max(into->at[i], from->at[i]);
}
void copyClock(Clock *into, const Clock *from) {
  memcpy(into->at, from->at, numSlots * sizeof(uint32_t));
}

unsigned deviceOfSlot(uint32_t slot) { return slotDevice[slot]; }

bool haveSlots(size_t warps) { return spareSlots.size() + (kMaxSlots - numSlots) >= warps; }

void takeSlot(Warp *warp, unsigned device) {
  if (spareSlots.empty())
    spareSlots.push_back(numSlots++);
  warp->slot = spareSlots.back();
  spareSlots.pop_back();
  slotDevice[warp->slot] = device;
  warp->born = warp->now = ++timeOf[warp->slot];
}
void freeSlot(Warp *warp) {
  tick(warp);
  spareSlots.insert(spareSlots.begin(), warp->slot);
}

uint64_t stampOf(const Lane *lane, uint32_t site, bool atomic) {
  const Warp *warp = lane->warp;
  return uint64_t(1) << 63 | uint64_t(site) << 50 | (atomic ? kStampAtomic : 0) |
         uint64_t(lane->lane) << 44 | uint64_t(warp->slot) << 32 | warp->now;
}

uint64_t streamStamp(CUstream stream) {
  if (!stream->slot) {
    if (numSlots == 0)
      ++numSlots; // 0 says that a stream has none
    if (numSlots == kMaxSlots)
      return 0;
    stream->slot = numSlots++;
    slotDevice[stream->slot] = stream->device->index;
  }
  if (!stream->clock)
    stream->clock = newClock();
  stream->clock->at[stream->slot] = ++timeOf[stream->slot];
  return uint64_t(1) << 63 | uint64_t(stream->slot) << 32 | timeOf[stream->slot];
}

void freeStreamSlot(CUstream stream) {
  if (stream->slot)
    spareSlots.push_back(stream->slot);
  stream->slot = 0;
}

bool ordered(uint64_t stamp, const Lane *lane) {
  const uint32_t slot = slotOfStamp(stamp), time = uint32_t(stamp);
  const Warp *warp = lane->warp;
  if (slot == warp->slot && laneOfStamp(stamp) == lane->lane && time >= warp->born)
    return true;
  return time <= seenBy(lane)->at[slot];
}

//===- Launches and CTAs --------------------------------------------------===//

void launchBegins(Launch *launch, const Clock *stream) {
  launch->begin = newClock();
  join(launch->begin, stream);
  launch->end = newClock();
  join(launch->end, stream);
}

void ctaBegins(Cta *cta) {
  for (Warp *warp : cta->warps) {
    takeSlot(warp, cta->launch->device->index);
    warp->seen = newClock();
    copyClock(warp->seen, cta->launch->begin);
    warp->numRequests = 0;
    std::fill(std::begin(warp->cursor), std::end(warp->cursor), 0);
  }
  const uint64_t begin = reinterpret_cast<uint64_t>(cta->arena);
  clearSync(begin, begin + kArenaStride);
  forgetArena(cta);
}

void ctaEnds(Cta *cta) {
  for (Warp *warp : cta->warps) {
    flushRequests(warp);
    join(cta->launch->end, warp->seen);
    cta->launch->end->at[warp->slot] = warp->now;
    for (Lane &lane : warp->lanes) {
      join(cta->launch->end, lane.own);
      freeClock(lane.own);
      freeClock(lane.fenced);
      freeClock(lane.loaded);
      freeClock(lane.loadedSystem);
    }
    freeClock(warp->seen);
    freeSlot(warp);
  }
}

//===- Inside a CTA -------------------------------------------------------===//

static void fold(Warp *warp) {
  for (Lane &lane : warp->lanes)
    if (lane.own) {
      join(warp->seen, lane.own);
      freeClock(lane.own);
    }
}

void warpSynced(Warp *warp) {
  fold(warp);
  warp->seen->at[warp->slot] = warp->now;
  tick(warp);
}

void barrierArrives(Barrier &barrier, Warp *warp, uint32_t lanes) {
  if (!barrier.clock)
    barrier.clock = newClock();
  if (barrier.came[warp->index] == 0)
    join(barrier.clock, warp->seen);
  for (const Lane &lane : warp->lanes)
    if (lanes & lane.bit)
      join(barrier.clock, lane.own);
  barrier.clock->at[warp->slot] = warp->now;
  tick(warp);
}

void barrierOpens(Cta *cta, Barrier &barrier) {
  for (Warp *warp : cta->warps) {
    const uint32_t waiting = barrier.waiting[warp->index];
    if (waiting == kAllLanes) {
      flushRequests(warp);
      fold(warp);
      join(warp->seen, barrier.clock);
      continue;
    }
    for (Lane &lane : warp->lanes)
      if (waiting & lane.bit)
        join(ownOf(&lane), barrier.clock);
  }
  freeClock(barrier.clock);
}

void asyncFence(Lane *lane) {
  lane->asyncFenced = lane->warp->now;
  tick(lane->warp);
}

void dependencyMet(Lane *lane) {
  if (const Clock *prior = lane->warp->cta->launch->prior)
    join(ownOf(lane), prior);
}

//===- Between CTAs and devices -------------------------------------------===//

void acquire(Lane *lane, const void *at, int scope) {
  const auto it = released.find(reinterpret_cast<uint64_t>(at));
  if (it == released.end())
    return;
  const Released &r = it->second;
  if (r.local && r.device == deviceOf(lane))
    join(ownOf(lane), r.local);
  if (r.system && scope == 2)
    join(ownOf(lane), r.system);
}

void release(Lane *lane, const void *at, int scope, bool modify) {
  Released &r = released[reinterpret_cast<uint64_t>(at)];
  if (!modify)
    forget(r);
  publish(lane, r, seenBy(lane), lane->warp->now, scope);
  tick(lane->warp);
}

void relaxedLoad(Lane *lane, const void *at, int scope) {
  const auto it = released.find(reinterpret_cast<uint64_t>(at));
  if (it == released.end())
    return;
  const Released &r = it->second;
  if (r.local && r.device == deviceOf(lane))
    joinInto(lane->loaded, r.local);
  if (r.system && scope == 2)
    joinInto(lane->loadedSystem, r.system);
}

void relaxedStore(Lane *lane, const void *at, int scope, bool modify) {
  const uint64_t address = reinterpret_cast<uint64_t>(at);
  if (!lane->fenced) {
    if (const auto it = released.find(address); it != released.end() && !modify)
      forget(it->second);
    return;
  }
  Released &r = released[address];
  if (!modify)
    forget(r);
  publish(lane, r, lane->fenced, 0, std::min(scope, lane->fencedScope));
}

void fence(Lane *lane, int scope) {
  if (lane->loaded) {
    join(ownOf(lane), lane->loaded);
    freeClock(lane->loaded);
  }
  if (lane->loadedSystem && scope == 2) {
    join(ownOf(lane), lane->loadedSystem);
    freeClock(lane->loadedSystem);
  }
  Warp *warp = lane->warp;
  if (!lane->fenced)
    lane->fenced = newClock();
  copyClock(lane->fenced, seenBy(lane));
  lane->fenced->at[warp->slot] = warp->now;
  lane->fencedScope = scope;
  tick(warp);
}

void clearSync(uint64_t begin, uint64_t end) {
  auto it = released.lower_bound(begin);
  while (it != released.end() && it->first < end) {
    forget(it->second);
    it = released.erase(it);
  }
}

} // namespace retort::sim
