//===- ExchangeTest.cpp - Two devices add up partial sums -------------------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Each device multiplies its share of a product's columns, device 0 adds the residual, and sends
// the partial sums to the other, each value with its flag; the next product's prologue adds them
// up, norms the rows and keeps the sums. Several exchanges follow each other, so that receive
// buffers come round, in two steps. The same of prefill's exchanges, which have one flag; and of
// kernels that are wrong in one way each.
#include "test/unit/CudaKernels/Kernels.h"
#include <bit>
#include <cmath>
#include <cstring>

namespace retort::test {
namespace {

constexpr int kIn = 64, kOut = 48, kExchanges = 5;

const char *const kShapes = R"(
constexpr ProductShape Share = {.in = 64, .out = kHidden, .maxRows = kRows, .sourceStride = 64, .destStride = kHidden, .sends = true};
constexpr ProductShape Next = {.in = kHidden, .out = 48, .maxRows = kRows, .sourceStride = kHidden, .destStride = 48,
  .norm = true, .eps = 1e-5f, .sums = true};
constexpr ProductShape withResidual(ProductShape shape) { shape.hasResidual = true; return shape; }
constexpr ProductShape ShareAndResidual = withResidual(Share); // device 0
constexpr SumShape Rows = {.features = kHidden, .hasResidual = true}, Bare = {.features = kHidden};
struct Arguments { const float *x, *stream, *gain; const uint8_t *share, *next; float *own, *sums, *y; };
constexpr int kPart = kRows * kHidden, kX = kRows * 64, kY = kRows * 48;
constexpr int kWords = kRows * receivedStride(kHidden);
RETORT_DEVICE int64_t place(int i) { return i % 2 * kRows * receivedStride(kHidden) * 8; }
RETORT_DEVICE float *own(const Arguments &a, int i) { return a.own + i % 2 * kPart; }
RETORT_DEVICE void share(Cta &cta, const Arguments &a, int i) {
  matmul<Share>(cta, a.x + i * kX, nullptr, a.share, own(a, i), nullptr, nullptr, nullptr, outbox(cta, place(i), i));
}
RETORT_DEVICE void shareAndResidual(Cta &cta, const Arguments &a, int i) {
  if (cta.step.device != 0)
    return share(cta, a, i);
  matmul<ShareAndResidual>(cta, a.x + i * kX, nullptr, a.share, own(a, i), nullptr, a.stream, nullptr,
                           outbox(cta, place(i), i));
}
RETORT_DEVICE void next(Cta &cta, const Arguments &a, int i) {
  matmul<Next>(cta, own(a, i), a.gain, a.next, a.y + i * kY, nullptr, nullptr, nullptr, {},
               {inbox(cta, place(i), i), a.sums + i * kPart});
}
)";

const char *const kPersistent = R"(
RETORT_KERNEL(k_step, kThreads, 1, const retort_cuda_step *step, Arguments a) {
  Cta cta(step);
  matmulFetch<Share>(cta, a.share);
  for (int i = 0; i < 5; ++i) {
    cta.wait();
    shareAndResidual(cta, a, i);
    const uint32_t ticket = cta.arrive();
    matmulFetch<Next>(cta, a.next);
    cta.waitFor(ticket);
    next(cta, a, i);
    if (i != 4)
      matmulFetch<Share>(cta, a.share);
  }
}
// What a prologue does not add up.
RETORT_KERNEL(k_rows, kThreads, 1, const retort_cuda_step *step, Arguments a) {
  Cta cta(step);
  for (int i = 0; i < 5; ++i) {
    matmulFetch<Share>(cta, a.share);
    cta.wait();
    share(cta, a, i);
    cta.wait();
    sum<Rows>(cta, own(a, i), inbox(cta, place(i), i), a.stream, a.sums + i * kPart);
  }
}
// Prefill: a flag when all is sent.
RETORT_DEVICE void shareAll(Cta &cta, const Arguments &a, int i) {
  prefill::matmulFetch<Share>(cta, a.share);
  prefill::matmul<Share>(cta, a.x + i * kX, nullptr, a.share, own(a, i), nullptr, nullptr, nullptr,
                         cta.sent<float>(place(i)));
}
RETORT_KERNEL(k_flags, kPrefillThreads, 1, const retort_cuda_step *step, Arguments a) {
  Cta cta(step);
  for (int i = 0; i < 5; ++i) {
    cta.wait();
    shareAll(cta, a, i);
    cta.waitReceiving(cta.arriveSending(i), i);
    prefill::sum<Rows>(cta, own(a, i), cta.received<float>(place(i)), a.stream, a.sums + i * kPart);
  }
}
// Wrong: the flag is raised by a CTA that is done itself, whatever the others are.
RETORT_KERNEL(k_early, kPrefillThreads, 1, const retort_cuda_step *step, Arguments a) {
  Cta cta(step);
  shareAll(cta, a, 0);
  ctaSync();
  if (ctaIndex() == 0 && threadIndex() == 0)
    cta.raiseFlag(0);
  cta.receive(0);
  prefill::sum<Rows>(cta, own(a, 0), cta.received<float>(place(0)), a.stream, a.sums);
}
// What becomes of values on their way: both of a word.
RETORT_KERNEL(k_values, kThreads, 1, const retort_cuda_step *step, Arguments a) {
  Cta cta(step);
  const Outbox out = outbox(cta, place(0), 0);
  for (int n = int(threadIndex()); ctaIndex() == 0 && n < kWords; n += kThreads) {
    const int r = n / receivedStride(kHidden), i = n % receivedStride(kHidden) * 2;
    if (i < kHidden)
      out.put(n, sendable(a.stream[r * kHidden + i]),
              i + 1 < kHidden ? sendable(a.stream[r * kHidden + i + 1]) : 0.0f);
  }
  sum<Bare>(cta, own(a, 0), inbox(cta, place(0), 0), nullptr, a.sums);
}
// Wrong: plain stores, which may be seen torn, or never.
RETORT_KERNEL(k_plain, kThreads, 1, const retort_cuda_step *step, Arguments a) {
  Cta cta(step);
  const Outbox out = outbox(cta, place(0), 0);
  for (int n = int(threadIndex()); ctaIndex() == 0 && n < kWords; n += kThreads)
    stGlobal64(out.words + 2 * n, makeU32x2(asBits(float(n)), out.flag));
  sum<Rows>(cta, a.stream, inbox(cta, place(0), 0), a.stream, a.sums);
}
// Wrong: a value is not sent.
RETORT_KERNEL(k_short, kThreads, 1, const retort_cuda_step *step, Arguments a) {
  Cta cta(step);
  const Outbox out = outbox(cta, place(0), 0);
  for (int n = int(threadIndex()); ctaIndex() == 0 && n < kWords - 1; n += kThreads)
    out.put(n, float(n), float(n));
  sum<Rows>(cta, a.stream, inbox(cta, place(0), 0), a.stream, a.sums);
}
// Wrong: one set of words for all exchanges, and no wait between them.
RETORT_KERNEL(k_reuse, kThreads, 1, const retort_cuda_step *step, Arguments a) {
  Cta cta(step);
  for (int i = 0; i < 5; ++i) {
    const Outbox out = outbox(cta, 0, i);
    for (int n = int(threadIndex()); ctaIndex() == 0 && n < kWords; n += kThreads)
      out.put(n, float(n), float(n));
    sum<Rows>(cta, a.stream, inbox(cta, 0, i), a.stream, a.sums + i * kPart);
  }
}
)";

