//===- DriverTest.cpp - Streams, graphs, devices, limits, failures --------===//
// SPDX-License-Identifier: Apache-2.0
#include "test/unit/Sim/Sim.h"
#include <chrono>
#include <thread>

namespace retort::test {
namespace {

const char *const kKernels = R"(
RETORT_KERNEL(fill, 128, 1, uint32_t *a, uint32_t value) { a[ctaIndex() * 128 + threadIndex()] = value; }
RETORT_KERNEL(twice, 128, 1, uint32_t *a) { a[ctaIndex() * 128 + threadIndex()] *= 2; }
RETORT_KERNEL(copy, 128, 1, const uint32_t *a, uint32_t *b) { b[ctaIndex() * 128 + threadIndex()] = a[ctaIndex() * 128 + threadIndex()]; }
RETORT_KERNEL(copyOther, 128, 1, const uint32_t *a, uint32_t *b) { b[ctaIndex() * 128 + threadIndex()] = a[(ctaIndex() ^ 1) * 128 + threadIndex()]; }
// Dependent launches: what comes before pdlWait may run beside the launch before.
RETORT_KERNEL(fillAndSay, 128, 1, uint32_t *a, uint32_t value) { pdlLaunchDependents(); pdlWait(); a[ctaIndex() * 128 + threadIndex()] = value; }
RETORT_KERNEL(copyAfterWait, 128, 1, const uint32_t *a, uint32_t *b) { pdlLaunchDependents(); pdlWait(); b[ctaIndex() * 128 + threadIndex()] = a[(ctaIndex() ^ 1) * 128 + threadIndex()]; }
RETORT_KERNEL(copyBeforeWait, 128, 1, const uint32_t *a, uint32_t *b) { const uint32_t x = ldGlobal32(a + (ctaIndex() ^ 1) * 128 + threadIndex()); pdlWait(); b[ctaIndex() * 128 + threadIndex()] = x; }
RETORT_KERNEL(wild, 128, 1, uint32_t *a, uint64_t distance) { if (threadIndex() == 77) a[distance] = 1; }
RETORT_DEVICE uint32_t deep(volatile uint32_t *a, uint32_t n) { volatile uint32_t local[1024]; local[n % 1024] = n; return n ? local[n % 1024] + a[0] : 0; }
__attribute__((noinline)) uint32_t recurse(volatile uint32_t *a, uint32_t n) { return n ? deep(a, n) + recurse(a, n - 1) + a[1] : 0; }
RETORT_KERNEL(deepStack, 128, 1, uint32_t *a, uint64_t depth) { a[2] = recurse(a, uint32_t(depth)); }
RETORT_KERNEL(big, 1024, 1, uint32_t *a) { sharedArena()[threadIndex()] = 1; a[0] = 1; }
)";

class Driver : public Sim {
protected:
  CUmodule module = nullptr;
  CUresult on(CUstream stream, const char *kernel, std::vector<uint64_t> arguments,
              bool dependent = false, unsigned grid = 4) {
    std::vector<void *> parameters;
    for (uint64_t &a : arguments)
      parameters.push_back(&a);
    CUlaunchAttribute attribute{};
    attribute.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    attribute.value.programmaticStreamSerializationAllowed = 1;
    const CUlaunchConfig config{grid, 1, 1, 128, 1, 1, 0, stream, &attribute, dependent ? 1u : 0u};
    return cuda.cuLaunchKernelEx(&config, function(module, kernel), parameters.data(), nullptr);
  }
  void begin() {
    start();
    module = load(kKernels);
  }
};

TEST_F(Driver, StreamsKeepTheirOrder) {
  begin();
  CUstream stream = nullptr;
  ASSERT_EQ(cuda.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), CUDA_SUCCESS);
  const CUdeviceptr a = upload(std::vector<uint32_t>(512));
  void *pinned = nullptr;
  ASSERT_EQ(cuda.cuMemAllocHost(&pinned, 2048), CUDA_SUCCESS);
  auto *words = static_cast<uint32_t *>(pinned);
  words[0] = 21;
  EXPECT_EQ(cuda.cuStreamSynchronize(nullptr), CUDA_SUCCESS);
  EXPECT_EQ(cuda.cuMemsetD8Async(a, 1, 2048, stream), CUDA_SUCCESS);
  EXPECT_EQ(cuda.cuMemcpyHtoDAsync(a, pinned, 4, stream), CUDA_SUCCESS);
  EXPECT_EQ(on(stream, "twice", {a}), CUDA_SUCCESS);
  EXPECT_EQ(cuda.cuMemcpyDtoHAsync(pinned, a, 2048, stream), CUDA_SUCCESS);
  EXPECT_EQ(words[0],
            21u); // nothing ran yet: pinned memory is read and written when its turn comes
  EXPECT_EQ(cuda.cuStreamSynchronize(stream), CUDA_SUCCESS);
  EXPECT_EQ(words[0], 42u);
  EXPECT_EQ(words[511], 0x02020202u);
  EXPECT_EQ(cuda.cuMemFreeHost(pinned), CUDA_SUCCESS);
  EXPECT_EQ(cuda.cuStreamDestroy(stream), CUDA_SUCCESS);
}

