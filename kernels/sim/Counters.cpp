//===- Counters.cpp - Warp requests, sectors, banks -----------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Lanes run one after another, so a warp's request is put together afterwards: the n-th time that each lane passes a place in the
// program since the warp's lanes last stood together.
#include "kernels/sim/Check.h"
#include <algorithm>

namespace retort::sim {

namespace {
constexpr uint32_t kMaxRequests = 16384; // of a warp between two meetings; more are counted lane by lane

/// Distinct 32-byte sectors, and the sectors that the distinct bytes would fill if they lay together.
void sectorsOf(const Request &request, uint64_t &sectors, uint64_t &ideal, uint64_t &bytes) {
  uint64_t address[32];
  uint32_t n = 0;
  bool sorted = true;
  for (uint32_t l = 0; l < 32; ++l)
    if (request.mask >> l & 1) {
      sorted &= n == 0 || request.address[l] > address[n - 1];
      address[n++] = request.address[l];
    }
  if (!sorted) {
    std::sort(address, address + n);
    n = uint32_t(std::unique(address, address + n) - address);
  }
  sectors = 0;
  uint64_t last = ~uint64_t(0);
  for (uint32_t i = 0; i < n; ++i)
    if (address[i] / 32 != last) {
      last = address[i] / 32;
      ++sectors;
    }
  bytes = uint64_t(n) * request.bytes;
  ideal = (bytes + 31) / 32;
}

/// Passes beyond the first that the 32 banks of four bytes need. Wide accesses go in parts of 128 bytes.
uint64_t conflictsOf(const Request &request) {
  const uint32_t lanesAtOnce = request.bytes == 16 ? 8 : request.bytes == 8 ? 16 : 32;
  const uint32_t words = std::max(1, request.bytes / 4);
  uint64_t conflicts = 0;
  for (uint32_t first = 0; first < 32; first += lanesAtOnce) {
    uint64_t word[32];
    uint8_t ways[32] = {};
    uint32_t n = 0, most = 1;
    for (uint32_t l = first; l < first + lanesAtOnce; ++l)
      if (request.mask >> l & 1)
        for (uint32_t w = 0; w < words; ++w)
          if (n < 32)
            word[n++] = request.address[l] / 4 + w;
    std::sort(word, word + n);
    n = uint32_t(std::unique(word, word + n) - word);
    for (uint32_t i = 0; i < n; ++i)
      most = std::max<uint32_t>(most, ++ways[word[i] % 32]);
    conflicts += most - 1;
  }
  return conflicts;
}

void count(const Request &request) {
  SiteCounters &site = countersOf(request.key / 2);
  ++site.requests;
  uint64_t first = request.address[__builtin_ctz(request.mask)];
  if (spaceOf(reinterpret_cast<void *>(first)) == kArenaSpace) {
    const uint64_t conflicts = conflictsOf(request);
    ++sharedCounters.requests;
    sharedCounters.conflicts += conflicts;
    site.conflicts += conflicts;
    return;
  }
  uint64_t sectors, ideal, bytes;
  sectorsOf(request, sectors, ideal, bytes);
  site.sectors += sectors;
  site.ideal += ideal;
  Allocation *allocation = allocationAt(reinterpret_cast<void *>(first));
  if (!allocation)
    return;
  Region *region = regionOf(allocation, first);
  if (request.key & 1) {
    ++region->writeRequests;
    region->writeBytes += bytes;
    region->writeSectors += sectors;
    region->writeIdeal += ideal;
  } else {
    ++region->readRequests;
    region->readBytes += bytes;
    region->readSectors += sectors;
    region->readIdeal += ideal;
  }
}
} // namespace

void countAccess(Lane *lane, const void *p, uint32_t bytes, bool write, const void *pc) {
  Warp *warp = lane->warp;
  const uint32_t site = siteOf(pc), key = site * 2 + write;
  const auto fill = [&](uint32_t index) {
    Request &request = warp->requests[index];
    request.mask |= lane->bit;
    request.address[lane->lane] = reinterpret_cast<uint64_t>(p);
    warp->cursor[lane->lane] = index + 1;
  };
  // The lane's n-th pass is the n-th request of the place, the first that it is not in. Lanes that go the same way find it
  // at the cursor.
  const auto mine = [&](const Request &request) {
    return request.key == key && request.bytes == bytes && !(request.mask & lane->bit);
  };
  if (const uint32_t at = warp->cursor[lane->lane]; at < warp->numRequests)
    if (const Request &request = warp->requests[at];
        mine(request) && (request.previous < 0 || (warp->requests[uint32_t(request.previous)].mask & lane->bit)))
      return fill(at);
  if (warp->placeFirst.empty()) {
    warp->placeFirst.assign(2 * kMaxSites, -1);
    warp->placeLast.assign(2 * kMaxSites, -1);
  }
  for (int32_t i = warp->placeFirst[key]; i >= 0; i = warp->requests[uint32_t(i)].next)
    if (mine(warp->requests[uint32_t(i)]))
      return fill(uint32_t(i));
  if (warp->numRequests == kMaxRequests) {
    Request request{key, lane->bit, uint8_t(bytes), -1, -1, {}};
    request.address[lane->lane] = reinterpret_cast<uint64_t>(p);
    return count(request);
  }
  if (warp->numRequests == warp->requests.size())
    warp->requests.resize(std::max<size_t>(64, warp->requests.size() * 2));
  const auto index = int32_t(warp->numRequests++);
  Request &request = warp->requests[uint32_t(index)];
  request.key = key;
  request.mask = 0;
  request.bytes = uint8_t(bytes);
  request.next = -1;
  request.previous = warp->placeLast[key];
  if (request.previous >= 0)
    warp->requests[uint32_t(request.previous)].next = index;
  else
    warp->placeFirst[key] = index;
  warp->placeLast[key] = index;
  fill(uint32_t(index));
}

void flushRequests(Warp *warp) {
  for (uint32_t i = 0; i < warp->numRequests; ++i) {
    const Request &request = warp->requests[i];
    count(request);
    warp->placeFirst[request.key] = warp->placeLast[request.key] = -1;
  }
  warp->numRequests = 0;
  std::fill(std::begin(warp->cursor), std::end(warp->cursor), 0);
}

void countLdmatrix(Warp *, const void *const *rows, int matrices, const void *site) {
  Request request{siteOf(site) * 2, 0, 16, -1, -1, {}};
  for (int l = 0; l < matrices * 8; ++l) {
    request.mask |= 1u << l;
    request.address[l] = reinterpret_cast<uint64_t>(rows[l]);
  }
  count(request);
}

void countBulk(const void *source, uint32_t bytes, const void *site) {
  const uint64_t begin = reinterpret_cast<uint64_t>(source), sectors = (begin + bytes + 31) / 32 - begin / 32;
  SiteCounters &counters = countersOf(siteOf(site));
  ++counters.requests;
  counters.sectors += sectors;
  counters.ideal += (bytes + 31) / 32;
  Allocation *allocation = allocationAt(source);
  if (!allocation)
    return;
  Region *region = regionOf(allocation, begin);
  ++region->readRequests;
  region->readBytes += bytes;
  region->readSectors += sectors;
  region->readIdeal += (bytes + 31) / 32;
}

} // namespace retort::sim