const char *const kGraph = R"(
RETORT_KERNEL(k_share, kThreads, 1, const retort_cuda_step *step, Arguments a, int32_t i) {
  Cta cta(step);
  matmulFetch<Share>(cta, a.share);
  cta.wait();
  shareAndResidual(cta, a, i);
}
RETORT_KERNEL(k_next, kThreads, 1, const retort_cuda_step *step, Arguments a, int32_t i) {
  Cta cta(step);
  matmulFetch<Next>(cta, a.next);
  cta.wait();
  next(cta, a, i);
}
// Prefill.
RETORT_KERNEL(k_share_all, kPrefillThreads, 1, const retort_cuda_step *step, Arguments a, int32_t i) {
  Cta cta(step);
  cta.wait();
  prefill::matmulFetch<Share>(cta, a.share);
  prefill::matmul<Share>(cta, a.x + i * kX, nullptr, a.share, own(a, i), nullptr, nullptr, nullptr,
                         cta.sent<float>(place(i)));
  cta.send(i);
}
RETORT_KERNEL(k_sum_all, kPrefillThreads, 1, const retort_cuda_step *step, Arguments a, int32_t i) {
  Cta cta(step);
  cta.wait();
  cta.receive(i);
  prefill::sum<Rows>(cta, own(a, i), cta.received<float>(place(i)), a.stream, a.sums + i * kPart);
}
)";