TEST_F(Driver, EventsOrderStreams) {
  for (const bool ordered : {true, false}) {
    set("check", 1);
    begin();
    library().clear();
    CUstream first = nullptr, second = nullptr;
    CUevent event = nullptr, never = nullptr;
    cuda.cuStreamCreate(&first, CU_STREAM_NON_BLOCKING);
    cuda.cuStreamCreate(&second, CU_STREAM_NON_BLOCKING);
    cuda.cuEventCreate(&event, CU_EVENT_DEFAULT);
    cuda.cuEventCreate(&never, CU_EVENT_DEFAULT);
    const CUdeviceptr a = upload(std::vector<uint32_t>(512)),
                      b = upload(std::vector<uint32_t>(512));
    cuda.cuCtxSynchronize();
    EXPECT_EQ(on(first, "fill", {a, 7}), CUDA_SUCCESS);
    EXPECT_EQ(cuda.cuEventRecord(event, first), CUDA_SUCCESS);
    if (ordered)
      EXPECT_EQ(cuda.cuStreamWaitEvent(second, event, 0), CUDA_SUCCESS);
    EXPECT_EQ(cuda.cuStreamWaitEvent(second, never, 0),
              CUDA_SUCCESS); // never recorded: nothing to wait for
    EXPECT_EQ(on(second, "copyOther", {a, b}), CUDA_SUCCESS);
    EXPECT_EQ(cuda.cuStreamSynchronize(second), CUDA_SUCCESS);
    EXPECT_EQ(cuda.cuEventSynchronize(event), CUDA_SUCCESS);
    EXPECT_EQ(cuda.cuEventQuery(event), CUDA_SUCCESS);
    EXPECT_EQ(kinds(),
              ordered ? std::vector<std::string>{} : std::vector<std::string>{"race-global"});
    if (ordered)
      EXPECT_EQ(download<uint32_t>(b, 512)[300], 7u);
    cuda.cuEventDestroy(event);
    cuda.cuEventDestroy(never);
    cuda.cuStreamDestroy(first);
    cuda.cuStreamDestroy(second);
    TearDown();
  }
}

