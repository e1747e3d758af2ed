//===- Prediction.cpp - How long a step would take on a GPU ---------------===//
// SPDX-License-Identifier: Apache-2.0
//
// A step is a sum of phases. A product's time is the longest of what its bytes take from memory,
// its rows from L2 and its instructions; before that its rows are staged, after it the last sums
// are added. Its first weights were asked for when the last product was done, so that they arrive
// during whatever stands between: waits, attention, staging. As many as the ring holds are hidden
// so. docs/cuda-cost.md explains it and says where the constants come from.
#include "dialects/Kernel/Prediction.h"
#include "kernels/cuda/shapes.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include <algorithm>
#include <cmath>
#include <utility>

namespace retort::kernel {
namespace {

//===--- Assumed -----------------------------------------------------------------------------===//

constexpr double kPrefillShare = 0.6;      ///< of mma.sync's or wgmma's rate that prefill reaches
constexpr double kStageCycles = 400;       ///< of a product's prologue, beside its loads
constexpr double kStageInstructions = 34;  ///< for 128 values: norm, group's largest, bytes
constexpr double kFinishCycles = 400;      ///< sums of 8 warps, epilogue, store
constexpr double kAttendCycles = 1200;     ///< rotation of queries, merge of warps
constexpr double kWalkCycles = 300;        ///< what a warp's first page waits for beside loads, and
constexpr double kPageCycles = 130;        ///< every page: products, exponentials after each other
constexpr double kCombineCycles = 400;     ///< of splits, and
constexpr double kCombineSplitCycles = 20; ///< for each of them
constexpr double kRowsCycles = 800;        ///< a phase of vectors
constexpr double kSampleInstructions = 80; ///< for 32 logits, both passes: counted in sm_90 code
constexpr double kSampleSortCycles = 8000; ///< sort of 2048 candidates, prefix sums, barriers
constexpr double kAttendChain =
    5; ///< loads that wait for each other: position, page, key, counter, partials

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Tiles of 8 columns of B that decoding multiplies: a row of the step has two of them.
int64_t rowGroups(int64_t rows) { return cuda::ProductShape::rowGroups(static_cast<int>(rows)); }

/// Warp instructions of decoding for 16 rows x 16 columns of weights, without the ring's: counted
/// in sm_90a's code (docs/cuda-cost.md), where a group's share is what its scales cost.
double blockInstructions(const NumberFormat &format, int64_t rows) {
  const double more = double(rowGroups(rows) - 1), group = format.group ? 32.0 / format.group : 0;
  switch (format.kind) {
  case NumberFormat::Kind::I4:
    return 6 + 6 * group + (format.minima ? 4.4 * group : 0) + more * (1 + 5.2 * group);
  case NumberFormat::Kind::I3:
    return 7.75 + 6 * group + more * (1 + 5.2 * group);
  case NumberFormat::Kind::I8:
    return 1.7 + 7.3 * group + more * (1 + 5 * group);
  case NumberFormat::Kind::F8:
    return 21 + 3 * group + more * (1.5 + 2 * group);
  case NumberFormat::Kind::BF16:
    return 17 + 1.6 * more;
  case NumberFormat::Kind::F16:
    return 4.1 + 1.5 * more;
  case NumberFormat::Kind::F32:
    return 8 * 40.0 * double(rowGroups(rows));
  }
  return 0;
}
// Of a slot of the ring: wait, release, the next copy. Fewer where all slots are full.
constexpr double kSlotInstructions = 70, kFullSlotInstructions = 45;
constexpr double kTileInstructions = 26;   ///< of a warp for a tile: its partial sums, the loop
constexpr double kFinishInstructions = 27; ///< the epilogue of 2 rows, a warp's

double byGroup(const NumberFormat &format, double of32, double of64, double of128) {
  return format.group == 32 ? of32 : format.group == 64 ? of64 : of128;
}
/// Warp instructions of prefill for 32 rows x 64 columns of weights and 32 rows of the step, by
/// wgmma 64 rows, with the staging of rows: counted likewise (mma.sync's in sm_80's code).
double prefillInstructions(const NumberFormat &format, bool wgmma) {
  switch (format.kind) {
  case NumberFormat::Kind::I4:
    if (wgmma)
      return format.minima ? byGroup(format, 750, 600, 414) : byGroup(format, 538, 466, 333);
    return format.minima ? byGroup(format, 766, 609, 374) : byGroup(format, 647, 522, 327);
  case NumberFormat::Kind::I3:
    return wgmma ? 484 : 523;
  case NumberFormat::Kind::I8:
    return wgmma ? byGroup(format, 560, 492, 360) : byGroup(format, 633, 503, 310);
  case NumberFormat::Kind::F8:
    return wgmma ? byGroup(format, 532, 461, 331) : byGroup(format, 427, 390, 309);
  case NumberFormat::Kind::BF16:
    return wgmma ? 334 : 308;
  case NumberFormat::Kind::F16:
    return wgmma ? 238 : 211;
  case NumberFormat::Kind::F32:
    return 32 * 8 * 40.0;
  }
  return 0;
}

int narrow(int64_t value) { return static_cast<int>(value); }

/// The kernel's shape, as far as times depend on it.
cuda::ProductShape productShape(const PhaseCost &cost) {
  return {.in = narrow(cost.in),
          .out = narrow(cost.out / cost.matrices),
          .weights = {cost.format},
          .gated = cost.matrices == 2,
          .maxRows = cuda::ProductShape::kMaxDecodeRows};
}
cuda::CacheShape cacheShape(const PhaseCost &cost) {
  return {.kvHeads = narrow(cost.kvHeads),
          .dims = narrow(cost.dims),
          .format = cost.cacheValueBytes == 1   ? CacheFormat::F8E4M3
                    : cost.cacheValueBytes == 4 ? CacheFormat::F32
                                                : CacheFormat::F16};
}
cuda::AttendShape attendShape(const PhaseCost &cost) {
  return {.append = {.heads = narrow(cost.heads), .cache = cacheShape(cost)},
          .splits = narrow(cost.splits),
          .maxRows = cuda::ProductShape::kMaxDecodeRows};
}

struct Model {
  const Device &device;
  const StepShape &step;
  StepTime result;
  /// Since the last product was done: time, and what of it memory was busy for others.
  double gap = 0, busy = 0;
  bool first = true;
  bool isPrefill = false;
  double sentBytes = 0; ///< since the last exchange