struct Arguments {
  CUdeviceptr x, stream, gain, share, next, own, sums, y;
};

class Exchanges : public CudaKernels {
protected:
  struct Device {
    CUmodule module;
    Arguments arguments;
    CUdeviceptr step;
    Packed weights;
    std::vector<float> x;
    CUdeviceptr activations, sync;
  };
  void SetUp() override {
    CudaKernels::SetUp();
    int devices = 2;
    if (library().isHardware && (cuda.cuInit(0) != CUDA_SUCCESS ||
                                 cuda.cuDeviceGetCount(&devices) != CUDA_SUCCESS || devices < 2))
      GTEST_SKIP() << "it takes two GPUs";
  }
  /// With peer access, where GPUs have it, and without.
  std::vector<bool> ways() {
    int can = 1;
    if (library().isHardware && cuda.cuDeviceCanAccessPeer(&can, 0, 1) != CUDA_SUCCESS)
      can = 0;
    return can ? std::vector<bool>{true, false} : std::vector<bool>{false};
  }
  std::vector<Device> all{2};
  int rows = 3, hidden = 80;
  std::vector<float> stream, gain;
  Packed next;

  void open(bool peers, int seed, int arch, const std::string &text) {
    set("devices", 2);
    set("peers", peers);
    set("seed", seed);
    set("host_wait_ms", 2000);
    CudaKernels::open(arch, 3, /*check=*/true);
    stream = randomValues(size_t(rows * hidden), 1), gain = randomValues(size_t(hidden), 2);
    next = packMatrix("mma16", {NumberFormat::Kind::F32}, kOut, hidden, 3);
    // Two sets of words; prefill's values are in the activations, as large.
    const int received = 2 * rows * ((hidden + 3) / 4 * 2) * 8, syncBytes = 64 * 4 + received;
    for (int d = 0; d < 2; ++d) {
      Device &device = all[size_t(d)];
      cuda.cuCtxSetCurrent(contexts[size_t(d)]);
      if (peers) { // which a test before this one may have done
        const CUresult status = cuda.cuCtxEnablePeerAccess(contexts[size_t(1 - d)], 0);
        ASSERT_TRUE(status == CUDA_SUCCESS || status == CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED)
            << status;
      }
      device.module = nullptr;
      ASSERT_EQ(cuda.cuModuleLoadData(&device.module, text.c_str()), CUDA_SUCCESS)
          << library().error();
      device.x = randomValues(kExchanges * rows * kIn, unsigned(10 + d));
      device.weights =
          packMatrix("mma16", {NumberFormat::Kind::F32}, hidden, kIn, unsigned(20 + d));
      device.arguments = {upload(device.x),
                          upload(stream),
                          upload(gain),
                          upload(device.weights.bytes),
                          upload(next.bytes),
                          upload(std::vector<float>(2 * (rows * hidden))),
                          upload(std::vector<float>(kExchanges * (rows * hidden), NAN)),
                          upload(std::vector<float>(kExchanges * rows * kOut, NAN))};
      device.activations = upload(std::vector<uint8_t>(size_t(received)));
      device.sync = upload(std::vector<uint8_t>(size_t(syncBytes)));
    }
    CUdeviceptr inbox[2], flags[2];
    for (int d = 0; d < 2; ++d) {
      inbox[d] = all[size_t(d)].activations, flags[d] = all[size_t(d)].sync;
      if (peers)
        continue;
      void *host = nullptr;
      ASSERT_EQ(cuda.cuMemAllocHost(&host, size_t(received + syncBytes)), CUDA_SUCCESS);
      std::memset(host, 0, size_t(received + syncBytes));
      ASSERT_EQ(cuda.cuMemHostGetDevicePointer(&inbox[d], host, 0), CUDA_SUCCESS);
      flags[d] = inbox[d] + CUdeviceptr(received);
    }
    step = {};
    for (int d = 0; d < 2; ++d)
      step.peers[d] = {pointer<uint8_t>(inbox[d]), pointer<uint32_t>(flags[d])};
    step.num_rows = rows;
    step.num_devices = 2;
    finish(); // a device may write what the other's copies have set
  }
  void prepare(int generation) {
    for (int d = 0; d < 2; ++d) {
      Device &device = all[size_t(d)];
      cuda.cuCtxSetCurrent(contexts[size_t(d)]);
      step.activations = pointer<uint8_t>(device.activations);
      step.sync = pointer<uint32_t>(device.sync);
      step.device = d;
      step.generation = generation;
      device.step = upload(std::vector<retort_cuda_step>{step});
    }
  }
  template <class... A> void launchOn(int d, const char *name, bool cooperative, A... more) {
    Device &device = all[size_t(d)];
    cuda.cuCtxSetCurrent(contexts[size_t(d)]);
    CUfunction f = function(device.module, name);
    ASSERT_EQ(
        cuda.cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, sharedBytes),
        CUDA_SUCCESS);
    ASSERT_EQ(launch(f, multiprocessors, kThreads, sharedBytes, cooperative, device.step,
                     device.arguments, more...),
              CUDA_SUCCESS)
        << library().error();
  }
  void finish() {
    for (int d = 0; d < 2; ++d) {
      cuda.cuCtxSetCurrent(contexts[size_t(d)]);
      ASSERT_EQ(cuda.cuCtxSynchronize(), CUDA_SUCCESS)
          << report()["findings"].dump(1).substr(0, 2000);
    }
  }
  /// The first finding of a kernel that is wrong; none: "".
  std::string wrong(const char *name, int seed) {
    TearDown();
    contexts.clear();
    SetUp();
    open(true, seed, 90, program(kPersistent));
    if (HasFatalFailure())
      return "a program that does not load";
    prepare(1);
    for (int d : {0, 1})
      launchOn(d, name, true);
    for (CUcontext context : contexts) {
      cuda.cuCtxSetCurrent(context);
      cuda.cuCtxSynchronize();
    }
    const std::vector<std::string> found = kinds();
    for (int d = 0; d < 2; ++d) // an error stays until nobody has the context
      while (cuda.cuDevicePrimaryCtxRelease(d) == CUDA_SUCCESS) {
      }
    contexts.clear();
    return found.empty() ? "" : found.front();
  }
  /// Sums and results of both devices against loops and against each other.
  void compare(bool products = true) {
    std::vector<float> sums[2], y[2];
    for (int d = 0; d < 2; ++d) {
      cuda.cuCtxSetCurrent(contexts[size_t(d)]);
      sums[d] = download<float>(all[size_t(d)].arguments.sums, kExchanges * (rows * hidden));
      y[d] = download<float>(all[size_t(d)].arguments.y, kExchanges * rows * kOut);
    }
    ASSERT_EQ(std::memcmp(sums[0].data(), sums[1].data(), sums[0].size() * 4), 0)
        << "the devices have other bits";
    for (int i = 0; i < kExchanges; ++i)
      for (int r = 0; r < rows; ++r) {
        const float *got = sums[0].data() + i * (rows * hidden) + r * hidden;
        double squares = 0;
        for (int n = 0; n < hidden; ++n) {
          double want = stream[size_t(r * hidden + n)];
          for (const Device &device : all)
            for (int k = 0; k < kIn; ++k)
              want += double(roundHalf(device.x[size_t((i * rows + r) * kIn + k)])) *
                      roundHalf(device.weights.values[size_t(n * kIn + k)]);
          ASSERT_NEAR(got[n], want, 2e-2) << "exchange " << i << " row " << r << " " << n;
          squares += double(got[n]) * got[n];
        }
        const double scale = 1 / std::sqrt(squares / hidden + 1e-5);
        for (int m = 0; products && m < kOut; ++m) {
          double want = 0;
          for (int n = 0; n < hidden; ++n)
            want += got[n] * scale * gain[size_t(n)] * next.values[size_t(m * hidden + n)];
          for (const std::vector<float> &values : y)
            ASSERT_NEAR(values[size_t((i * rows + r) * kOut + m)], want, 2e-2);
        }
      }
  }
  std::string program(const char *kernels, bool graph = false) const {
    return std::string(graph ? "#define RETORT_GRAPH 1\n" : "") +
           "#include \"kernels/cuda/program.cuh\"\nusing namespace retort::cuda;\n"
           "constexpr int kRows = " +
           std::to_string(rows) + ", kHidden = " + std::to_string(hidden) + ";\n" + kShapes +
           kernels;
  }
};