TEST_F(Driver, CopiesAreOrderedToo) {
  for (const bool ordered : {true, false}) {
    set("check", 1);
    begin();
    library().clear();
    CUstream compute = nullptr, copies = nullptr;
    CUevent event = nullptr;
    void *pinned = nullptr;
    cuda.cuStreamCreate(&compute, CU_STREAM_NON_BLOCKING);
    cuda.cuStreamCreate(&copies, CU_STREAM_NON_BLOCKING);
    cuda.cuEventCreate(&event, CU_EVENT_DEFAULT);
    cuda.cuMemAllocHost(&pinned, 2048);
    const CUdeviceptr a = upload(std::vector<uint32_t>(512)),
                      b = upload(std::vector<uint32_t>(512));
    cuda.cuCtxSynchronize();
    EXPECT_EQ(cuda.cuMemcpyHtoDAsync(a, pinned, 2048, copies), CUDA_SUCCESS);
    EXPECT_EQ(cuda.cuEventRecord(event, copies), CUDA_SUCCESS);
    if (ordered)
      EXPECT_EQ(cuda.cuStreamWaitEvent(compute, event, 0), CUDA_SUCCESS);
    EXPECT_EQ(on(compute, "copy", {a, b}), CUDA_SUCCESS);
    EXPECT_EQ(cuda.cuCtxSynchronize(), CUDA_SUCCESS);
    EXPECT_EQ(kinds(),
              ordered ? std::vector<std::string>{} : std::vector<std::string>{"race-global"});
    // And the other way: read back before the kernel has written.
    library().clear();
    EXPECT_EQ(on(compute, "fill", {b, 1}), CUDA_SUCCESS);
    EXPECT_EQ(cuda.cuEventRecord(event, compute), CUDA_SUCCESS);
    if (ordered)
      EXPECT_EQ(cuda.cuStreamWaitEvent(copies, event, 0), CUDA_SUCCESS);
    EXPECT_EQ(cuda.cuMemcpyDtoHAsync(pinned, b, 2048, copies), CUDA_SUCCESS);
    EXPECT_EQ(cuda.cuCtxSynchronize(), CUDA_SUCCESS);
    EXPECT_EQ(kinds(),
              ordered ? std::vector<std::string>{} : std::vector<std::string>{"race-global"});
    cuda.cuMemFreeHost(pinned);
    cuda.cuEventDestroy(event);
    cuda.cuStreamDestroy(compute);
    cuda.cuStreamDestroy(copies);
    TearDown();
  }
}

// The default stream and ordinary streams wait for each other.
TEST_F(Driver, DefaultStreamOrdersOthers) {
  set("check", 1);
  begin();
  CUstream stream = nullptr;
  cuda.cuStreamCreate(&stream, CU_STREAM_DEFAULT);
  const CUdeviceptr a = upload(std::vector<uint32_t>(512)), b = upload(std::vector<uint32_t>(512));
  EXPECT_EQ(on(stream, "fill", {a, 5}), CUDA_SUCCESS);
  EXPECT_EQ(on(nullptr, "twice", {a}), CUDA_SUCCESS);
  EXPECT_EQ(on(stream, "copyOther", {a, b}), CUDA_SUCCESS);
  EXPECT_EQ(on(nullptr, "twice", {b}), CUDA_SUCCESS);
  EXPECT_EQ(download<uint32_t>(b, 512)[400], 20u);
  EXPECT_EQ(kinds(), std::vector<std::string>{}) << report()["findings"].dump(1);
  cuda.cuStreamDestroy(stream);
}