  const cuda::SharedMemory shared = {cuda::sharedBytesOf(device.arch)};
  const double ringBytes = shared.ringBytes();

  double cycles(double n) const { return n / (device.clockGHz * 1e3); }
  double memoryUs(double bytes) const { return bytes / (device.achievableGBs() * 1e3); }
  double l2Us(double bytes) const { return bytes / (device.l2GBs * 1e3); }
  double issueUs(double instructions) const { return cycles(instructions / device.issue); }
  /// A CTA keeps its ring in flight; loaded memory answers after twice the time of idle memory.
  double ctaMemoryUs(double bytes) const { return bytes * 2 * device.memoryLatencyUs / ringBytes; }
  bool dependentLaunch() const { return step.graph && device.launchDependentUs > 0; }
  bool prefetches() const { return !step.graph || dependentLaunch(); }

  /// The wait, launch or exchange before a phase.
  void before(PhaseTime &time, const PhaseCost &cost) {
    if (step.graph)
      time.waitUs = dependentLaunch() ? device.launchDependentUs : device.launchUs;
    else if (cost.waits)
      time.waitUs = device.waitUs;
    time.exchanges = cost.exchanges;
    if (cost.exchanges)
      time.exchangeUs = exchange(time.waitUs);
    gap += time.waitUs + time.exchangeUs;
  }
  /// What an exchange takes beyond the wait for the device's own CTAs. Values that bring their
  /// flags along are on their way meanwhile. With one flag for all (prefill), a fence there and
  /// back comes first. Through the host's memory a value is stored, loaded there and back, and put
  /// where all CTAs read it.
  double exchange(double waitUs) {
    const double way =
        device.peerAccess ? device.peerUs : 3 * device.peerUs + 2 * device.l2LatencyUs;
    const double bytes = std::exchange(sentBytes, 0) / (device.peerGBs * 1e3);
    return bytes * (device.peerAccess ? 1 : 2) +
           (isPrefill ? way + 2 * device.peerUs : std::max(0.0, way - waitUs));
  }
  void add(PhaseTime time, double own) {
    time.us = time.waitUs + time.exchangeUs + own;
    result.phases.push_back(std::move(time));
  }