TEST_F(Exchanges, PersistentKernelsAddUpInTheNextProduct) {
  for (bool peers : ways())
    for (int seed : {0, 1, 2}) {
      SCOPED_TRACE(testing::Message() << "peers " << peers << " seed " << seed);
      TearDown();
      contexts.clear();
      SetUp();
      open(peers, seed, 90, program(kPersistent));
      if (HasFatalFailure())
        return;
      for (int generation : {1, 2}) {
        prepare(generation);
        for (int d : {0, 1})
          launchOn(d, "k_step", true);
        finish();
        compare();
      }
      EXPECT_EQ(kinds(), std::vector<std::string>())
          << report()["findings"].dump(1).substr(0, 2000);
    }
}

/// Rows whose last columns are no whole vector, and rows that shared memory has no room for.
TEST_F(Exchanges, RowsOfAnyLength) {
  for (const auto &[r, h] : {std::pair(3, 77), std::pair(16, 2064)}) {
    SCOPED_TRACE(testing::Message() << r << " rows of " << h);
    TearDown();
    contexts.clear();
    SetUp();
    rows = r, hidden = h;
    open(false, 1, 90, program(kPersistent));
    if (HasFatalFailure())
      return;
    prepare(1);
    for (int d : {0, 1})
      launchOn(d, "k_step", true);
    finish();
    compare();
    EXPECT_EQ(kinds(), std::vector<std::string>()) << report()["findings"].dump(1).substr(0, 2000);
  }
}

