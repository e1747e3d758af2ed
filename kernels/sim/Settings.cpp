//===- Settings.cpp - Environment and controls ---------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "kernels/sim/Driver.h"
#include "kernels/sim/sim.h"
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace retort::sim {
Settings settings;

namespace {
bool set(const std::string &name, long long value) {
  const auto within = [&](long long low, long long high) { return value >= low && value <= high; };
  if (name == "devices" && within(0, kMaxDevices))
    settings.devices = unsigned(value);
  else if (name == "sms" && within(1, 256))
    settings.multiprocessors = unsigned(value);
  else if (name == "arch" && within(50, 129))
    settings.arch = unsigned(value) * 10;
  else if (name == "seed" && value >= 0)
    randomSeed(settings.seed = uint64_t(value));
  else if (name == "memory" && within(0, (1ll << kSpaceBits) / 2))
    settings.memoryBytes = uint64_t(value);
  else if (name == "peers" && within(0, 1))
    settings.peers = value != 0;
  else if (name == "check" && within(0, 1))
    settings.check = value != 0;
  else if (name == "count" && within(0, 1))
    settings.count = value != 0;
  else if (name == "fail_allocation" && value >= -1)
    settings.failAllocation = value;
  else if (name == "lose_device" && value >= -1)
    settings.loseDevice = value;
  else if (name == "lost_device" && within(0, kMaxDevices - 1))
    settings.lostDevice = unsigned(value);
  else if (name == "host_wait_ms" && within(0, 1 << 30))
    settings.hostWaitMs = unsigned(value);
  else
    return false;
  return true;
}

void writeReport() {
  if (const char *path = getenv("RETORT_SIM_REPORT"))
    std::ofstream(path) << reportJson() << "\n";
}

void readEnvironment() {
  for (const char *name : {"devices", "sms", "arch", "seed", "memory", "peers", "check", "count",
                           "fail_allocation", "lose_device", "lost_device", "host_wait_ms"}) {
    std::string variable = "RETORT_SIM_";
    for (const char *c = name; *c; ++c)
      variable += char(toupper(*c));
    const char *value = getenv(variable.c_str());
    if (!value)
      continue;
    if (strncmp(value, "sm_", 3) == 0)
      value += 3;
    if (char *end; !set(name, strtoll(value, &end, 10)))
      setError(variable + "=" + value + " is out of range");
  }
  if (getenv("RETORT_SIM_REPORT"))
    atexit(writeReport);
}
/// The environment is read when the library is opened, so that retort_sim_set has the last word.
struct AtLoad {
  AtLoad() { readEnvironment(); }
} atLoad;
} // namespace
} // namespace retort::sim

using namespace retort::sim;

RETORT_EXPORT int retort_sim_set(const char *name, long long value) {
  Call call;
  return set(name, value);
}
RETORT_EXPORT void retort_sim_name(unsigned long long begin, size_t bytes, const char *name) {
  Call call;
  if (Allocation *allocation = allocationAt(reinterpret_cast<void *>(begin)))
    nameRegion(allocation, begin, bytes, name);
}
RETORT_EXPORT size_t retort_sim_report(char *text, size_t capacity) {
  Call call;
  const std::string report = reportJson();
  if (capacity) {
    const size_t size = std::min(capacity - 1, report.size());
    memcpy(text, report.data(), size);
    text[size] = 0;
  }
  return report.size() + 1;
}
RETORT_EXPORT void retort_sim_clear() {
  Call call;
  clearReport();
}
RETORT_EXPORT const char *retort_sim_error() { return lastError().c_str(); }