  PhaseTime start(const PhaseCost &cost) {
    PhaseTime time;
    time.name = cost.name;
    time.kind = cost.kind;
    before(time, cost);
    return time;
  }
  static void longest(PhaseTime &time, double &most, double us, const char *what) {
    if (us > most) {
      most = us;
      time.bound = what;
    }
  }

  //===--- Products ---------------------------------------------------------------------------===//

  void product(const PhaseCost &cost, bool prefill) {
    PhaseTime time = start(cost);
    const int64_t rows = prefill && cost.wanted ? 1 : step.rows;
    const cuda::ProductShape shape = productShape(cost);
    time.weightBytes = time.memoryBytes = cost.weightBytes;
    time.flops = rows * cost.flops;

    double main = 0, prologue = cycles(kStageCycles) + device.l2LatencyUs;
    const double memory = memoryUs(time.memoryBytes);
    if (prefill)
      main = prefillMain(time, cost, shape, rows);
    else
      main = decodeMain(time, cost, shape, prologue);
    gap += prologue;

    // The ring filled from the first answer of memory on, unless attention kept memory busy.
    const double inFlight = std::min<double>(time.memoryBytes, ringBytes * device.multiprocessors);
    if (prefetches() && !first && !prefill)
      time.hiddenUs = std::clamp(gap - device.memoryLatencyUs - busy, 0.0, memoryUs(inFlight));
    const double latency = prefetches() && !first ? std::max(0.0, device.memoryLatencyUs - gap)
                                                  : device.memoryLatencyUs;
    const double left = std::max(main, memory - time.hiddenUs);
    const double ends = prologue + latency + cycles(kFinishCycles);
    // What is hidden is worth only what memory, and not another bound, would have taken.
    time.hiddenUs = std::min(time.hiddenUs, std::max(0.0, memory - main));
    time.excessUs = left - (memory - time.hiddenUs);
    time.weightUs = memory;
    if (memory - time.hiddenUs >= main)
      time.bound = "memory";
    if (ends > left)
      time.bound = "latency";
    if (cost.sends) // while decoding two in 8 bytes, with their flag
      sentBytes += 4.0 * rows * cost.out;
    gap = busy = 0;
    first = false;
    add(std::move(time), ends + left);
  }

  /// What is not memory's bandwidth: shares of a CTA, rows from L2, instructions.
  double decodeMain(PhaseTime &time, const PhaseCost &cost, const cuda::ProductShape &shape,
                    double &prologue) {
    const int rows = narrow(std::min<int64_t>(step.rows, shape.maxRows));
    const int64_t in = cost.in, blocks = shape.decodeTiles().of(rows);
    const int64_t ctas = std::min<int64_t>(blocks, device.multiprocessors);
    const int64_t share = ceilDiv(blocks, ctas); // of the CTA with most
    time.tiles = blocks;
    // With partial sums: this device's, and the other's with flags, two in 8 bytes.
    const double blockBytes = double(time.weightBytes) / blocks,
                 rowBytes = (cost.sums ? 8.0 : 4.0) * rows * in;
    const bool staged = shape.fits(shape.rowGroups(rows), rows, shared);
    time.l2Bytes = rowBytes * (staged ? ctas : blocks * cost.matrices);
    double main = 0;
    if (staged)
      prologue += std::max(l2Us(time.l2Bytes),
                           issueUs(double(rows) * ceilDiv(in, 128) * kStageInstructions));
    else
      longest(time, main, l2Us(time.l2Bytes), "l2");
    longest(time, main, ctaMemoryUs(share * blockBytes), "latency");
    // A tile's pieces are shared out to the warps; each has its own in slots of its ring.
    const double tilePieces = shape.pieces(), warps = std::min<double>(cuda::kWarps, tilePieces);
    const double slot = shape.fullSlots(shared) ? kFullSlotInstructions : kSlotInstructions;
    const double instructions =
        double(shape.columns()) / 16 * blockInstructions(cost.format, rows) +
        warps * shape.blockSlots(shared) * slot + cuda::kWarps * kTileInstructions +
        double(ceilDiv(rows, 2)) / cost.matrices * kFinishInstructions;
    longest(time, main, issueUs(double(share * cost.matrices) * instructions), "issue");
    return main;
  }

