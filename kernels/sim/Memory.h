//===- Memory.h - The simulated machine's address space -------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// One reservation of the process's address space: 64 GB for each device, for pinned host memory,
// for the CTAs' shared memory and for the lanes' stacks. What an address is follows from its upper
// bits.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace retort::sim {

constexpr unsigned kSpaceBits = 36, kUnitBits = 16;
constexpr unsigned kHostSpace = 8, kArenaSpace = 9, kStackSpace = 10, kSpaces = 11;
constexpr uint64_t kSpaceBytes = uint64_t(1) << kSpaceBits;
constexpr uint64_t kArenaStride = uint64_t(1) << 19; // more than any GPU's shared memory

extern uint64_t spaceBase;
void reserveSpaces();
inline uint64_t spaceOffset(const void *p) { return reinterpret_cast<uint64_t>(p) - spaceBase; }
inline unsigned spaceOf(const void *p) { // kSpaces or more: not ours
  const uint64_t space = spaceOffset(p) >> kSpaceBits;
  return space < kSpaces ? unsigned(space) : kSpaces;
}

struct Region {
  std::string name;
  uint64_t begin, bytes;
  uint64_t readBytes = 0, readRequests = 0, readSectors = 0, readIdeal = 0;
  uint64_t writeBytes = 0, writeRequests = 0, writeSectors = 0, writeIdeal = 0;
};

struct Allocation {
  uint64_t begin, bytes;
  unsigned space;
  std::vector<Region *> regions; // named parts, first match; the last is the whole
};

/// Memory of a device, or pinned memory (kHostSpace); null when the space is full.
Allocation *allocate(unsigned space, uint64_t bytes);
void release(Allocation *allocation);
/// The allocation that holds the address, or whose guard it is in; null if none.
Allocation *allocationAt(const void *p);
/// Whether [p, p + bytes) lies inside one allocation.
bool allocated(const void *p, uint64_t bytes);

uint8_t *arenaOf(unsigned slot);
/// The top of a lane's stack. Stacks are given back by freeStack.
uint8_t *takeStack();
void freeStack(uint8_t *top);

} // namespace retort::sim
