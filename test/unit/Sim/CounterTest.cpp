//===- CounterTest.cpp - Bytes, sectors, banks, waits ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "test/unit/Sim/Sim.h"

namespace retort::test {
namespace {

const char *const kKernels = R"(
#define KERNEL(name) RETORT_KERNEL(name, 64, 1, uint32_t *a, uint32_t *b, uint32_t *sync)
KERNEL(coalesced) { b[ctaIndex() * 64 + threadIndex()] = a[ctaIndex() * 64 + threadIndex()]; }
KERNEL(strided) { b[threadIndex()] = a[8 * threadIndex()]; }
KERNEL(shifted) { b[threadIndex()] = a[threadIndex() + 1]; }
KERNEL(broadcast) { b[threadIndex()] = a[0]; }
KERNEL(wide) { stGlobal128(b + 4 * threadIndex(), ldGlobalNc128(a + 4 * threadIndex())); }
KERNEL(branches) {
  uint32_t x = 0;
  if (laneIndex() % 2) x = a[threadIndex()];           // half the lanes: the sectors are all read, half their bytes wanted
  for (uint32_t i = 0; i <= laneIndex() % 4; ++i) x += a[64 * i + threadIndex()]; // requests of 32, 24, 16 and 8 lanes
  b[threadIndex()] = x;
}
KERNEL(copies) {
  auto *bar = reinterpret_cast<uint64_t *>(sharedArena() + 4096);
  if (threadIndex() == 0) { mbarInit(bar, 1); fenceMbarInit(); }
  ctaSync();
  cpAsync16(sharedArena() + 16 * threadIndex(), a + 4 * threadIndex()); cpAsyncCommit();
  if (threadIndex() == 0) { mbarArriveExpect(bar, 1024); bulkCopy(sharedArena() + 2048, a, 1024, bar); }
  cpAsyncWait<0>();
  mbarWait(bar, 0);
}
RETORT_DEVICE uint32_t *words() { return reinterpret_cast<uint32_t *>(sharedArena()); }
KERNEL(noConflict) { words()[threadIndex()] = 1; }
KERNEL(conflict2) { words()[2 * threadIndex()] = 1; }
KERNEL(conflict32) { words()[32 * threadIndex()] = 1; }
KERNEL(conflictWide) { reinterpret_cast<u32x4 *>(sharedArena())[2 * threadIndex()] = makeU32x4(1, 2, 3, 4); }
KERNEL(wideNoConflict) { reinterpret_cast<u32x4 *>(sharedArena())[threadIndex()] = makeU32x4(1, 2, 3, 4); }
KERNEL(sharedBroadcast) { if (threadIndex() == 0) words()[0] = 1; ctaSync(); b[threadIndex()] = words()[0]; }
KERNEL(matrix128) { reinterpret_cast<u32x4 *>(sharedArena())[threadIndex()] = makeU32x4(1, 2, 3, 4); ctaSync(); uint32_t d[4]; ldmatrixX4(d, sharedArena() + laneIndex() % 8 * 128); b[threadIndex()] = d[0]; }
KERNEL(matrix144) { for (uint32_t i = threadIndex(); i < 128; i += 64) reinterpret_cast<u32x4 *>(sharedArena())[i] = makeU32x4(1, 2, 3, 4); ctaSync(); uint32_t d[4]; ldmatrixX4(d, sharedArena() + laneIndex() % 8 * 144); b[threadIndex()] = d[0]; }
KERNEL(waits) { for (int i = 0; i < 5; ++i) gridSync(sync); }
)";

class Counters : public Sim {
protected:
  nlohmann::json run(const char *kernel, unsigned grid = 1, bool check = false) {
    set("count", 1);
    set("check", check);
    library().clear();
    start();
    CUfunction f = function(load(kKernels), kernel);
    const CUdeviceptr a = upload(std::vector<uint32_t>(2048)),
                      b = upload(std::vector<uint32_t>(2048)),
                      sync = upload(std::vector<uint32_t>(16));
    library().name(a, 8192, "a");
    library().name(b, 8192, "b");
    library().name(b + 128, 128, "b.part");
    EXPECT_EQ(launch(f, grid, 64, 16384, true, a, b, sync), CUDA_SUCCESS);
    EXPECT_EQ(cuda.cuCtxSynchronize(), CUDA_SUCCESS);
    auto result = report();
    TearDown();
    return result;
  }
  static nlohmann::json of(const nlohmann::json &report, const char *name, const char *what) {
    for (const auto &memory : report["memory"])
      if (memory["name"] == name)
        return memory[what];
    return nullptr;
  }
  static nlohmann::json counts(int bytes, int requests, int sectors, int ideal) {
    return {
        {"bytes", bytes}, {"requests", requests}, {"sectors", sectors}, {"ideal_sectors", ideal}};
  }
};

TEST_F(Counters, SectorsOfARequest) {
  for (const bool check : {false, true}) {
    EXPECT_EQ(of(run("coalesced", 4, check), "a", "read"), counts(1024, 8, 32, 32));
    EXPECT_EQ(of(run("strided", 1, check), "a", "read"), counts(256, 2, 64, 8));
    EXPECT_EQ(of(run("shifted", 1, check), "a", "read"), counts(256, 2, 10, 8));
    EXPECT_EQ(of(run("broadcast", 1, check), "a", "read"), counts(8, 2, 2, 2));
    EXPECT_EQ(of(run("wide", 1, check), "a", "read"), counts(1024, 2, 32, 32));
    EXPECT_EQ(of(run("wide", 1, check), "b", "write"),
              counts(1024, 2, 32, 32)); // a request counts where its first byte is
  }
}
TEST_F(Counters, LanesThatBranch) {
  // The branch: 2 requests of 64 bytes in 4 sectors. The loop, for each warp: 128, 96, 64, 32 bytes
  // in 4 sectors each.
  EXPECT_EQ(of(run("branches"), "a", "read"),
            counts(128 + 2 * 320, 2 + 8, 8 + 32, 4 + 2 * (4 + 3 + 2 + 1)));
}
TEST_F(Counters, NamedParts) {
  const auto r = run("coalesced", 4);
  EXPECT_EQ(of(r, "b.part", "write"), counts(128, 1, 4, 4));
  EXPECT_EQ(of(r, "b", "write"), counts(1024 - 128, 7, 28, 28));
}
TEST_F(Counters, Copies) {
  const auto r = run("copies");
  EXPECT_EQ(of(r, "a", "read"), counts(2048, 3, 64, 64));
  EXPECT_EQ(r["bulk_bytes"], 1024);
}
TEST_F(Counters, BankConflicts) {
  for (const auto &[kernel, conflicts] :
       std::initializer_list<std::pair<const char *, int>>{{"noConflict", 0},
                                                           {"conflict2", 2},
                                                           {"conflict32", 62},
                                                           {"wideNoConflict", 0},
                                                           {"conflictWide", 8},
                                                           {"sharedBroadcast", 0},
                                                           {"matrix128", 2 * 4 * 7},
                                                           {"matrix144", 0}})
    EXPECT_EQ(run(kernel)["shared"]["bank_conflicts"], conflicts) << kernel;
}
TEST_F(Counters, PlacesThatWaste) {
  const auto r = run("conflict32");
  ASSERT_EQ(r["sites"].size(), 1u);
  EXPECT_EQ(r["sites"][0]["bank_conflicts"], 62);
  EXPECT_NE(r["sites"][0]["at"].get<std::string>().find("conflict32"), std::string::npos)
      << r["sites"].dump();
}
TEST_F(Counters, Waits) {
  const auto r = run("waits", 4);
  EXPECT_EQ(r["waits"], 5);
  EXPECT_EQ(r["launches"], 1);
  EXPECT_EQ(r["kernels"],
            nlohmann::json::parse(R"([{"name": "waits", "launches": 1, "tiles": 0, "waits": 5}])"));
}

} // namespace
} // namespace retort::test