/// Values are rounded to 16 significant bits, ties to even, and what is no number stays none.
TEST_F(Exchanges, ValuesKeepSixteenBits) {
  hidden = 77;
  open(ways().front(), 1, 90, program(kPersistent));
  if (HasFatalFailure())
    return;
  stream[0] = INFINITY, stream[1] = -INFINITY, stream[2] = NAN, stream[3] = -0.0f;
  stream[4] = 1 + 0x1p-16f, stream[5] = 1 + 3 * 0x1p-16f, stream[6] = 65535.5f, stream[7] = 1e-40f;
  stream[8] = std::bit_cast<float>(0x7fffffffu); // the NaN that a GPU makes
  for (size_t d : {0, 1}) {
    cuda.cuCtxSetCurrent(contexts[d]);
    all[d].arguments.stream = upload(stream);
  }
  prepare(255); // the last there is
  for (int d : {0, 1})
    launchOn(d, "k_values", true);
  finish();
  const std::vector<float> got = download<float>(all[1].arguments.sums, size_t(rows * hidden));
  EXPECT_EQ(got[4], 1.0f);
  EXPECT_EQ(got[5], 1 + 0x1p-14f);
  EXPECT_EQ(got[6], 65536.0f);
  for (size_t i = 0; i < stream.size(); ++i)
    if (std::isfinite(stream[i]))
      ASSERT_NEAR(got[i], stream[i], std::abs(stream[i]) * 0x1p-16 + 1e-42) << i;
    else if (std::isnan(stream[i]))
      ASSERT_TRUE(std::isnan(got[i])) << i;
    else
      ASSERT_EQ(got[i], stream[i]) << i;
  EXPECT_EQ(kinds(), std::vector<std::string>()) << report()["findings"].dump(1).substr(0, 2000);
}

