//===- ExchangeTest.cpp - Two devices add up partial sums -------------------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Each device multiplies its share of a product's columns and sends the partial sums to the other;
// the next product's prologue adds them up, norms the rows and keeps the sums. Several exchanges
// follow each other, so that flags and receive buffers come round, in two steps.
#include "test/unit/CudaKernels/Kernels.h"
#include <cstring>

namespace retort::test {
namespace {

constexpr int kRows = 3, kIn = 64, kHidden = 80, kOut = 48, kExchanges = 5;
constexpr int kPart = kRows * kHidden; ///< floats of a buffer of rows

const char *const kShapes = R"(
struct Share { static constexpr int In = 64, Out = 80, SourceStride = 64, SourceAt = 0, DestStride = 80, MaxRows = 4;
  static constexpr bool Norm = false, NormOffset = false, HasBias = false, HasResidual = false, Wanted = false, Sends = true;
  static constexpr float eps = 0, softCap = 0; using Weights = F32; };
struct Next { static constexpr int In = 80, Out = 48, SourceStride = 80, SourceAt = 0, DestStride = 48, MaxRows = 4;
  static constexpr bool Norm = true, NormOffset = false, HasBias = false, HasResidual = false, Wanted = false, Sums = true;
  static constexpr float eps = 1e-5f, softCap = 0; using Weights = F32; };
struct Rows { static constexpr int Features = 80, MaxRows = 4; static constexpr bool HasResidual = true; };
struct Arguments { const float *x, *stream, *gain; const uint8_t *share, *next; float *own, *sums, *y; };
constexpr int kPart = 3 * 80, kX = 3 * 64, kY = 3 * 48;
RETORT_DEVICE int64_t inbox(int i) { return i % 2 * 4096; }
RETORT_DEVICE Partials partials(const Cta &cta, const Arguments &a, int i) {
  const float *own = a.own + i % 2 * kPart, *other = cta.received(inbox(i));
  return {cta.step.device == 0 ? own : other, cta.step.device == 0 ? other : own, a.sums + i * kPart};
}
RETORT_DEVICE void share(Cta &cta, const Arguments &a, int i) {
  matmul<Share>(cta, a.x + i * kX, nullptr, a.share, a.own + i % 2 * kPart, nullptr, nullptr, nullptr,
                cta.sent(inbox(i)));
}
RETORT_DEVICE void next(Cta &cta, const Arguments &a, int i) {
  matmul<Next>(cta, a.stream, a.gain, a.next, a.y + i * kY, nullptr, nullptr, nullptr, nullptr,
               partials(cta, a, i));
}
)";

const char *const kPersistent = R"(
RETORT_KERNEL(k_step, kThreads, 1, const retort_cuda_step *step, Arguments a) {
  Cta cta(step);
  matmulFetch<Share>(cta, a.share);
  for (int i = 0; i < 5; ++i) {
    cta.wait();
    share(cta, a, i);
    const uint32_t ticket = cta.arriveSending(i);
    matmulFetch<Next>(cta, a.next);
    cta.waitReceiving(ticket, i);
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
    cta.waitReceiving(cta.arriveSending(i), i);
    const Partials p = partials(cta, a, i);
    sum<Rows>(cta, p.first, p.second, a.stream, p.sum);
  }
}
// Wrong: the flag is raised by a CTA that is done itself, whatever the others are.
RETORT_KERNEL(k_early, kThreads, 1, const retort_cuda_step *step, Arguments a) {
  Cta cta(step);
  matmulFetch<Share>(cta, a.share);
  share(cta, a, 0);
  ctaSync();
  if (ctaIndex() == 0 && threadIndex() == 0)
    cta.raiseFlag(0);
  matmulFetch<Next>(cta, a.next);
  cta.receive(0);
  next(cta, a, 0);
}
)";

