//===- Machine.cpp - What this process may use of the machine --------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/Machine.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sched.h>
#include <sstream>
#include <thread>
#include <vector>

namespace retort {
namespace {

namespace fs = std::filesystem;

/// The first number of a file; nothing for "max", a negative one and no file.
std::optional<double> numberIn(const fs::path &path) {
  double value = 0;
  std::ifstream file(path);
  return file >> value && value >= 0 ? std::optional(value) : std::nullopt;
}

/// The value of the line "KEY VALUE", after which a unit may stand; 0 if there is none.
uint64_t valueOf(const fs::path &path, const std::string &key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string name;
    uint64_t value = 0;
    if (fields >> name >> value && name == key)
      return value;
  }
  return 0;
}

bool listHas(const std::string &list, const std::string &word) {
  return ("," + list + ",").find("," + word + ",") != std::string::npos;
}

/// A hierarchy of groups: version 2, or the one of a controller of version 1.
struct Hierarchy {
  std::string controller; ///< empty: version 2
  std::string mount;      ///< where it is mounted
  std::string mountRoot;  ///< the group that the mount shows
  std::string group;      ///< of this process

  /// Where `controller` ("": version 2) is mounted, by /proc/self/mountinfo.
  static Hierarchy find(const std::string &root, const std::string &controller) {
    Hierarchy found{controller, "/sys/fs/cgroup" + (controller.empty() ? "" : "/" + controller),
                    "/", "/"};
    std::ifstream mounts(root + "/proc/self/mountinfo");
    for (std::string line; std::getline(mounts, line);) {
      std::istringstream fields(line);
      std::string skip, shows, at, word, type, source, options;
      fields >> skip >> skip >> skip >> shows >> at;
      while (fields >> word && word != "-") {
      }
      fields >> type >> source >> options;
      if (controller.empty() ? type == "cgroup2"
                             : type == "cgroup" && listHas(options, controller)) {
        found.mount = at;
        found.mountRoot = shows;
      }
    }
    std::ifstream groups(root + "/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {
      const size_t first = line.find(':'), second = line.find(':', first + 1);
      if (second == std::string::npos)
        continue;
      const std::string list = line.substr(first + 1, second - first - 1);
      if (controller.empty() ? list.empty() : listHas(list, controller))
        found.group = line.substr(second + 1);
    }
    return found;
  }

  /// The folders of the process's group and of its ancestors, as far as the mount shows them.
  std::vector<fs::path> folders(const std::string &root) const {
    std::string below = group;
    if (mountRoot != "/")
      below = below.starts_with(mountRoot) ? below.substr(mountRoot.size()) : "";
    std::vector<fs::path> all;
    for (fs::path at = fs::path(below).relative_path();; at = at.parent_path()) {
      // A group outside the mount (of a process in a namespace of its own) begins with "..".
      if (at.empty() || *at.begin() != "..")
        all.push_back(fs::path(root + mount) / at);
      if (at.empty())
        return all;
    }
  }
};

/// Cores that a group's quota grants.
double coresOf(const fs::path &folder, bool version2) {
  const auto quota = numberIn(folder / (version2 ? "cpu.max" : "cpu.cfs_quota_us"));
  if (!quota || *quota <= 0)
    return std::numeric_limits<double>::infinity();
  double period = 0;
  if (version2) {
    std::ifstream file(folder / "cpu.max");
    std::string skip;
    file >> skip >> period;
  } else {
    period = numberIn(folder / "cpu.cfs_period_us").value_or(0);
  }
  return period > 0 ? *quota / period : std::numeric_limits<double>::infinity();
}

/// Bytes that a group may still take.
uint64_t memoryOf(const fs::path &folder, bool version2) {
  const auto limit = numberIn(folder / (version2 ? "memory.max" : "memory.limit_in_bytes"));
  const auto used = numberIn(folder / (version2 ? "memory.current" : "memory.usage_in_bytes"));
  if (!limit || !used || *limit >= 0x1p62) // version 1 writes "none" as a number of that size
    return UINT64_MAX;
  const std::string prefix = version2 ? "" : "total_"; // with the groups below it
  double cache = 0;
  for (const char *kind : {"inactive_file", "active_file"})
    cache += static_cast<double>(valueOf(folder / "memory.stat", prefix + kind));
  if (version2)
    cache += static_cast<double>(valueOf(folder / "memory.stat", "slab_reclaimable"));
  return static_cast<uint64_t>(std::max(0.0, *limit - std::max(0.0, *used - cache)));
}

} // namespace

GroupLimits GroupLimits::read(const std::string &root) {
  GroupLimits limits{std::numeric_limits<double>::infinity(), UINT64_MAX};
  const auto each = [&](const std::string &controller, auto &&body) {
    for (const bool version2 : {true, false})
      for (const fs::path &folder : Hierarchy::find(root, version2 ? "" : controller).folders(root))
        body(folder, version2);
  };
  each("cpu", [&](const fs::path &folder, bool version2) {
    limits.cores = std::min(limits.cores, coresOf(folder, version2));
  });
  each("memory", [&](const fs::path &folder, bool version2) {
    limits.memoryBytes = std::min(limits.memoryBytes, memoryOf(folder, version2));
  });
  return limits;
}

unsigned usableCores() {
  cpu_set_t set;
  const int allowed = sched_getaffinity(0, sizeof set, &set) == 0
                          ? CPU_COUNT(&set)
                          : static_cast<int>(std::thread::hardware_concurrency());
  const double granted = std::round(GroupLimits::read().cores);
  return static_cast<unsigned>(std::max(1.0, std::min<double>(allowed, granted)));
}

uint64_t availableMemoryBytes() {
  const uint64_t kilobytes = valueOf("/proc/meminfo", "MemAvailable:");
  return std::min(kilobytes ? kilobytes * 1024 : UINT64_MAX, GroupLimits::read().memoryBytes);
}

} // namespace retort