TEST_F(Driver, GraphsReplay) {
  set("check", 1);
  begin();
  CUstream stream = nullptr;
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  cuda.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING);
  const CUdeviceptr a = upload(std::vector<uint32_t>(512, 3)),
                    b = upload(std::vector<uint32_t>(512));
  cuda.cuCtxSynchronize();
  ASSERT_EQ(cuda.cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL), CUDA_SUCCESS);
  EXPECT_EQ(on(stream, "twice", {a}), CUDA_SUCCESS);
  EXPECT_EQ(on(stream, "copyOther", {a, b}, true), CUDA_SUCCESS);
  EXPECT_EQ(cuda.cuStreamSynchronize(stream), CUDA_ERROR_NOT_PERMITTED);
  ASSERT_EQ(cuda.cuStreamEndCapture(stream, &graph), CUDA_SUCCESS);
  EXPECT_EQ(download<uint32_t>(a, 1)[0], 3u); // captured, not run
  ASSERT_EQ(cuda.cuGraphInstantiateWithFlags(&exec, graph, 0), CUDA_SUCCESS);
  EXPECT_EQ(cuda.cuGraphDestroy(graph), CUDA_SUCCESS);
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(cuda.cuGraphLaunch(exec, stream), CUDA_SUCCESS);
  EXPECT_EQ(cuda.cuStreamSynchronize(stream), CUDA_SUCCESS);
  EXPECT_EQ(download<uint32_t>(b, 512)[511], 24u);
  EXPECT_EQ(kinds(), std::vector<std::string>{
                         "race-global"}); // dependent, and never waits for what it depends on
  EXPECT_EQ(cuda.cuGraphExecDestroy(exec), CUDA_SUCCESS);
  cuda.cuStreamDestroy(stream);
}

TEST_F(Driver, DependentLaunchesOverlap) {
  for (const char *kernel : {"copyAfterWait", "copyBeforeWait"}) {
    set("check", 1);
    begin();
    library().clear();
    const CUdeviceptr a = upload(std::vector<uint32_t>(512)),
                      b = upload(std::vector<uint32_t>(512));
    CUstream stream = nullptr;
    cuda.cuCtxSynchronize();
    cuda.cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING);
    EXPECT_EQ(on(stream, "fillAndSay", {a, 7}), CUDA_SUCCESS);
    EXPECT_EQ(on(stream, kernel, {a, b}, true), CUDA_SUCCESS);
    EXPECT_EQ(on(stream, "copyAfterWait", {b, a}, true), CUDA_SUCCESS);
    EXPECT_EQ(cuda.cuStreamSynchronize(stream), CUDA_SUCCESS);
    const bool right = std::string(kernel) == "copyAfterWait";
    EXPECT_EQ(kinds(), right ? std::vector<std::string>{} : std::vector<std::string>{"race-global"})
        << kernel;
    if (right)
      EXPECT_EQ(download<uint32_t>(a, 512)[5], 7u);
    cuda.cuStreamDestroy(stream);
    TearDown();
  }
}

TEST_F(Driver, ManyCtasRunInTurn) {
  for (const uint64_t seed : {0, 9}) {
    set("seed", int64_t(seed));
    begin();
    const CUdeviceptr a = upload(std::vector<uint32_t>(128 * 100));
    EXPECT_EQ(on(nullptr, "fill", {a, 5}, false, 100), CUDA_SUCCESS);
    EXPECT_EQ(download<uint32_t>(a, 12800), std::vector<uint32_t>(12800, 5));
    TearDown();
  }
}