const char *const kGraph = R"(
RETORT_KERNEL(k_share, kThreads, 1, const retort_cuda_step *step, Arguments a, int32_t i) {
  Cta cta(step);
  matmulFetch<Share>(cta, a.share);
  cta.wait();
  share(cta, a, i);
  cta.send(i);
}
RETORT_KERNEL(k_next, kThreads, 1, const retort_cuda_step *step, Arguments a, int32_t i) {
  Cta cta(step);
  matmulFetch<Next>(cta, a.next);
  cta.wait();
  cta.receive(i);
  next(cta, a, i);
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
  std::vector<Device> all{2};
  std::vector<float> stream = randomValues(kPart, 1), gain = randomValues(kHidden, 2);
  Packed next = packMatrix("mma16", {weight::Kind::F32, 0, true}, kOut, kHidden, 3);

  void open(bool peers, int seed, int arch, const std::string &text) {
    set("devices", 2);
    set("peers", peers);
    set("seed", seed);
    set("host_wait_ms", 2000);
    CudaKernels::open(arch, 3, /*check=*/true);
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
      device.x = randomValues(kExchanges * kRows * kIn, unsigned(10 + d));
      device.weights =
          packMatrix("mma16", {weight::Kind::F32, 0, true}, kHidden, kIn, unsigned(20 + d));
      device.arguments = {upload(device.x),
                          upload(stream),
                          upload(gain),
                          upload(device.weights.bytes),
                          upload(next.bytes),
                          upload(std::vector<float>(2 * kPart)),
                          upload(std::vector<float>(kExchanges * kPart, NAN)),
                          upload(std::vector<float>(kExchanges * kRows * kOut, NAN))};
      device.activations = upload(std::vector<uint8_t>(8192));
      device.sync = upload(std::vector<uint32_t>(64));
    }
    CUdeviceptr inbox[2], flags[2];
    for (int d = 0; d < 2; ++d) {
      inbox[d] = all[size_t(d)].activations, flags[d] = all[size_t(d)].sync;
      if (peers)
        continue;
      void *host = nullptr;
      ASSERT_EQ(cuda.cuMemAllocHost(&host, 8192 + 256), CUDA_SUCCESS);
      std::memset(host, 0, 8192 + 256);
      ASSERT_EQ(cuda.cuMemHostGetDevicePointer(&inbox[d], host, 0), CUDA_SUCCESS);
      flags[d] = inbox[d] + 8192;
    }
    step = {};
    for (int d = 0; d < 2; ++d)
      step.peers[d] = {pointer<uint8_t>(inbox[d]), pointer<uint32_t>(flags[d])};
    step.num_rows = kRows;
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
  /// Sums and results of both devices against loops and against each other.
  void compare(bool products = true) {
    std::vector<float> sums[2], y[2];
    for (int d = 0; d < 2; ++d) {
      cuda.cuCtxSetCurrent(contexts[size_t(d)]);
      sums[d] = download<float>(all[size_t(d)].arguments.sums, kExchanges * kPart);
      y[d] = download<float>(all[size_t(d)].arguments.y, kExchanges * kRows * kOut);
    }
    ASSERT_EQ(std::memcmp(sums[0].data(), sums[1].data(), sums[0].size() * 4), 0)
        << "the devices have other bits";
    for (int i = 0; i < kExchanges; ++i)
      for (int r = 0; r < kRows; ++r) {
        const float *got = sums[0].data() + i * kPart + r * kHidden;
        double squares = 0;
        for (int n = 0; n < kHidden; ++n) {
          double want = stream[size_t(r * kHidden + n)];
          for (const Device &device : all)
            for (int k = 0; k < kIn; ++k)
              want += double(roundHalf(device.x[size_t((i * kRows + r) * kIn + k)])) *
                      roundHalf(device.weights.values[size_t(n * kIn + k)]);
          ASSERT_NEAR(got[n], want, 2e-2) << "exchange " << i << " row " << r << " " << n;
          squares += double(got[n]) * got[n];
        }
        const double scale = 1 / std::sqrt(squares / kHidden + 1e-5);
        for (int m = 0; products && m < kOut; ++m) {
          double want = 0;
          for (int n = 0; n < kHidden; ++n)
            want += got[n] * scale * gain[size_t(n)] * next.values[size_t(m * kHidden + n)];
          for (const std::vector<float> &values : y)
            ASSERT_NEAR(values[size_t((i * kRows + r) * kOut + m)], want, 2e-2);
        }
      }
  }
  static std::string program(const char *kernels, bool graph = false) {
    return std::string(graph ? "#define RETORT_GRAPH 1\n" : "") +
           "#include \"kernels/cuda/program.cuh\"\nusing namespace retort::cuda;\n" + kShapes +
           kernels;
  }
};

TEST_F(Exchanges, PersistentKernelsAddUpInTheNextProduct) {
  for (bool peers : {true, false})
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

TEST_F(Exchanges, APhaseAddsUpWhatNoPrologueCan) {
  open(true, 3, 80, program(kPersistent));
  prepare(7);
  for (int d : {1, 0})
    launchOn(d, "k_rows", true);
  finish();
  compare(/*products=*/false);
  EXPECT_EQ(kinds(), std::vector<std::string>()) << report()["findings"].dump(1).substr(0, 2000);
}

TEST_F(Exchanges, AKernelAPhase) {
  for (bool peers : {true, false}) {
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

TEST_F(Exchanges, AFlagThatIsRaisedTooEarlyIsARace) {
  open(true, 0, 90, program(kPersistent));
  prepare(1);
  for (int d : {0, 1})
    launchOn(d, "k_early", true);
  finish();
  EXPECT_NE(kinds(), std::vector<std::string>());
}

} // namespace
} // namespace retort::test
