//===- PredictionTest.cpp - The cost model on programs small enough for a pencil -----===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Kernel/Prediction.h"
#include <gtest/gtest.h>
#include <set>

namespace retort::kernel {
namespace {

/// Round numbers: 1 GHz, 1000 GB/s and an L2 that costs nothing but its latency.
Device plainDevice() {
  Device d = *findDevice("h100");
  d.multiprocessors = 10;
  d.clockGHz = 1;
  d.memoryGBs = 1000;
  d.memoryShare = 1;
  d.l2GBs = 1e12;
  d.l2LatencyUs = d.memoryLatencyUs = 0.1;
  d.waitUs = 1;
  d.arch = 89; // 99 KB of shared memory
  d.startUs = 2;
  d.peerUs = 3;
  d.peerGBs = 1e12;
  d.launchUs = 4;
  d.launchDependentUs = 0;
  return d;
}

/// 160 rows of 64 columns: 10 tiles.
PhaseCost product(int64_t bytes, bool waits) {
  PhaseCost cost;
  cost.name = "product";
  cost.kind = PhaseKind::Product;
  cost.weightBytes = bytes;
  cost.tiles = 10;
  cost.out = 160;
  cost.in = 64;
  cost.flops = 2 * cost.out * cost.in;
  cost.format = {NumberFormat::Kind::I4, 32};
  cost.waits = waits;
  return cost;
}

PhaseCost attend(int64_t kvHeads, int64_t splits) {
  PhaseCost cost;
  cost.name = "attend";
  cost.kind = PhaseKind::Attend;
  cost.heads = 4 * kvHeads;
  cost.kvHeads = kvHeads;
  cost.dims = 128;
  cost.splits = splits;
  cost.rowTile = 1;
  cost.waits = true;
  return cost;
}

/// Blocks of a model of 8B, int4: 436 MB of weights for 4 blocks.
std::vector<PhaseCost> largeModel(int64_t blocks = 4) {
  std::vector<PhaseCost> costs;
  auto add = [&](int64_t out, int64_t in, int64_t matrices = 1) {
    PhaseCost cost = product(out * in * 9 / 16, true);
    cost.out = out;
    cost.in = in;
    cost.matrices = matrices;
    costs.push_back(cost);
  };
  for (int64_t i = 0; i < blocks; ++i) {
    add(6144, 4096);
    costs.push_back(attend(8, 16));
    add(4096, 4096);
    add(28672, 4096, 2);
    add(4096, 14336);
  }
  return costs;
}

/// What one of two devices has of it: 16ths of the heads and channels, 8 for a half.
std::vector<PhaseCost> share(std::vector<PhaseCost> costs, int64_t parts) {
  for (size_t i = 0; i < costs.size(); ++i) {
    PhaseCost &cost = costs[i];
    const size_t phase = i % 5;
    cost.weightBytes = cost.weightBytes * parts / 16;
    cost.flops = cost.flops * parts / 16;
    cost.kvHeads = cost.kvHeads * parts / 16;
    cost.heads = cost.heads * parts / 16;
    cost.sends = phase == 2 || phase == 4;
    (cost.sends ? cost.in : cost.out) *= parts;
    (cost.sends ? cost.in : cost.out) /= 16;
    cost.exchanges = cost.sums = i > 0 && (phase == 0 || phase == 3);
  }
  return costs;
}

TEST(Devices, AreNamedOnceAndStandForArchitectures) {
  std::set<std::string> names;
  for (const Device &device : devices()) {
    EXPECT_TRUE(names.insert(device.name).second) << device.name;
    EXPECT_EQ(findDevice(device.name), &device);
    EXPECT_GT(device.memoryShare, 0.5) << device.name;
    EXPECT_LT(device.memoryShare, 1) << device.name;
    EXPECT_GT(device.memoryLatencyUs, device.l2LatencyUs) << device.name;
    // Programmatic dependent launch came with 9.0.
    EXPECT_EQ(device.launchDependentUs > 0, device.arch >= 90) << device.name;
  }
  EXPECT_EQ(findDevice("h10"), nullptr);
  EXPECT_STREQ(deviceOfArch(90).name, "h100");
  EXPECT_STREQ(deviceOfArch(89).name, "rtx4090");
  EXPECT_EQ(deviceOfArch(103).arch, 100);
  EXPECT_NE(deviceNames().find("h100, h200"), std::string::npos);
}

TEST(Prediction, TwoProductsByHand) {
  // The first: launch 2; wait 1; staging 400 cycles and a load from L2, 0.5, and 34 instructions;
  // first bytes 0.1; 1 MB in 1 us; the last sums 0.4. The second: as much, but during the wait and
  // staging (1.5) a full ring, 10 x 56 KB, has come since 0.1 us after the first was done.
  StepTime time = predict({product(1000000, true), product(1000000, true)}, plainDevice(), {});
  ASSERT_EQ(time.phases.size(), 2u);
  EXPECT_NEAR(time.phases[0].us, 1 + 0.517 + 0.1 + 1 + 0.4, 1e-9);
  EXPECT_NEAR(time.phases[1].hiddenUs, 0.57344, 1e-9);
  EXPECT_NEAR(time.phases[1].us, 1 + 0.517 + (1 - 0.57344) + 0.4, 1e-9);
  EXPECT_NEAR(time.us, 2 + time.phases[0].us + time.phases[1].us, 1e-9);
  EXPECT_NEAR(time.waitUs, 2, 1e-9);
  EXPECT_NEAR(time.weightUs, 2, 1e-9);
  EXPECT_EQ(time.weightBytes, 2000000);
  // Staging, first bytes and sums.
  EXPECT_NEAR(time.otherUs(), 0.517 + 0.1 + 0.4 + 0.517 + 0.4, 1e-9);
}

TEST(Prediction, SmallWeightsAreThereBeforeTheirInput) {
  // What is left is its instructions: 4 blocks of 12, a slot of the ring, the end of a tile.
  StepTime time = predict({product(1000000, true), product(400000, true)}, plainDevice(), {});
  const double left = (4 * 12 + 70 + 8 * 26 + 27) / 2.0 * 1e-3;
  EXPECT_NEAR(time.phases[1].hiddenUs, 0.4 - left, 1e-3);
  EXPECT_NEAR(time.phases[1].us, 1 + 0.517 + left + 0.4, 1e-3);
  EXPECT_STREQ(time.phases[1].bound, "latency");
}

TEST(Prediction, GraphLaunchesEachPhaseAndHidesNothingWithoutDependentLaunch) {
  StepShape step;
  step.graph = true;
  std::vector<PhaseCost> costs = {product(1000000, false), product(1000000, true)};
  Device device = plainDevice();
  StepTime time = predict(costs, device, step);
  EXPECT_NEAR(time.waitUs, 2 * device.launchUs, 1e-9);
  EXPECT_EQ(time.hiddenUs, 0);
  device.launchDependentUs = 2;
  time = predict(costs, device, step);
  EXPECT_NEAR(time.waitUs, 4, 1e-9);
  EXPECT_GT(time.hiddenUs, 0);
}

/// Beside the step, not in it: two passes over the row, 80 instructions for 32 logits, 2 a cycle.
TEST(Prediction, DrawingTokensIsBesideTheStep) {
  PhaseCost draw;
  draw.name = "sample";
  draw.kind = PhaseKind::Sample;
  draw.rowTile = 1;
  draw.waits = true;
  draw.tokens = 32000;
  const Device device = plainDevice();
  const StepTime without = predict({product(1000000, true)}, device, {});
  const StepTime time = predict({product(1000000, true), draw}, device, {});
  EXPECT_EQ(time.us, without.us);
  EXPECT_EQ(time.phases.size(), 1u);
  EXPECT_EQ(without.sample.us, 0);
  EXPECT_NEAR(time.sample.us,
              device.launchUs + 3 * device.l2LatencyUs +
                  (80 * 1000 / device.issue + 8000) / (device.clockGHz * 1e3),
              1e-9);
  EXPECT_EQ(time.sample.l2Bytes, 2 * 4 * 32000);
  draw.exchanges = true;
  EXPECT_NEAR(predict({product(1000000, true), draw}, device, {}).sample.us - time.sample.us,
              device.peerUs, 1e-9);
}

TEST(Prediction, MoreOfAnythingTakesLonger) {
  for (const Device &device : devices()) {
    auto us = [&](const std::vector<PhaseCost> &costs, StepShape step = {}) {
      return predict(costs, device, step).us;
    };
    const std::vector<PhaseCost> costs = largeModel();
    std::vector<PhaseCost> more = costs;
    for (PhaseCost &cost : more)
      cost.weightBytes *= 2;
    // Where instructions bind, bytes that double need not show.
    EXPECT_GE(us(more), us(costs)) << device.name;
    more = costs;
    for (PhaseCost &cost : more)
      cost.waits = false;
    EXPECT_LE(us(more), us(costs)) << device.name;
    EXPECT_GT(us(largeModel(5)), us(largeModel(4))) << device.name;
    double last = 0;
    for (int64_t context : {16, 128, 1024, 8192, 32768}) {
      const double now = us(costs, {1, context});
      EXPECT_GE(now, last) << device.name << ", " << context << " positions";
      last = now;
    }
    last = 0;
    for (int64_t rows : {1, 2, 4, 8, 16}) {
      const double now = us(costs, {rows, 1024});
      // Rows that no longer fit shared memory are read beside the weights and not before them.
      EXPECT_GE(now, 0.99 * last) << device.name << ", " << rows << " rows";
      last = now;
    }
  }
}

TEST(Prediction, TwiceTheBytesTakeTwiceTheTimeWhereMemoryBinds) {
  std::vector<PhaseCost> costs = largeModel(), more = costs;
  for (PhaseCost &cost : more)
    cost.weightBytes *= 2;
  const Device &device = *findDevice("rtx3060");
  EXPECT_NEAR(predict(more, device, {}).us / predict(costs, device, {}).us, 2, 0.1);
}

TEST(Prediction, NoFasterThanMemory) {
  for (const Device &device : devices()) {
    StepTime time = predict(largeModel(), device, {});
    EXPECT_LT(time.gigabytesPerSecond(), device.achievableGBs()) << device.name;
    EXPECT_GT(time.otherUs(), 0) << device.name;
    EXPECT_LE(time.hiddenUs, time.weightUs) << device.name;
  }
}

TEST(Prediction, TwoDevicesShareBytesAndExchangeTwiceABlock) {
  for (const char *name : {"h100", "rtx4090"}) {
    const Device &device = *findDevice(name);
    StepTime one = predict(largeModel(), device, {}),
             half = predict(share(largeModel(), 8), device, {}), two = together(half, half);
    EXPECT_EQ(two.us, half.us);
    EXPECT_EQ(two.memoryBytes, half.memoryBytes);
    EXPECT_NEAR(double(two.memoryBytes) / one.memoryBytes, 0.5, 0.01);
    EXPECT_GT(one.us / two.us, 1.3) << name;
    EXPECT_LT(one.us / two.us, 2) << name;
    int exchanges = 0;
    for (const PhaseTime &phase : two.phases) {
      exchanges += phase.exchangeUs > 0;
      // This device's part, 4 bytes a value, and the other's with flags.
      if (phase.exchanges)
        EXPECT_EQ(phase.l2Bytes, 8 * 4096 * std::min<int64_t>(phase.tiles, device.multiprocessors));
    }
    EXPECT_EQ(exchanges, 7) << "two a block; the last is before nothing";
    EXPECT_EQ(one.exchangeUs, 0);
  }
}

TEST(Prediction, ExchangesByHand) {
  // A value and its flag are under way for 3 us, and meanwhile CTAs meet for 1. 160 values of 4
  // bytes over a link of 1 GB/s are 0.64 us.
  Device device = plainDevice();
  device.peerGBs = 1;
  PhaseCost sender = product(1000, true), reader = product(1000, true);
  sender.sends = reader.exchanges = reader.sums = true;
  EXPECT_NEAR(predict({sender, reader}, device, {}).phases[1].exchangeUs, 3 - 1 + 0.64, 1e-9);
  EXPECT_NEAR(predict({sender, reader}, device, {2, 128}).exchangeUs, 3 - 1 + 1.28, 1e-9);
  // Through the host: there, back twice, and through L2 to all; bytes twice.
  device.peerAccess = false;
  EXPECT_NEAR(predict({sender, reader}, device, {}).exchangeUs, 9 + 0.2 - 1 + 1.28, 1e-9);
  // Prefill: 512 rows of 4 bytes, a fence there and back, a flag; nothing overlaps.
  device.peerAccess = true;
  sender.rowTile = reader.rowTile = 64;
  EXPECT_NEAR(predict({sender, reader}, device, {512, 512}).exchangeUs, 9 + 512 * 0.64, 1e-9);
}

TEST(Prediction, TheSlowerDeviceCountsBetweenExchanges) {
  const Device &device = *findDevice("h100");
  // One has more in the first block, the other in the second.
  std::vector<PhaseCost> ten = share(largeModel(2), 10), six = share(largeModel(2), 6);
  std::vector<PhaseCost> first = ten, second = six, slower = ten;
  std::copy(six.begin() + 5, six.end(), first.begin() + 5);
  std::copy(ten.begin() + 5, ten.end(), second.begin() + 5);
  const StepTime a = predict(first, device, {}), b = predict(second, device, {}),
                 both = together(a, b);
  EXPECT_GT(both.us, std::max(a.us, b.us));
  EXPECT_NEAR(both.us, predict(slower, device, {}).us, 0.02 * both.us);
  EXPECT_EQ(both.phases.size(), first.size());
  EXPECT_NEAR(both.us - both.startUs - both.waitUs - both.exchangeUs - both.attentionUs -
                  both.weightUs - both.excessUs + both.hiddenUs,
              both.otherUs(), 1e-9);
  EXPECT_EQ(together(b, a).us, both.us);
}

TEST(Prediction, WindowBoundsAttention) {
  PhaseCost cost = attend(8, 16);
  cost.window = 512;
  const Device &device = *findDevice("h100");
  EXPECT_EQ(predict({cost}, device, {1, 512}).us, predict({cost}, device, {1, 65536}).us);
  EXPECT_EQ(predict({cost}, device, {1, 65536}).memoryBytes, 8 * 512 * 2 * 128 * 2);
}

TEST(Prediction, OneTileMoreThanMultiprocessorsTakesASecondTurn) {
  // 132 heads are a tile for each multiprocessor, of a page: not memory's bandwidth binds.
  const Device &device = *findDevice("h100");
  StepTime fits = predict({attend(132, 1)}, device, {1, 16});
  StepTime spills = predict({attend(133, 1)}, device, {1, 16});
  EXPECT_EQ(fits.phases[0].tiles, 132);
  EXPECT_EQ(spills.phases[0].tiles, 133);
  EXPECT_GT(spills.attentionUs, 1.3 * fits.attentionUs);
  // 8 heads x 17 splits are 136 tiles: four more, which have memory to themselves.
  StepTime sixteen = predict({attend(8, 16)}, device, {1, 8192});
  StepTime seventeen = predict({attend(8, 17)}, device, {1, 8192});
  EXPECT_EQ(seventeen.phases[0].tiles, 136);
  EXPECT_STREQ(sixteen.phases[0].bound, "memory");
  EXPECT_GT(seventeen.attentionUs, 1.15 * sixteen.attentionUs);
}

TEST(Prediction, RowsThatDoNotFitSharedMemoryAreReadForEachTile) {
  // A row of 4096 takes 8.2 KB of 98 KB on an H100, 42 KB on a 4090.
  PhaseCost cost = product(28672 * 4096 / 2, true);
  cost.out = 28672;
  cost.in = 4096;
  const Device &h100 = *findDevice("h100"), &rtx4090 = *findDevice("rtx4090");
  EXPECT_EQ(predict({cost}, h100, {8, 128}).phases[0].l2Bytes, 8 * 4096 * 4 * 132);
  EXPECT_EQ(predict({cost}, rtx4090, {3, 128}).phases[0].l2Bytes, 3 * 4096 * 4 * 128);
  EXPECT_EQ(predict({cost}, rtx4090, {8, 128}).phases[0].l2Bytes, 8 * 4096 * 4 * (28672 / 16));
  StepTime sixteen = predict({cost}, h100, {16, 128});
  EXPECT_EQ(sixteen.phases[0].l2Bytes, 16 * 4096 * 4 * (28672 / 16));
  EXPECT_STREQ(sixteen.phases[0].bound, "l2");
}

TEST(Prediction, PrefillIsBoundByTensorCores) {
  PhaseCost cost = product(4096 * 4096 / 2, true);
  cost.out = cost.in = 4096;
  cost.flops = 2 * cost.out * cost.in;
  cost.rowTile = 64;
  const Device &device = *findDevice("rtx3060");
  StepTime time = predict({cost}, device, {512, 512});
  EXPECT_EQ(time.phases[0].tiles, 4096 / 128 * 512 / 64);
  EXPECT_STREQ(time.phases[0].bound, "tensor");
  EXPECT_GT(time.us, time.phases[0].flops / (device.tensorTflops * 1e6));
}

TEST(Prediction, PrefillAttentionHasTheTilesOfItsKernel) {
  PhaseCost cost = attend(3, 1);
  cost.kind = PhaseKind::Attention;
  cost.heads = 9;
  // 512 rows of 3 query heads are 12 x 128 queries, of 3 key/value heads.
  StepTime time = predict({cost}, *findDevice("h100"), {512, 512});
  EXPECT_EQ(time.phases[0].tiles, 36);
}

TEST(Prediction, PrefillOnHopperGoesThroughWgmmaButForF32) {
  PhaseCost cost = product(4096 * 4096 / 2, true);
  cost.out = cost.in = 4096;
  cost.rowTile = 64;
  Device device = *findDevice("h100");
  const auto tiles = [&] { return predict({cost}, device, {512, 512}).phases[0].tiles; };
  // 128 tiles of 256 x 64 are one turn of the multiprocessors, in 64 pieces of 538 instructions a
  // warp.
  EXPECT_EQ(tiles(), 4096 / 256 * 512 / 64);
  const double integers = predict({cost}, device, {512, 512}).us;
  EXPECT_GT(integers, 64 * 8 * 538 / 2 / (device.clockGHz * 1e3));
  // Twice the work of f16 for tensor cores, and more instructions.
  cost.format = {NumberFormat::Kind::F16};
  EXPECT_EQ(tiles(), 4096 / 256 * 512 / 64);
  EXPECT_LT(predict({cost}, device, {512, 512}).us, 0.6 * integers);
  cost.format = {NumberFormat::Kind::F32};
  EXPECT_EQ(tiles(), 4096 / 128 * 512 / 64);
  cost.format = {NumberFormat::Kind::F16};
  device.arch = 100;
  EXPECT_EQ(tiles(), 4096 / 128 * 512 / 64);
}

} // namespace
} // namespace retort::kernel
