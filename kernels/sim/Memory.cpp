//===- Memory.cpp - The simulated machine's address space -----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "kernels/sim/Memory.h"
#include <sys/mman.h>

namespace retort::sim {

uint64_t spaceBase = 0;

namespace {
constexpr uint64_t kUnit = uint64_t(1) << kUnitBits;
constexpr uint64_t kStackStride = 256 << 10, kStackGuard = 4096;

struct Space {
  uint64_t next = kUnit; // the first unit stays free: no allocation at the start
  std::map<uint64_t, uint64_t> free; // offset -> bytes, whole units
  Allocation **table = nullptr;      // by unit
};
Space spaces[kHostSpace + 1];
std::vector<uint8_t *> stacks;
uint64_t numStacks = 0;

uint64_t unitsOf(uint64_t bytes) { return (bytes + kUnit - 1) / kUnit; }
} // namespace

void reserveSpaces() {
  if (spaceBase)
    return;
  const uint64_t bytes = kSpaces * kSpaceBytes;
  void *p = mmap(nullptr, bytes + kSpaceBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    return;
  spaceBase = (reinterpret_cast<uint64_t>(p) + kSpaceBytes - 1) / kSpaceBytes * kSpaceBytes;
  for (Space &space : spaces)
    space.table = static_cast<Allocation **>(mmap(nullptr, kSpaceBytes / kUnit * sizeof(void *), PROT_READ | PROT_WRITE,
                                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  mprotect(reinterpret_cast<void *>(spaceBase + kArenaSpace * kSpaceBytes), 4096 * kArenaStride, PROT_READ | PROT_WRITE);
}

// Each allocation is followed by at least one unit that belongs to it in the table but not to its bytes.
Allocation *allocate(unsigned index, uint64_t bytes) {
  Space &space = spaces[index];
  const uint64_t size = (unitsOf(bytes) + 1) * kUnit;
  uint64_t offset = 0;
  for (auto it = space.free.begin(); it != space.free.end(); ++it)
    if (it->second >= size) {
      offset = it->first;
      if (it->second > size)
        space.free[offset + size] = it->second - size;
      space.free.erase(it);
      break;
    }
  if (!offset) {
    if (space.next + size > kSpaceBytes)
      return nullptr;
    offset = space.next;
    space.next += size;
  }
  const uint64_t begin = spaceBase + index * kSpaceBytes + offset;
  if (mprotect(reinterpret_cast<void *>(begin), (bytes + 4095) / 4096 * 4096, PROT_READ | PROT_WRITE) != 0)
    return nullptr;
  auto *allocation = new Allocation{begin, bytes, index, {}};
  for (uint64_t unit = offset / kUnit; unit < (offset + size) / kUnit; ++unit)
    space.table[unit] = allocation;
  return allocation;
}

void release(Allocation *allocation) {
  Space &space = spaces[allocation->space];
  const uint64_t size = (unitsOf(allocation->bytes) + 1) * kUnit;
  const uint64_t offset = allocation->begin - spaceBase - allocation->space * kSpaceBytes;
  void *p = reinterpret_cast<void *>(allocation->begin);
  madvise(p, size, MADV_DONTNEED);
  mprotect(p, size, PROT_NONE);
  for (uint64_t unit = offset / kUnit; unit < (offset + size) / kUnit; ++unit)
    space.table[unit] = nullptr;
  auto it = space.free.emplace(offset, size).first;
  if (auto next = std::next(it); next != space.free.end() && it->first + it->second == next->first) {
    it->second += next->second;
    space.free.erase(next);
  }
  if (it != space.free.begin())
    if (auto prev = std::prev(it); prev->first + prev->second == it->first) {
      prev->second += it->second;
      space.free.erase(it);
    }
  delete allocation;
}

Allocation *allocationAt(const void *p) {
  const uint64_t offset = spaceOffset(p);
  const unsigned space = unsigned(offset >> kSpaceBits);
  if (offset >= (kHostSpace + 1) * kSpaceBytes)
    return nullptr;
  return spaces[space].table[(offset & (kSpaceBytes - 1)) >> kUnitBits];
}

bool allocated(const void *p, uint64_t bytes) {
  const Allocation *a = allocationAt(p);
  const uint64_t at = reinterpret_cast<uint64_t>(p);
  return a && at >= a->begin && bytes <= a->bytes && at - a->begin <= a->bytes - bytes;
}

uint8_t *arenaOf(unsigned slot) {
  return reinterpret_cast<uint8_t *>(spaceBase + kArenaSpace * kSpaceBytes + slot * kArenaStride);
}

// A stack's top is moved by a few lines from one to the next, or all of a warp's would share a few sets of the cache.
uint8_t *takeStack() {
  if (!stacks.empty()) {
    uint8_t *top = stacks.back();
    stacks.pop_back();
    return top;
  }
  const uint64_t index = numStacks++;
  auto *bottom = reinterpret_cast<uint8_t *>(spaceBase + kStackSpace * kSpaceBytes + index * kStackStride);
  mprotect(bottom + kStackGuard, kStackStride - kStackGuard, PROT_READ | PROT_WRITE);
  return bottom + kStackStride - (index % 61) * 320;
}
void freeStack(uint8_t *top) { stacks.push_back(top); }

} // namespace retort::sim
