//===- Machine.h - What this process may use of the machine ----*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>

namespace retort {

/// Cores that this process may use, at least 1: those of its affinity mask, or fewer where a control
/// group (version 1 or 2) that it is in, or an ancestor of it, has a CPU quota. A quota of half a
/// core or more beyond a whole number counts as one.
unsigned usableCores();

/// Memory that this process may still take: MemAvailable, or less where the limit of a control group
/// (version 1 or 2) that it is in, or of an ancestor, leaves less. Page cache that the kernel takes
/// back at need counts as free.
uint64_t availableMemoryBytes();

/// What the control groups grant, read below `root` ("" but in tests): proc/self/cgroup and
/// proc/self/mountinfo say where they are.
struct GroupLimits {
  double cores;         ///< infinite: no quota
  uint64_t memoryBytes; ///< UINT64_MAX: no limit
  static GroupLimits read(const std::string &root = {});
};

} // namespace retort