  double prefillMain(PhaseTime &time, const PhaseCost &cost, const cuda::ProductShape &shape,
                     int64_t rows) {
    const cuda::PrefillTile tile = shape.prefillTile(cuda::architecture(device.arch).wgmma);
    const bool wgmma = tile == cuda::kWgmmaTile;
    const int64_t in = cost.in, tileRows = tile.kRows;
    time.tiles = shape.prefillTiles(wgmma).of(narrow(rows));
    time.l2Bytes = ceilDiv(rows, tileRows) * time.weightBytes + time.tiles * tileRows * in * 4;
    double main = 0;
    longest(time, main, l2Us(time.l2Bytes), "l2");
    // Two signed bytes of a row at twice the rate of f16, or two f16.
    const double parts = wgmma && cost.format.integers() ? 2 : 1;
    const double tileFlops = 2.0 * double(tileRows * tile.blocks * 16 * in) * parts;
    const double turns = double(ceilDiv(time.tiles, device.multiprocessors));
    longest(time, main, tensorUs(turns * tileFlops, wgmma ? 1 : device.mmaShare), "tensor");
    longest(time, main,
            issueUs(turns * cuda::kWarps * double(ceilDiv(in, 64)) *
                    prefillInstructions(cost.format, wgmma)),
            "issue");
    return main;
  }
  /// Of one multiprocessor; rate: of the data sheet's, what these instructions reach.
  double tensorUs(double flops, double rate) const {
    return flops * device.multiprocessors / (device.tensorTflops * rate * kPrefillShare * 1e6);
  }

  //===--- Attention --------------------------------------------------------------------------===//

  int64_t positions(const PhaseCost &cost) const {
    return cost.window ? std::min(cost.window, step.context) : step.context;
  }

  /// Warp instructions for a page of 16 keys and up to 8 heads: counted in sm_90a's code.
  static double pageInstructions(const PhaseCost &cost) {
    const double feature = cost.cacheValueBytes == 1   ? 1.75
                           : cost.cacheValueBytes == 4 ? 10.0
                                                       : 1.02;
    return 94 + feature * double(cost.dims);
  }
  void attend(const PhaseCost &cost) {
    PhaseTime time = start(cost);
    cuda::AttendShape shape = attendShape(cost);
    const int64_t pages =
        std::max<int64_t>(1, ceilDiv(positions(cost), cuda::CacheShape::kPageRows));
    const int64_t splits = shape.splits = shape.splitsOf(narrow(pages));
    const int64_t keyBytes = 2 * cost.dims * cost.cacheValueBytes;
    time.tiles = shape.tiles().of(narrow(step.rows));
    time.memoryBytes = step.rows * cost.kvHeads * positions(cost) * keyBytes;
    time.flops = step.rows * positions(cost) * cost.heads * cost.dims * 4;

    // A warp takes whole pages. One page's keys and values are on their way at a time, in parts
    // where registers do not hold them.
    const int64_t warpPages = ceilDiv(ceilDiv(pages, splits), cuda::kWarps);
    const double trips = double(warpPages * shape.pageTrips());
    const double latency =
        trips * device.memoryLatencyUs + cycles(kWalkCycles + double(warpPages) * kPageCycles);
    const double issue = issueUs(double(ceilDiv(pages, splits)) * pageInstructions(cost));
    const double walk = std::max(latency, issue);
    // A CTA's first tile had its warps' first pages asked for before the wait (attendPrefetch).
    const double asked = std::max(device.l2LatencyUs, device.memoryLatencyUs - time.waitUs);
    const double ahead =
        prefetches() ? std::min(walk - issue, device.memoryLatencyUs - asked) : 0.0;
    // Tiles take turns. The last turn has few of them, for which memory is fast.
    const double ends = cycles(kAttendCycles) + kAttendChain * device.l2LatencyUs;
    double own = -ahead;
    for (int64_t left = time.tiles; left > 0; left -= device.multiprocessors) {
      const double share = double(std::min<int64_t>(left, device.multiprocessors)) / time.tiles;
      double turn = 0;
      longest(time, turn, walk + ends, walk > issue ? "latency" : "issue");
      longest(time, turn, memoryUs(share * time.memoryBytes) + ends, "memory");
      own += turn;
    }
    if (splits > 1)
      own += 3 * device.l2LatencyUs + cycles(kCombineCycles + splits * kCombineSplitCycles);
    gap += own;
    busy += memoryUs(time.memoryBytes);
    add(std::move(time), own);
  }