TEST_F(Driver, RefusesWhatACardWould) {
  begin();
  const CUdeviceptr a = upload(std::vector<uint32_t>(1024));
  const CUfunction big = function(module, "big"), fill = function(module, "fill");
  EXPECT_EQ(launch(big, 1, 1024, 49153, false, a), CUDA_ERROR_INVALID_VALUE); // not asked for
  EXPECT_EQ(cuda.cuFuncSetAttribute(big, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 232449),
            CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(cuda.cuFuncSetAttribute(big, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 232448),
            CUDA_SUCCESS);
  EXPECT_EQ(launch(big, 1, 1024, 232448, false, a), CUDA_SUCCESS);
  EXPECT_EQ(launch(fill, 1, 256, 0, false, a, 1u),
            CUDA_ERROR_INVALID_VALUE); // more than its launch bounds
  EXPECT_EQ(launch(big, 1, 1025, 0, false, a), CUDA_ERROR_INVALID_VALUE);
  EXPECT_EQ(launch(big, 5, 1024, 200000, true, a), CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
  int ctas = 0;
  EXPECT_EQ(cuda.cuOccupancyMaxActiveBlocksPerMultiprocessor(&ctas, big, 1024, 200000),
            CUDA_SUCCESS);
  EXPECT_EQ(ctas, 1);
  int value = 0;
  EXPECT_EQ(cuda.cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0),
            CUDA_SUCCESS);
  EXPECT_EQ(value, 9);
  EXPECT_EQ(cuda.cuCtxSynchronize(), CUDA_SUCCESS);
  set("arch", 86);
  EXPECT_EQ(
      cuda.cuDeviceGetAttribute(&value, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 0),
      CUDA_SUCCESS);
  EXPECT_EQ(value, 101376);
  EXPECT_EQ(cuda.cuFuncSetAttribute(big, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 101377),
            CUDA_ERROR_INVALID_VALUE);
}

TEST_F(Driver, FaultsEndTheLaunchOnly) {
  for (const auto &[kernel, argument] : std::initializer_list<std::pair<const char *, uint64_t>>{
           {"wild", 1 << 30}, {"wild", uint64_t(1) << 60}, {"deepStack", 100}}) {
    library().clear();
    begin(); // without checks
    const CUdeviceptr a = upload(std::vector<uint32_t>(512));
    EXPECT_EQ(cuda.cuCtxSynchronize(), CUDA_SUCCESS);
    EXPECT_EQ(on(nullptr, kernel, {a, argument}), CUDA_SUCCESS);
    EXPECT_EQ(cuda.cuCtxSynchronize(), CUDA_ERROR_ILLEGAL_ADDRESS) << kernel;
    EXPECT_EQ(kinds(), std::vector<std::string>{"out-of-bounds"}) << kernel;
    TearDown(); // the context ends, and with it the error
  }
  begin();
  const CUdeviceptr a = upload(std::vector<uint32_t>(512));
  EXPECT_EQ(on(nullptr, "fill", {a, 3}), CUDA_SUCCESS);
  EXPECT_EQ(download<uint32_t>(a, 1)[0], 3u);
}

TEST_F(Driver, RefusesModules) {
  begin();
  CUmodule bad = nullptr;
  EXPECT_EQ(cuda.cuModuleLoadData(&bad, "int f( {"), CUDA_ERROR_INVALID_SOURCE);
  EXPECT_NE(std::string(library().error()).find("error: "), std::string::npos) << library().error();
  EXPECT_EQ(cuda.cuModuleLoadData(&bad, "\x50\xed\x55\xba\x01\x00\x10"),
            CUDA_ERROR_NO_BINARY_FOR_GPU);
  CUfunction none = nullptr;
  EXPECT_EQ(cuda.cuModuleGetFunction(&none, module, "absent"), CUDA_ERROR_NOT_FOUND);
}

TEST_F(Driver, MemoryRunsOut) {
  set("memory", 1 << 20);
  begin();
  CUdeviceptr half = 0, more = 0;
  size_t free = 0, total = 0;
  ASSERT_EQ(cuda.cuMemAlloc(&half, 600 << 10), CUDA_SUCCESS);
  EXPECT_EQ(cuda.cuMemAlloc(&more, 600 << 10), CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(cuda.cuMemGetInfo(&free, &total), CUDA_SUCCESS);
  EXPECT_EQ(free, size_t(424 << 10));
  EXPECT_EQ(total, size_t(1 << 20));
  EXPECT_EQ(cuda.cuMemFree(half), CUDA_SUCCESS);
  ASSERT_EQ(cuda.cuMemAlloc(&more, 600 << 10), CUDA_SUCCESS);
  set("fail_allocation", 1);
  EXPECT_EQ(cuda.cuMemAlloc(&half, 16), CUDA_SUCCESS);
  EXPECT_EQ(cuda.cuMemAlloc(&half, 16), CUDA_ERROR_OUT_OF_MEMORY);
}

TEST_F(Driver, DevicesAreLost) {
  begin();
  const CUdeviceptr a = upload(std::vector<uint32_t>(512));
  set("lose_device", 2);
  EXPECT_EQ(on(nullptr, "twice", {a}), CUDA_SUCCESS);
  EXPECT_EQ(on(nullptr, "twice", {a}), CUDA_SUCCESS);
  EXPECT_EQ(cuda.cuCtxSynchronize(), CUDA_SUCCESS);
  EXPECT_EQ(on(nullptr, "twice", {a}), CUDA_SUCCESS); // a launch does not wait
  EXPECT_EQ(cuda.cuCtxSynchronize(), CUDA_ERROR_ECC_UNCORRECTABLE);
  CUdeviceptr more = 0;
  EXPECT_EQ(cuda.cuMemAlloc(&more, 16), CUDA_ERROR_ECC_UNCORRECTABLE); // from now on
}

//===- Two devices --------------------------------------------------------===//

const char *const kExchange = R"(
// Each device pushes its words to the other and sets a flag there, then waits for its own flag and adds.
template <int Release, int Acquire> RETORT_DEVICE void exchange(uint32_t *mine, uint32_t *peer, uint32_t *myFlag, uint32_t *peerFlag, uint32_t *out) {
  peer[threadIndex()] = 100 + threadIndex();
  ctaSync();
  if (threadIndex() == 0) {
    if (Release == 0) { fenceSys(); storeRelaxedSys(peerFlag, 1); }
    if (Release == 1) storeReleaseSys(peerFlag, 1);
    if (Release == 2) storeReleaseGpu(peerFlag, 1);
    if (Release == 3) { fenceGpu(); storeRelaxedSys(peerFlag, 1); }
    if (Release == 4) storeRelaxedSys(peerFlag, 1);
    if (Acquire == 0) { while (loadRelaxedSys(myFlag) == 0) spinPause(); fenceSys(); }
    if (Acquire == 1) while (loadAcquireSys(myFlag) == 0) spinPause();
    if (Acquire == 2) while (loadAcquireGpu(myFlag) == 0) spinPause();
    if (Acquire == 3) { while (loadRelaxedSys(myFlag) == 0) spinPause(); fenceGpu(); }
  }
  ctaSync();
  out[threadIndex()] = mine[threadIndex()];
}
#define EXCHANGE(r, a) RETORT_KERNEL(exchange##r##a, 128, 1, uint32_t *mine, uint32_t *peer, uint32_t *myFlag, uint32_t *peerFlag, uint32_t *out) { exchange<r, a>(mine, peer, myFlag, peerFlag, out); }
EXCHANGE(0, 0) EXCHANGE(0, 1) EXCHANGE(1, 0) EXCHANGE(1, 1) EXCHANGE(2, 1) EXCHANGE(3, 1) EXCHANGE(4, 1) EXCHANGE(1, 2) EXCHANGE(1, 3)
)";

class Exchange : public Driver {
protected:
  CUdeviceptr data[2], flags[2], out[2];
  void begin(bool host) {
    set("devices", 2);
    set("check", 1);
    library().clear();
    start();
    for (int d = 0; d < 2; ++d) {
      cuda.cuCtxSetCurrent(contexts[size_t(d)]);
      if (host) { // the exchange goes through pinned memory
        void *memory = nullptr;
        cuda.cuMemAllocHost(&memory, 4096);
        memset(memory, 0, 4096);
        cuda.cuMemHostGetDevicePointer(&data[d], memory, 0);
        flags[d] = data[d] + 2048;
      } else {
        data[d] = upload(std::vector<uint32_t>(128));
        flags[d] = upload(std::vector<uint32_t>(1));
        if (cuda.cuCtxEnablePeerAccess(contexts[size_t(1 - d)], 0) != CUDA_SUCCESS)
          continue;
      }
      out[d] = upload(std::vector<uint32_t>(128));
      cuda.cuCtxSynchronize();
    }
  }
  CUresult runBoth(const std::string &name) {
    for (int d = 0; d < 2; ++d) {
      cuda.cuCtxSetCurrent(contexts[size_t(d)]);
      CUfunction f = function(load(kExchange), name.c_str());
      EXPECT_EQ(launch(f, 1, 128, 0, true, data[d], data[1 - d], flags[d], flags[1 - d], out[d]),
                CUDA_SUCCESS);
    }
    CUresult worst = CUDA_SUCCESS;
    for (int d = 0; d < 2; ++d) {
      cuda.cuCtxSetCurrent(contexts[size_t(d)]);
      if (const CUresult result = cuda.cuCtxSynchronize(); result != CUDA_SUCCESS)
        worst = result;
    }
    return worst;
  }
};

TEST_F(Exchange, FencesBetweenDevices) {
  for (const bool host : {false, true})
    for (const auto &[name, right] :
         std::initializer_list<std::pair<const char *, bool>>{{"exchange00", true},
                                                              {"exchange01", true},
                                                              {"exchange10", true},
                                                              {"exchange11", true},
                                                              {"exchange21", false},
                                                              {"exchange31", false},
                                                              {"exchange41", false},
                                                              {"exchange12", false},
                                                              {"exchange13", false}}) {
      begin(host);
      EXPECT_EQ(runBoth(name), CUDA_SUCCESS) << name;
      EXPECT_EQ(kinds(),
                right ? std::vector<std::string>{} : std::vector<std::string>{"missing-fence"})
          << name << report()["findings"].dump(1);
      EXPECT_EQ(download<uint32_t>(out[1], 128)[5], 105u);
      TearDown();
    }
}

TEST_F(Exchange, PeersMayBeOff) {
  set("peers", 0);
  set("devices", 2);
  start();
  int can = 1;
  EXPECT_EQ(cuda.cuDeviceCanAccessPeer(&can, 0, 1), CUDA_SUCCESS);
  EXPECT_EQ(can, 0);
  EXPECT_EQ(cuda.cuCtxEnablePeerAccess(contexts[1], 0), CUDA_ERROR_PEER_ACCESS_UNSUPPORTED);
  TearDown();
  // A kernel that touches the peer's memory all the same.
  begin(false);
  cuda.cuCtxSetCurrent(contexts[0]);
  for (int d = 0; d < 2; ++d)
    out[d] = data[d];
  EXPECT_EQ(runBoth("exchange11"), CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_EQ(kinds(), std::vector<std::string>{"out-of-bounds"}) << report()["findings"].dump(1);
}

TEST_F(Exchange, EachDeviceMayHaveItsThread) {
  begin(false);
  set("host_wait_ms", 5000);
  std::vector<CUresult> results(2, CUDA_ERROR_UNKNOWN);
  CUfunction f[2];
  for (int d = 0; d < 2; ++d) {
    cuda.cuCtxSetCurrent(contexts[size_t(d)]);
    f[d] = function(load(kExchange), "exchange11");
  }
  std::vector<std::thread> threads;
  for (int d = 0; d < 2; ++d)
    threads.emplace_back([&, d] {
      cuda.cuCtxSetCurrent(contexts[size_t(d)]);
      if (d == 1)
        std::this_thread::sleep_for(
            std::chrono::milliseconds(50)); // the other stalls until this launch comes
      results[size_t(d)] =
          launch(f[d], 1, 128, 0, true, data[d], data[1 - d], flags[d], flags[1 - d], out[d]);
      if (results[size_t(d)] == CUDA_SUCCESS)
        results[size_t(d)] = cuda.cuCtxSynchronize();
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(results, std::vector<CUresult>(2, CUDA_SUCCESS));
  EXPECT_EQ(kinds(), std::vector<std::string>{});
}

} // namespace
} // namespace retort::test