TEST_F(Exchanges, APhaseAddsUpWhatNoPrologueCan) {
  open(ways().front(), 3, 80, program(kPersistent));
  prepare(7);
  for (int d : {1, 0})
    launchOn(d, "k_rows", true);
  finish();
  compare(/*products=*/false);
  EXPECT_EQ(kinds(), std::vector<std::string>()) << report()["findings"].dump(1).substr(0, 2000);
}

TEST_F(Exchanges, AKernelAPhase) {
  for (bool peers : ways()) {
    TearDown();
    contexts.clear();
    SetUp();
    open(peers, 1, 90, program(kGraph, true));
    if (HasFatalFailure())
      return;
    for (int generation : {1, 2}) {
      prepare(generation);
      for (int d : {0, 1})
        for (int32_t i = 0; i < kExchanges; ++i) {
          launchOn(d, "k_share", false, i);
          launchOn(d, "k_next", false, i);
        }
      finish();
      compare();
    }
    EXPECT_EQ(kinds(), std::vector<std::string>()) << report()["findings"].dump(1).substr(0, 2000);
  }
}

TEST_F(Exchanges, OneFlagWhenAllIsSent) {
  for (bool peers : ways())
    for (bool graph : {true, false}) {
      TearDown();
      contexts.clear();
      SetUp();
      open(peers, 2, 80, program(graph ? kGraph : kPersistent, graph));
      if (HasFatalFailure())
        return;
      prepare(1);
      for (int d : {0, 1})
        if (graph)
          for (int32_t i = 0; i < kExchanges; ++i) {
            launchOn(d, "k_share_all", false, i);
            launchOn(d, "k_sum_all", false, i);
          }
        else
          launchOn(d, "k_flags", true);
      finish();
      compare(/*products=*/false);
      EXPECT_EQ(kinds(), std::vector<std::string>())
          << report()["findings"].dump(1).substr(0, 2000);
    }
}

/// What is wrong with a kernel, only the simulator can say; a GPU would wait for ever.
class WrongExchanges : public Exchanges {
protected:
  void SetUp() override {
    if (library().isHardware)
      GTEST_SKIP() << "it takes the simulator";
    Exchanges::SetUp();
  }
};

TEST_F(WrongExchanges, AFlagThatIsRaisedTooEarlyIsARace) {
  EXPECT_EQ(wrong("k_early", 0), "missing-fence");
}
TEST_F(WrongExchanges, WordsThatAreNoAtomicStoresAreARace) {
  EXPECT_EQ(wrong("k_plain", 0), "missing-fence");
}
TEST_F(WrongExchanges, AValueThatIsNotSentIsADeadlock) {
  EXPECT_EQ(wrong("k_short", 0), "deadlock");
}
/// It needs an order of CTAs in which one device is an exchange ahead of some CTA of the other.
TEST_F(WrongExchanges, WordsThatAreUsedAgainTooEarlyAreADeadlock) {
  std::string found;
  for (int seed = 1; seed < 8 && found.empty(); ++seed)
    found = wrong("k_reuse", seed);
  EXPECT_EQ(found, "deadlock");
}

} // namespace
} // namespace retort::test