  /// Prefill: tiles of query rows over all keys before them.
  void attention(const PhaseCost &cost) {
    PhaseTime time = start(cost);
    const cuda::AttentionShape shape = {.heads = narrow(cost.heads), .cache = cacheShape(cost)};
    const double before = std::max<int64_t>(0, step.context - step.rows);
    double pairs = step.rows * (before + (step.rows + 1) / 2.0);
    if (cost.window)
      pairs = std::min<double>(pairs, double(step.rows) * cost.window);
    time.flops = 4 * pairs * cost.heads * cost.dims;
    time.tiles = shape.tiles().of(narrow(step.rows));
    time.memoryBytes = 2 * cost.dims * cost.cacheValueBytes * cost.kvHeads * positions(cost);
    const double quantised =
        double(ceilDiv(time.tiles, device.multiprocessors)) * device.multiprocessors / time.tiles;
    double own = 0;
    longest(time, own, memoryUs(time.memoryBytes), "memory");
    longest(time, own, tensorUs(time.flops * quantised / device.multiprocessors, device.mmaShare),
            "tensor");
    gap = busy = 0;
    add(std::move(time), own + kAttendChain * device.l2LatencyUs + cycles(kAttendCycles));
  }

  /// A launch after the step, a CTA a row: two passes over its logits, bound by instructions.
  void sample(const PhaseCost &cost) {
    PhaseTime &time = result.sample;
    time.name = cost.name;
    time.kind = cost.kind;
    time.tiles = isPrefill ? 1 : step.rows;
    time.l2Bytes = time.tiles * 2 * 4 * cost.tokens;
    time.waitUs = device.launchUs;
    time.exchangeUs = cost.exchanges ? device.peerUs : 0;
    double own = 0;
    longest(time, own, issueUs(kSampleInstructions * double(cost.tokens) / 32), "issue");
    longest(time, own, l2Us(time.l2Bytes), "l2");
    const double turns = double(ceilDiv(time.tiles, device.multiprocessors));
    time.us = time.waitUs + time.exchangeUs + 3 * device.l2LatencyUs +
              turns * (own + cycles(kSampleSortCycles));
  }

