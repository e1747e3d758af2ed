//===- Shadow.cpp - What happened to each byte ----------------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// For each granule of memory that was touched: the stamp of the last write and of two reads. A
// page's granule is 16 bytes until something smaller touches it, and then as small as that, so that
// 16-byte streams of weights cost little and neighbouring halves written by two lanes are told
// apart. Shared memory also has a state for each byte.
#include "kernels/sim/Driver.h"
#include <cstdio>
#include <cstring>
#include <link.h>
#include <sys/mman.h>

namespace retort::sim {

namespace {
constexpr unsigned kPageBits = 12;
constexpr uint64_t kPage = uint64_t(1) << kPageBits;
enum State : uint8_t { Uninitialised = 0, Ready = 1, Flying = 2 };

struct Cell {
  uint64_t write, reads[2];
};
struct Page {
  unsigned shift = 4;
  std::vector<Cell> cells = std::vector<Cell>(kPage >> 4);
  std::vector<uint8_t> state; // shared memory only
};
Page **directory = nullptr;

Page *pageAt(uint64_t offset) {
  if (!directory)
    directory = static_cast<Page **>(
        mmap(nullptr, ((kArenaSpace + 1) * kSpaceBytes >> kPageBits) * sizeof(Page *),
             PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  Page *&page = directory[offset >> kPageBits];
  if (!page) {
    page = new Page;
    if (offset >> kSpaceBits == kArenaSpace)
      page->state.resize(kPage);
  }
  return page;
}

void refine(Page *page, unsigned shift) {
  std::vector<Cell> cells(kPage >> shift);
  for (size_t i = 0; i < cells.size(); ++i)
    cells[i] = page->cells[i >> (page->shift - shift)];
  page->cells = std::move(cells);
  page->shift = shift;
}

std::string hex(const void *p) {
  char text[24];
  snprintf(text, sizeof text, "%p", p);
  return text;
}

std::string nameOf(const void *p) {
  if (spaceOf(p) == kArenaSpace)
    return "shared memory at byte " +
           std::to_string((spaceOffset(p) & (kSpaceBytes - 1)) % kArenaStride);
  Allocation *allocation = allocationAt(p);
  if (!allocation)
    return "memory at " + hex(p);
  const Region *region = regionOf(allocation, reinterpret_cast<uint64_t>(p));
  return region->name + " at byte " + std::to_string(reinterpret_cast<uint64_t>(p) - region->begin);
}

/// Constants of the program and of libraries.
bool inImage(const void *p) {
  struct Query {
    uint64_t address;
    bool found;
  } query{reinterpret_cast<uint64_t>(p), false};
  dl_iterate_phdr(
      [](dl_phdr_info *info, size_t, void *data) {
        auto *q = static_cast<Query *>(data);
        for (int i = 0; i < info->dlpi_phnum; ++i) {
          const auto &header = info->dlpi_phdr[i];
          const uint64_t begin = info->dlpi_addr + header.p_vaddr;
          if (header.p_type == PT_LOAD && q->address >= begin &&
              q->address < begin + header.p_memsz)
            q->found = true;
        }
        return int(q->found);
      },
      &query);
  return query.found;
}
bool known(const void *p) { // the page of the last constant that was found
  static uint64_t last = 0;
  const uint64_t page = reinterpret_cast<uint64_t>(p) >> 12;
  if (page == last)
    return true;
  if (!inImage(p))
    return false;
  last = page;
  return true;
}

void race(Lane *lane, const void *p, uint64_t other, bool wasWrite, bool isWrite,
          const void *site) {
  const unsigned device = lane->warp->cta->launch->device->index,
                 otherDevice = deviceOfSlot(slotOfStamp(other));
  const bool shared = spaceOf(p) == kArenaSpace;
  const std::string what = std::string(isWrite ? "written" : "read") + " by " + describe(lane) +
                           ", but " + (wasWrite ? "written" : "read") + " by ";
  const std::string &kernel = lane->warp->cta->launch->function->name;
  if (device != otherDevice)
    return report("missing-fence",
                  nameOf(p) + " is " + what + "device " + std::to_string(otherDevice) +
                      " with no release and acquire at system scope between",
                  kernel, site, pcOf(siteOfStamp(other)));
  // A stamp without a place is a copy's (or that of a place beyond the ones that are numbered).
  report(shared ? "race-shared" : "race-global",
         nameOf(p) + " is " + what +
             (siteOfStamp(other) ? "another thread" : "a copy or a set of the driver") +
             " with nothing that orders the two",
         kernel, site, pcOf(siteOfStamp(other)));
}

void remember(Lane *lane, const void *p, uint64_t offset, uint32_t bytes, uint32_t flags,
              const void *site) {
  const bool write = flags & Write, atomic = flags & Atomic;
  const uint64_t stamp = stampOf(lane, siteOf(site), atomic);
  while (bytes > 0) {
    Page *page = pageAt(offset);
    const uint32_t inPage = uint32_t(std::min<uint64_t>(bytes, kPage - (offset & (kPage - 1))));
    const unsigned need = unsigned(__builtin_ctz(inPage | uint32_t(offset) | 16));
    if (need < page->shift)
      refine(page, need);
    const uint32_t first = uint32_t(offset & (kPage - 1));
    if (!page->state.empty()) {
      uint8_t *state = page->state.data() + first;
      if (!write)
        for (uint32_t i = 0; i < inPage; ++i)
          if (state[i] != Ready) {
            report(state[i] == Flying ? "read-in-flight" : "uninitialised-shared",
                   nameOf(static_cast<const uint8_t *>(p) + i) +
                       (state[i] == Flying ? " is read while an asynchronous copy brings it, by "
                                           : " is read before anything was written there, by ") +
                       describe(lane),
                   lane->warp->cta->launch->function->name, site);
            break;
          }
      if (write)
        memset(state, flags & InFlight ? Flying : Ready, inPage);
    }
    for (uint32_t c = first >> page->shift; c <= (first + inPage - 1) >> page->shift; ++c) {
      Cell &cell = page->cells[c];
      if (cell.write && !(atomic && (cell.write & kStampAtomic)) && !ordered(cell.write, lane))
        race(lane, p, cell.write, true, write, site);
      if (write) {
        for (uint64_t &read : cell.reads) {
          if (read && !(atomic && (read & kStampAtomic)) && !ordered(read, lane))
            race(lane, p, read, false, true, site);
          read = 0;
        }
        cell.write = stamp;
      } else if (uint64_t &mine = cell.reads[0]; !mine || mine == stamp || ordered(mine, lane)) {
        mine = stamp;
      } else {
        cell.reads[1] = stamp;
      }
    }
    p = static_cast<const uint8_t *>(p) + inPage;
    offset += inPage;
    bytes -= inPage;
  }
}
} // namespace

void copied(const void *p, uint64_t bytes, bool write, const Clock *clock, uint64_t stamp) {
  uint64_t offset = spaceOffset(p);
  const auto check = [&](uint64_t other, bool wasWrite) {
    if (other && uint32_t(other) > clock->at[slotOfStamp(other)])
      report("race-global",
             nameOf(p) + " is " + (write ? "written" : "read") + " by a copy or a set, but " +
                 (wasWrite ? "written" : "read") +
                 " by a kernel or a copy of another stream with nothing that orders the two",
             "", nullptr, pcOf(siteOfStamp(other)));
  };
  while (bytes > 0) {
    Page *page = pageAt(offset);
    const uint64_t inPage = std::min<uint64_t>(bytes, kPage - (offset & (kPage - 1)));
    const unsigned need = unsigned(__builtin_ctz(uint32_t(inPage) | uint32_t(offset) | 16));
    if (need < page->shift)
      refine(page, need);
    const uint64_t first = offset & (kPage - 1);
    for (uint64_t c = first >> page->shift; c <= (first + inPage - 1) >> page->shift; ++c) {
      Cell &cell = page->cells[c];
      check(cell.write, true);
      if (write) {
        check(cell.reads[0], false);
        check(cell.reads[1], false);
        cell = {stamp, {0, 0}};
      } else {
        cell.reads[cell.reads[0] &&
                   uint32_t(cell.reads[0]) > clock->at[slotOfStamp(cell.reads[0])]] = stamp;
      }
    }
    p = static_cast<const uint8_t *>(p) + inPage;
    offset += inPage;
    bytes -= inPage;
  }
}

void access(const void *p, uint32_t bytes, uint32_t flags, const void *site) {
  const uint64_t offset = spaceOffset(p);
  const uint64_t space = offset >> kSpaceBits;
  if (space == kStackSpace || p == &retort_sim_self)
    return;
  Lane *lane = self();
  const Launch *launch = lane->warp->cta->launch;
  const char *verb = flags & Write ? "writes" : "reads";
  if (space >= kSpaces) {
    if (known(p))
      return;
    fail("out-of-bounds",
         std::string("the kernel ") + verb + " host memory that is not pinned, at " + hex(p), site,
         CUDA_ERROR_ILLEGAL_ADDRESS);
  }
  const uint64_t address = reinterpret_cast<uint64_t>(p);
  if (bytes <= 16 && address % bytes)
    fail("misaligned",
         std::string("the kernel ") + verb + " " + std::to_string(bytes) + " bytes of " + nameOf(p),
         site, CUDA_ERROR_MISALIGNED_ADDRESS);
  if (space == kArenaSpace) {
    const uint64_t at = address - reinterpret_cast<uint64_t>(lane->arena);
    if (at > launch->shared || bytes > launch->shared - at)
      fail("out-of-bounds",
           std::string("the kernel ") + verb + " " + std::to_string(bytes) + " bytes of " +
               nameOf(p) + ", but the CTA has " + std::to_string(launch->shared),
           site, CUDA_ERROR_ILLEGAL_ADDRESS);
  } else {
    if (!allocated(p, bytes)) {
      const Allocation *near = allocationAt(p);
      fail("out-of-bounds",
           std::string("the kernel ") + verb + " " + std::to_string(bytes) + " bytes at " +
               (near ? nameOf(p) + ", which has " + std::to_string(near->bytes)
                     : hex(p) + ", where nothing is allocated"),
           site, CUDA_ERROR_ILLEGAL_ADDRESS);
    }
    if (space != kHostSpace && space != launch->device->index &&
        !(launch->device->peers >> space & 1))
      fail("out-of-bounds",
           std::string("the kernel ") + verb + " memory of device " + std::to_string(space) +
               ", to which peer access is not enabled",
           site, CUDA_ERROR_ILLEGAL_ADDRESS);
  }
  if (flags & Constant) {
    // The access itself is traced apart. Written since the launch began, it may be read stale.
    if (space < kHostSpace) {
      Page *page = pageAt(offset);
      const Cell &cell = page->cells[(offset & (kPage - 1)) >> page->shift];
      const uint32_t slot = slotOfStamp(cell.write);
      if (cell.write && uint32_t(cell.write) > launch->begin->at[slot])
        report("stale-load",
               nameOf(p) +
                   " is read through the read-only path, but was written during this launch",
               launch->function->name, site, pcOf(siteOfStamp(cell.write)));
    }
    return;
  }
  if (!(flags & Uncounted))
    countAccess(lane, p, bytes, flags & Write, site);
  if (settings.check)
    remember(lane, p, offset, bytes, flags, site);
}

void asyncReads(const void *p, uint32_t bytes, const void *site) {
  const Lane *lane = self();
  const uint64_t offset = spaceOffset(p), first = offset & (kPage - 1);
  const Page *page = pageAt(offset); // the bytes, 16 and aligned, lie in one page
  for (uint64_t c = first >> page->shift; c <= (first + bytes - 1) >> page->shift; ++c) {
    const uint64_t write = page->cells[c].write;
    for (const Warp *warp : lane->warp->cta->warps) {
      if (!write || slotOfStamp(write) != warp->slot ||
          uint32_t(write) <= warp->lanes[laneOfStamp(write)].asyncFenced)
        continue;
      report("missing-async-fence",
             nameOf(p) + " is read by a wgmma of " + describe(lane) +
                 ", but whoever wrote it has not said fenceAsyncShared since",
             lane->warp->cta->launch->function->name, site, pcOf(siteOfStamp(write)));
      return;
    }
  }
}

void landed(Lane *lane, const void *p, uint32_t bytes, const void *site) {
  if (!settings.check)
    return;
  uint64_t offset = spaceOffset(p);
  while (bytes > 0) {
    Page *page = pageAt(offset);
    const uint32_t inPage = uint32_t(std::min<uint64_t>(bytes, kPage - (offset & (kPage - 1))));
    memset(page->state.data() + (offset & (kPage - 1)), Ready, inPage);
    offset += inPage;
    bytes -= inPage;
  }
}

void forgetArena(const Cta *cta) {
  if (!settings.check)
    return;
  for (uint64_t offset = spaceOffset(cta->arena), end = offset + cta->launch->shared; offset < end;
       offset += kPage)
    if (directory && directory[offset >> kPageBits]) {
      Page *page = directory[offset >> kPageBits];
      page->shift = 4;
      page->cells.assign(kPage >> 4, Cell{});
      page->state.assign(kPage, Uninitialised);
    }
}

} // namespace retort::sim

//===- What the compiler's instrumentation calls --------------------------===//

#define RETORT_TRACE(bytes)                                                                        \
  extern "C" __attribute__((visibility("default"))) void __sanitizer_cov_load##bytes(void *p) {    \
    retort::sim::access(p, bytes, retort::sim::Read, __builtin_return_address(0));                 \
  }                                                                                                \
  extern "C" __attribute__((visibility("default"))) void __sanitizer_cov_store##bytes(void *p) {   \
    retort::sim::access(p, bytes, retort::sim::Write, __builtin_return_address(0));                \
  }
RETORT_TRACE(1)
RETORT_TRACE(2)
RETORT_TRACE(4)
RETORT_TRACE(8)
RETORT_TRACE(16)
