//===- MachineTest.cpp - Limits of control groups ---------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/base/Machine.h"
#include "retort.hpp"
#include "test/unit/Runtime/TestBundle.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/sysinfo.h>
#include <unistd.h>

namespace fs = std::filesystem;
using namespace retort;

namespace {

constexpr uint64_t kMiB = 1 << 20;

/// The files of a machine, as /proc and /sys show them.
class Machine {
public:
  Machine() : root_(fs::temp_directory_path() / ("retort-machine-" + std::to_string(::getpid()))) {
    fs::remove_all(root_);
  }
  ~Machine() { fs::remove_all(root_); }
  void put(const std::string &path, const std::string &text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text << "\n";
  }
  GroupLimits limits() const { return GroupLimits::read(root_.string()); }

private:
  fs::path root_;
};

const std::string kVersion2 = "30 1 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw";

TEST(Machine, MemoryIsNoMoreThanThereIs) {
  const auto whole = uint64_t(::sysconf(_SC_PHYS_PAGES)) * uint64_t(::sysconf(_SC_PAGESIZE));
  EXPECT_GT(availableMemoryBytes(), 0u);
  EXPECT_LE(availableMemoryBytes(), whole);
}

TEST(Machine, NoGroupsNoLimits) {
  const GroupLimits limits = Machine().limits();
  EXPECT_TRUE(std::isinf(limits.cores));
  EXPECT_EQ(limits.memoryBytes, UINT64_MAX);
}

TEST(Machine, TheLeastOfOwnGroupAndAncestorsCounts) {
  Machine machine;
  machine.put("proc/self/mountinfo", kVersion2);
  machine.put("proc/self/cgroup", "0::/pod/job");
  machine.put("sys/fs/cgroup/pod/cpu.max", "150000 100000");
  machine.put("sys/fs/cgroup/pod/job/cpu.max", "max 100000");
  machine.put("sys/fs/cgroup/pod/memory.max", "314572800");
  machine.put("sys/fs/cgroup/pod/memory.current", "104857600");
  machine.put("sys/fs/cgroup/pod/job/memory.max", "max");
  machine.put("sys/fs/cgroup/pod/job/memory.current", "1048576");
  machine.put("sys/fs/cgroup/other/cpu.max", "1000 100000"); // not an ancestor
  EXPECT_DOUBLE_EQ(machine.limits().cores, 1.5);
  EXPECT_EQ(machine.limits().memoryBytes, 200 * kMiB);
  machine.put("sys/fs/cgroup/pod/job/cpu.max", "50000 100000");
  EXPECT_DOUBLE_EQ(machine.limits().cores, 0.5);
}

TEST(Machine, ReclaimablePageCacheIsFree) {
  Machine machine;
  machine.put("proc/self/mountinfo", kVersion2);
  machine.put("proc/self/cgroup", "0::/");
  machine.put("sys/fs/cgroup/memory.max", std::to_string(8192 * kMiB));
  machine.put("sys/fs/cgroup/memory.current", std::to_string(8090 * kMiB));
  machine.put("sys/fs/cgroup/memory.stat", "anon 1\ninactive_file " + std::to_string(7000 * kMiB) +
                                               "\nactive_file " + std::to_string(500 * kMiB) +
                                               "\nslab_reclaimable " + std::to_string(90 * kMiB));
  EXPECT_EQ(machine.limits().memoryBytes, (8192 - 8090 + 7590) * kMiB);
}

/// As in a container: each controller has a mount that shows the container's own group as its root.
TEST(Machine, Version1) {
  Machine machine;
  machine.put("proc/self/mountinfo",
              "32 31 0:29 /docker/1 /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
              "35 31 0:32 /docker/1 /mnt/memory rw - cgroup cgroup rw,memory");
  machine.put("proc/self/cgroup", "4:memory:/docker/1/in\n3:cpu,cpuacct:/docker/1\n0::/");
  machine.put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000");
  machine.put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000");
  machine.put("mnt/memory/memory.limit_in_bytes", std::to_string(300 * kMiB));
  machine.put("mnt/memory/memory.usage_in_bytes", std::to_string(200 * kMiB));
  machine.put("mnt/memory/memory.stat",
              "inactive_file 5\ntotal_inactive_file " + std::to_string(50 * kMiB));
  machine.put("mnt/memory/in/memory.limit_in_bytes", "9223372036854771712"); // none
  machine.put("mnt/memory/in/memory.usage_in_bytes", "1");
  EXPECT_DOUBLE_EQ(machine.limits().cores, 2);
  EXPECT_EQ(machine.limits().memoryBytes, 150 * kMiB);
  machine.put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1");
  EXPECT_TRUE(std::isinf(machine.limits().cores));
}

/// A process whose group lies outside what its namespace's mount shows.
TEST(Machine, AGroupOutsideTheMountIsTheMountsRoot) {
  Machine machine;
  machine.put("proc/self/mountinfo", kVersion2);
  machine.put("proc/self/cgroup", "0::/../../other");
  machine.put("sys/fs/cgroup/cpu.max", "300000 100000");
  machine.put("other/cpu.max", "1000 100000");
  EXPECT_DOUBLE_EQ(machine.limits().cores, 3);
}

/// Threads without a core are not made, whatever is asked for.
TEST(Machine, ASessionHasNoMoreThreadsThanCores) {
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && !CPU_COUNT(&one); ++cpu)
    if (CPU_ISSET(cpu, &before))
      CPU_SET(cpu, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(usableCores(), 1u);
  const test::TempFolder folder;
  test::writeTestBundle(folder / "m.retort");
  const Model model(folder / "m.retort");
  EXPECT_EQ(Session(model, {.threads = 16}).info().threads, 1u);
  EXPECT_EQ(Session(model, {}).info().threads, 1u);
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
}

} // namespace
