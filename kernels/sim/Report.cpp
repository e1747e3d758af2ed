//===- Report.cpp - Findings and counters as JSON -------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "kernels/sim/Driver.h"
#include "kernels/sim/sim.h"
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <dlfcn.h>
#include <map>
#include <unordered_map>

namespace retort::sim {

SharedCounters sharedCounters;
RunCounters runCounters;

namespace {
constexpr size_t kMaxFindings = 1000; // distinct ones

struct Finding {
  std::string kind, message, kernel;
  const void *site, *other;
  uint64_t times;
};
std::vector<Finding> findings;
std::map<std::pair<std::string, const void *>, size_t> findingAt;

std::unordered_map<const void *, uint32_t> siteNumbers;
std::vector<const void *> sites = {nullptr}; // 0: more sites than numbers
std::vector<SiteCounters> siteCounters(kMaxSites);
std::map<std::string, KernelCounters> kernels;
std::vector<Region *> regions; // with counters to report, also of memory that was freed

std::string quoted(const std::string &text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\')
      out += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      snprintf(escape, sizeof escape, "\\u%04x", c);
      out += escape;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

/// function (file:line) by llvm-symbolizer where there is one, else the object and the offset.
std::string place(const void *pc) {
  static std::map<const void *, std::string> known;
  if (!pc)
    return "";
  if (const auto it = known.find(pc); it != known.end())
    return it->second;
  Dl_info info;
  std::string text;
  if (dladdr(pc, &info) && info.dli_fname) {
    char offset[32];
    snprintf(offset, sizeof offset, "0x%zx",
             size_t(static_cast<const char *>(pc) - static_cast<const char *>(info.dli_fbase)) - 1);
    const char *set = getenv("RETORT_SIM_SYMBOLIZER");
    const std::string command = std::string(set ? set : RETORT_SIM_SYMBOLIZER_PATH) +
                                " -s -p --no-inlines -e '" + info.dli_fname + "' " + offset +
                                " 2>/dev/null";
    if (FILE *pipe = popen(command.c_str(), "r")) {
      char line[1024];
      if (fgets(line, sizeof line, pipe))
        text = std::string(line, strcspn(line, "\n"));
      pclose(pipe);
    }
    if (text.empty() || text[0] == '?')
      text = std::string(info.dli_fname) + "+" + offset;
  }
  return known[pc] = text;
}
} // namespace

void report(const char *kind, const std::string &message, const std::string &kernel,
            const void *site, const void *other) {
  const auto [it, isNew] = findingAt.try_emplace({kind, site}, findings.size());
  if (!isNew)
    ++findings[it->second].times;
  else if (findings.size() < kMaxFindings)
    findings.push_back({kind, message, kernel, site, other, 1});
  else
    findingAt.erase(it);
}

KernelCounters &kernelCounters(const std::string &kernel) { return kernels[kernel]; }

uint32_t siteOf(const void *pc) {
  // A small cache in front of the map: loops come back to the same places.
  static struct {
    const void *pc;
    uint32_t site;
  } cache[1024];
  auto &entry = cache[(reinterpret_cast<uint64_t>(pc) >> 1) % 1024];
  if (entry.pc == pc)
    return entry.site;
  const auto [it, isNew] = siteNumbers.try_emplace(pc, uint32_t(sites.size()));
  if (isNew) {
    if (sites.size() < kMaxSites)
      sites.push_back(pc);
    else
      it->second = 0;
  }
  entry = {pc, it->second};
  return it->second;
}
const void *pcOf(uint32_t site) { return sites[site]; }
SiteCounters &countersOf(uint32_t site) { return siteCounters[site]; }

Region *regionOf(Allocation *allocation, uint64_t address) {
  for (Region *region : allocation->regions)
    if (address - region->begin < region->bytes)
      return region;
  static uint64_t number = 0;
  const std::string name =
      (allocation->space == kHostSpace ? "host" : "device" + std::to_string(allocation->space)) +
      "." + std::to_string(number++);
  allocation->regions.push_back(
      new Region{name, allocation->begin, ~uint64_t(0) - allocation->begin});
  regions.push_back(allocation->regions.back());
  return allocation->regions.back();
}
void nameRegion(Allocation *allocation, uint64_t begin, uint64_t bytes, const std::string &name) {
  regions.push_back(new Region{name, begin, bytes});
  allocation->regions.insert(allocation->regions.begin(), regions.back());
}

std::string reportJson() {
  std::string out = "{\"findings\": [";
  const char *comma = "\n  ";
  for (const Finding &f : findings) {
    out += comma + ("{\"kind\": " + quoted(f.kind)) + ", \"kernel\": " + quoted(f.kernel) +
           ", \"at\": " + quoted(place(f.site)) +
           (f.other ? ", \"other\": " + quoted(place(f.other)) : "") +
           ", \"message\": " + quoted(f.message) + ", \"times\": " + std::to_string(f.times) + "}";
    comma = ",\n  ";
  }
  const auto number = [&](const char *name, uint64_t value) {
    return std::string("\"") + name + "\": " + std::to_string(value);
  };
  out += "],\n \"launches\": " + std::to_string(runCounters.launches) + ", " +
         number("waits", runCounters.waits) + ", " + number("mma", runCounters.mma) + ", " +
         number("ldmatrix", runCounters.ldmatrix) + ", " + number("atomics", runCounters.atomics) +
         ", " + number("bulk_bytes", runCounters.bulkBytes) + ", " +
         number("prefetch_bytes", runCounters.prefetchBytes) + ", " +
         number("to_device_bytes", runCounters.toDeviceBytes) + ", " +
         number("to_host_bytes", runCounters.toHostBytes) + ",\n \"shared\": {" +
         number("requests", sharedCounters.requests) + ", " +
         number("bank_conflicts", sharedCounters.conflicts) + "},\n \"memory\": [";
  // Parts of one name, of several allocations, are one entry.
  std::map<std::string, Region> sums;
  for (const Region *r : regions) {
    Region &sum = sums.try_emplace(r->name, Region{r->name, 0, 0}).first->second;
    sum.readBytes += r->readBytes, sum.readRequests += r->readRequests,
        sum.readSectors += r->readSectors;
    sum.readIdeal += r->readIdeal, sum.writeBytes += r->writeBytes,
        sum.writeRequests += r->writeRequests;
    sum.writeSectors += r->writeSectors, sum.writeIdeal += r->writeIdeal;
  }
  comma = "\n  ";
  for (const auto &[name, r] : sums) {
    if (r.readRequests + r.writeRequests == 0)
      continue;
    out += comma + ("{\"name\": " + quoted(name)) + ", \"read\": {" + number("bytes", r.readBytes) +
           ", " + number("requests", r.readRequests) + ", " + number("sectors", r.readSectors) +
           ", " + number("ideal_sectors", r.readIdeal) + "}, \"write\": {" +
           number("bytes", r.writeBytes) + ", " + number("requests", r.writeRequests) + ", " +
           number("sectors", r.writeSectors) + ", " + number("ideal_sectors", r.writeIdeal) + "}}";
    comma = ",\n  ";
  }
  out += "],\n \"kernels\": [";
  comma = "\n  ";
  for (const auto &[name, k] : kernels) {
    out += comma + ("{\"name\": " + quoted(name)) + ", " + number("launches", k.launches) + ", " +
           number("waits", k.waits) + ", " + number("tiles", k.tiles) + "}";
    comma = ",\n  ";
  }
  out += "],\n \"sites\": [";
  // The places that waste most: sectors beyond the ideal, passes over the banks beyond the first.
  std::vector<uint32_t> worst;
  for (uint32_t i = 0; i < sites.size(); ++i)
    if (siteCounters[i].sectors > siteCounters[i].ideal || siteCounters[i].conflicts)
      worst.push_back(i);
  const auto waste = [](uint32_t i) {
    return siteCounters[i].sectors - siteCounters[i].ideal + siteCounters[i].conflicts;
  };
  std::sort(worst.begin(), worst.end(),
            [&](uint32_t a, uint32_t b) { return waste(a) > waste(b); });
  worst.resize(std::min<size_t>(worst.size(), 20));
  comma = "\n  ";
  for (const uint32_t i : worst) {
    const SiteCounters &c = siteCounters[i];
    out += comma + ("{\"at\": " + quoted(place(sites[i]))) + ", " + number("requests", c.requests) +
           ", " + number("sectors", c.sectors) + ", " + number("ideal_sectors", c.ideal) + ", " +
           number("bank_conflicts", c.conflicts) + "}";
    comma = ",\n  ";
  }
  return out + "]}";
}

void clearReport() {
  findings.clear();
  findingAt.clear();
  runCounters = {};
  kernels.clear();
  sharedCounters = {};
  std::fill(siteCounters.begin(), siteCounters.end(), SiteCounters{});
  for (Region *r : regions)
    *r = Region{r->name, r->begin, r->bytes};
}

size_t numFindings() { return findings.size(); }

} // namespace retort::sim
extern "C" __attribute__((visibility("default"))) size_t retort_sim_num_findings() {
  return retort::sim::numFindings();
}