  void rowsPhase(const PhaseCost &cost) {
    PhaseTime time = start(cost);
    time.tiles = cost.tiles * (cost.rowTile ? ceilDiv(step.rows, cost.rowTile) : 1);
    time.memoryBytes = time.weightBytes = cost.weightBytes;
    time.l2Bytes = step.rows * cost.activationBytes;
    time.flops = step.rows * cost.flops;
    time.bound = "latency";
    const double own =
        device.memoryLatencyUs + device.l2LatencyUs + cycles(kRowsCycles) + l2Us(time.l2Bytes);
    gap += own;
    add(std::move(time), own);
  }
};

} // namespace

/// The sums of the phases.
static void sumUp(StepTime &step) {
  step.us = step.startUs;
  for (const PhaseTime &time : step.phases) {
    step.us += time.us;
    step.waitUs += time.waitUs;
    step.exchangeUs += time.exchangeUs;
    step.weightUs += time.weightUs;
    step.excessUs += time.excessUs;
    step.hiddenUs += time.hiddenUs;
    step.memoryBytes += time.memoryBytes;
    step.weightBytes += time.weightBytes;
    if (time.kind == PhaseKind::Attend || time.kind == PhaseKind::Attention)
      step.attentionUs += time.us - time.waitUs - time.exchangeUs;
  }
}

StepTime together(const StepTime &first, const StepTime &second) {
  StepTime result;
  result.startUs = std::max(first.startUs, second.startUs);
  result.sample = first.sample;
  const StepTime *steps[2] = {&first, &second};
  size_t at[2] = {0, 0};
  while (at[0] < first.phases.size() || at[1] < second.phases.size()) {
    size_t end[2];
    double us[2] = {0, 0};
    for (int d : {0, 1}) {
      const std::vector<PhaseTime> &phases = steps[d]->phases;
      for (end[d] = at[d]; end[d] < phases.size() && (end[d] == at[d] || !phases[end[d]].exchanges);
           ++end[d])
        us[d] += phases[end[d]].us;
    }
    const int slower = us[1] > us[0];
    const auto begin = steps[slower]->phases.begin();
    result.phases.insert(result.phases.end(), begin + at[slower], begin + end[slower]);
    at[0] = end[0], at[1] = end[1];
  }
  sumUp(result);
  return result;
}

StepTime predict(llvm::ArrayRef<PhaseCost> costs, const Device &device, const StepShape &step) {
  Model model{device, step, {}};
  model.result.startUs = device.startUs;
  for (const PhaseCost &cost : costs)
    model.isPrefill |= cost.kind == PhaseKind::Product && cost.rowTile > 1;
  for (const PhaseCost &cost : costs) {
    switch (cost.kind) {
    case PhaseKind::Product:
      model.product(cost, cost.rowTile > 1);
      break;
    case PhaseKind::Attend:
      model.attend(cost);
      break;
    case PhaseKind::Attention:
      model.attention(cost);
      break;
    case PhaseKind::Rows:
      model.rowsPhase(cost);
      break;
    case PhaseKind::Sample:
      model.sample(cost);
      break;
    }
  }
  sumUp(model.result);
  return std::move(model.result);
}

void printTimes(const StepTime &time, const Device &device, const StepShape &step,
                llvm::StringRef title, llvm::raw_ostream &os) {
  os << "predicted, not measured: " << device.title << ", " << step.rows
     << (step.rows == 1 ? " row, " : " rows, ") << step.context << " positions, " << title
     << (title.empty() ? "" : ", ") << (step.graph ? "graph" : "persistent") << "\n";
  os << "phase tiles memory_bytes l2_bytes flops us wait_us exchange_us hidden_us bound\n";
  for (const PhaseTime &phase : time.phases)
    os << phase.name << ' ' << phase.tiles << ' ' << phase.memoryBytes << ' ' << phase.l2Bytes
       << ' ' << phase.flops
       << llvm::format(" %.2f %.2f %.2f %.2f ", phase.us, phase.waitUs, phase.exchangeUs,
                       phase.hiddenUs)
       << phase.bound << '\n';
  os << llvm::format("total %.1f us, %.1f steps/s, %.1f GB/s, %.1f %% of %.0f\n", time.us,
                     1e6 / time.us, time.gigabytesPerSecond(),
                     100 * time.gigabytesPerSecond() / device.achievableGBs(),
                     device.achievableGBs());
  os << llvm::format("of it weights %.1f, attention %.1f, waits %.1f, exchange %.1f, launch %.1f, "
                     "excess %.1f, other %.1f, less hidden %.1f\n",
                     time.weightUs, time.attentionUs, time.waitUs, time.exchangeUs, time.startUs,
                     time.excessUs, time.otherUs(), time.hiddenUs);
  if (time.sample.us > 0)
    os << llvm::format("drawing tokens, in steps that ask for it: %.1f us more, bound by ",
                       time.sample.us)
       << time.sample.bound << '\n';
}

} // namespace retort::kernel
