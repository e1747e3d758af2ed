//===- Driver.cpp - The driver API over the simulated machine -------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Streams are queues that run when somebody waits for them, all devices' together, so that kernels of several devices which
// exchange run at the same time whatever thread waits. One lock guards everything.
#include "kernels/sim/Driver.h"
#include "kernels/sim/sim.h"
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <map>
#include <mutex>
#include <set>

#define RETORT_EXPORT extern "C" __attribute__((visibility("default")))

namespace retort::sim {
Settings settings;
Device devices[kMaxDevices];

struct Operation {
  enum Kind { Launch, ToDevice, ToHost, Set, Record, Wait } kind;
  sim::Launch *launch = nullptr;
  uint8_t *to = nullptr;
  const uint8_t *from = nullptr;
  size_t bytes = 0;
  uint8_t value = 0;
  std::vector<uint8_t> staged = {}; // a copy from pageable memory, taken at the call
  CUevent event = nullptr;
  uint64_t version = 0, sequence = 0;
  Clock *host = nullptr;
  bool started = false, done = false;
};
} // namespace retort::sim

using namespace retort::sim;

struct CUctx_st {
  Device *device;
};
struct CUmod_st {
  void *handle;
  std::map<std::string, CUfunction> functions;
};
struct CUfunc_st : Function {};
struct CUevent_st {
  uint64_t recorded = 0, happened = 0; // versions
  double time = 0;
  CUgraph capture = nullptr;
  Clock *clock = nullptr;
};
struct CUgraph_st {
  std::vector<Operation> nodes;
};
struct CUgraphExec_st {
  std::vector<Operation> nodes;
};
struct CUstream_st {
  Device *device;
  bool blocking; // ordered with the default stream
  std::deque<Operation> operations;
  CUgraph capture = nullptr;
  bool captureOrigin = false;
  Clock *clock = nullptr;
  Clock *beforeLast = nullptr; // the clock before the latest launch, if nothing followed it
};

namespace {
std::mutex mutex;
std::condition_variable enqueued;
uint64_t numEnqueued = 0;
bool initialised = false;
CUctx_st contexts[kMaxDevices];
thread_local CUcontext current = nullptr;
std::set<Allocation *> allocations;
Clock *hostClock = nullptr;

double now() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// A clock that may be absent (not checking).
void joinInto(Clock *&into, const Clock *from) {
  if (!from)
    return;
  if (!into)
    into = newClock();
  join(into, from);
}

//===- Settings -----------------------------------------------------------===//

bool set(const std::string &name, long long value) {
  const auto within = [&](long long low, long long high) { return value >= low && value <= high; };
  if (name == "devices" && within(0, kMaxDevices))
    settings.devices = unsigned(value);
  else if (name == "sms" && within(1, 256))
    settings.multiprocessors = unsigned(value);
  else if (name == "arch" && within(80, 129))
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
  for (const char *name : {"devices", "sms", "arch", "seed", "memory", "peers", "check", "count", "fail_allocation",
                           "lose_device", "lost_device", "host_wait_ms"}) {
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

//===- Running ------------------------------------------------------------===//

void forEachStream(const std::function<void(CUstream)> &visit) {
  for (unsigned d = 0; d < settings.devices; ++d)
    for (CUstream stream : devices[d].streams)
      visit(stream);
}

/// Whether an earlier operation of the default stream, or of the streams that it is ordered with, is unfinished.
bool heldByDefaultStream(CUstream stream, uint64_t sequence) {
  const Device &device = *stream->device;
  const auto before = [&](CUstream other) {
    return other && !other->operations.empty() && other->operations.front().sequence < sequence;
  };
  if (stream == device.defaultStream)
    return std::any_of(device.streams.begin(), device.streams.end(), [&](CUstream other) {
      return other != stream && other->blocking && before(other);
    });
  return stream->blocking && before(device.defaultStream);
}

bool startLaunch(CUstream stream, Operation &op, Launch *before) {
  Device &device = *stream->device;
  if (settings.loseDevice >= 0 && device.index == settings.lostDevice && device.error == CUDA_SUCCESS)
    if (settings.loseDevice-- == 0)
      device.error = CUDA_ERROR_ECC_UNCORRECTABLE;
  if (device.error != CUDA_SUCCESS) {
    op.done = true;
    return false;
  }
  op.launch->before = before;
  if (settings.instrumented()) {
    // What a dependent launch follows it has not seen before pdlWait, even if that had ended.
    const bool unseen = op.launch->dependent && !before && stream->beforeLast;
    launchBegins(op.launch, unseen ? stream->beforeLast : stream->clock);
    if (unseen)
      joinInto(op.launch->prior, stream->clock);
  }
  beginLaunch(op.launch);
  op.started = true;
  return true;
}

void runNow(CUstream stream, Operation &op) {
  op.done = true;
  freeClock(stream->beforeLast);
  const bool works = stream->device->error == CUDA_SUCCESS;
  switch (op.kind) {
  case Operation::Launch:
    break;
  case Operation::ToDevice:
    if (works)
      memcpy(op.to, op.from ? op.from : op.staged.data(), op.bytes);
    break;
  case Operation::ToHost:
    if (works)
      memcpy(op.to, op.from, op.bytes);
    break;
  case Operation::Set:
    if (works)
      memset(op.to, op.value, op.bytes);
    break;
  case Operation::Record:
    op.event->happened = std::max(op.event->happened, op.version);
    op.event->time = now();
    joinInto(op.event->clock, stream->clock);
    break;
  case Operation::Wait:
    joinInto(stream->clock, op.event->clock);
    break;
  }
}

/// Starts the operations whose turn it is. True if there was one.
bool pump() {
  bool any = false;
  forEachStream([&](CUstream stream) {
    auto &operations = stream->operations;
    while (!operations.empty()) {
      Operation &op = operations.front();
      if (op.done) {
        freeClock(op.host);
        delete op.launch;
        operations.pop_front();
        any = true;
        continue;
      }
      if (op.started) {
        // A dependent launch starts when all CTAs of the one before it have ended or said so.
        if (operations.size() > 1 && op.launch->triggered == op.launch->grid)
          if (Operation &next = operations[1];
              next.kind == Operation::Launch && next.launch->dependent && !next.started && !next.done)
            any |= startLaunch(stream, next, op.launch);
        break;
      }
      if (heldByDefaultStream(stream, op.sequence) ||
          (op.kind == Operation::Wait && op.event->happened < op.version))
        break;
      joinInto(stream->clock, op.host);
      any = true;
      if (op.kind == Operation::Launch)
        startLaunch(stream, op, nullptr);
      else
        runNow(stream, op);
    }
  });
  return any;
}

void finishEnded() {
  for (Launch *launch : takeEnded()) {
    forEachStream([&](CUstream stream) {
      for (Operation &op : stream->operations)
        if (op.launch == launch) {
          op.done = true;
          if (launch->end) {
            freeClock(stream->beforeLast);
            joinInto(stream->beforeLast, launch->begin);
            joinInto(stream->beforeLast, stream->clock);
            joinInto(stream->clock, launch->end);
          }
        }
    });
    if (launch->device->error != CUDA_SUCCESS)
      abandon(launch->device);
    freeClock(launch->begin);
    freeClock(launch->end);
    freeClock(launch->prior);
  }
}

/// Runs everything until `done`. False if nothing is left that could make it so.
bool runUntil(std::unique_lock<std::mutex> &lock, const std::function<bool()> &done) {
  const FaultGuard guard;
  for (;;) {
    bool any = pump();
    if (done())
      return true;
    // Some turns between looks at the streams.
    Outcome outcome = Outcome::Progress;
    for (int i = 0; i < 64 && outcome == Outcome::Progress; ++i) {
      const uint64_t before = progress;
      outcome = step();
      if (auto ended = progress; ended != before && i % 8 == 7)
        break;
    }
    const size_t launches = runCounters.launches;
    finishEnded();
    any |= pump() || launches != runCounters.launches;
    if (outcome == Outcome::Progress || any || done())
      continue;
    // Another thread may be about to give the device what it waits for.
    const uint64_t seen = numEnqueued;
    if (enqueued.wait_for(lock, std::chrono::milliseconds(settings.hostWaitMs), [&] { return numEnqueued != seen; }))
      continue;
    if (outcome == Outcome::Idle)
      return false;
    reportDeadlock();
    finishEnded();
  }
}

//===- Helpers of the API -------------------------------------------------===//

struct Call {
  std::unique_lock<std::mutex> lock{mutex};
};

Device *currentDevice() { return current ? current->device : nullptr; }

/// The first reason why a call on the current context cannot be served.
CUresult usable() {
  if (!initialised)
    return CUDA_ERROR_NOT_INITIALIZED;
  if (!current)
    return CUDA_ERROR_INVALID_CONTEXT;
  return currentDevice()->error;
}

CUstream streamOf(CUstream stream) {
  Device *device = currentDevice();
  if (stream)
    return stream;
  if (!device->defaultStream) {
    device->defaultStream = new CUstream_st{device, true, {}};
    device->streams.push_back(device->defaultStream);
  }
  return device->defaultStream;
}

CUresult enqueue(CUstream stream, Operation op) {
  stream = streamOf(stream);
  if (stream->capture) {
    stream->capture->nodes.push_back(std::move(op));
    return CUDA_SUCCESS;
  }
  op.sequence = ++numEnqueued;
  joinInto(op.host, hostClock);
  stream->operations.push_back(std::move(op));
  enqueued.notify_all();
  return CUDA_SUCCESS;
}

CUresult synchronize(Call &call, CUstream stream) {
  if (stream->capture)
    return CUDA_ERROR_NOT_PERMITTED;
  runUntil(call.lock, [&] { return stream->operations.empty(); });
  joinInto(hostClock, stream->clock);
  return stream->device->error;
}

CUresult synchronizeDevice(Call &call, Device *device) {
  runUntil(call.lock, [&] {
    return std::all_of(device->streams.begin(), device->streams.end(),
                       [](CUstream s) { return s->operations.empty(); });
  });
  for (CUstream stream : device->streams)
    joinInto(hostClock, stream->clock);
  return device->error;
}

bool pinned(const void *p, size_t bytes) { return spaceOf(p) == kHostSpace && allocated(p, bytes); }
} // namespace

namespace retort::sim {

Limits limitsOf(unsigned arch) {
  switch (arch) {
  case 800:
    return {166912, 167936, 2048, 32};
  case 900:
  case 1000:
    return {232448, 233472, 2048, 32};
  default: // 8.6, 8.9, 12.0
    return {101376, 102400, 1536, arch == 860 ? 16u : 24u};
  }
}

unsigned occupancy(const Function &function, unsigned threads, size_t shared) {
  const Limits limits = limitsOf(settings.arch);
  if (threads == 0 || threads > function.kernel.threads || shared > limits.sharedPerCta)
    return 0;
  unsigned ctas = std::min(limits.ctasPerMultiprocessor, limits.threadsPerMultiprocessor / threads);
  ctas = std::min(ctas, unsigned(limits.sharedPerMultiprocessor / (shared + 1024))); // each CTA costs 1 KB beside its own
  // A kernel bounded to fewer threads may use more registers: 65536 a multiprocessor, at most 255 a thread.
  const unsigned registers = std::min(255u, 65536 / (function.kernel.threads * std::max(1u, function.kernel.ctasPerSm)));
  return std::min(ctas, 65536 / (registers * threads));
}
} // namespace retort::sim

//===- The driver API -----------------------------------------------------===//

RETORT_EXPORT CUresult cuInit(unsigned) {
  Call call;
  reserveSpaces();
  if (!spaceBase)
    return CUDA_ERROR_OUT_OF_MEMORY;
  if (!initialised)
    for (unsigned d = 0; d < kMaxDevices; ++d) {
      devices[d].index = d;
      contexts[d].device = &devices[d];
    }
  initialised = true;
  return settings.devices ? CUDA_SUCCESS : CUDA_ERROR_NO_DEVICE;
}
RETORT_EXPORT CUresult cuDriverGetVersion(int *version) {
  *version = 13000;
  return CUDA_SUCCESS;
}

namespace {
struct ErrorText {
  CUresult code;
  const char *name, *text;
};
const ErrorText errorTexts[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image is available for execution on the device"},
    {CUDA_ERROR_ECC_UNCORRECTABLE, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
    {CUDA_ERROR_PEER_ACCESS_UNSUPPORTED, "CUDA_ERROR_PEER_ACCESS_UNSUPPORTED", "peer access is not supported between these two devices"},
    {CUDA_ERROR_INVALID_SOURCE, "CUDA_ERROR_INVALID_SOURCE", "device kernel image is invalid"},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {CUDA_ERROR_LAUNCH_TIMEOUT, "CUDA_ERROR_LAUNCH_TIMEOUT", "the launch timed out and was terminated"},
    {CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, "CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED", "peer access is already enabled"},
    {CUDA_ERROR_MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE", "too many blocks in cooperative launch"},
    {CUDA_ERROR_NOT_PERMITTED, "CUDA_ERROR_NOT_PERMITTED", "operation not permitted"},
    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
};
} // namespace
RETORT_EXPORT CUresult cuGetErrorName(CUresult error, const char **name) {
  for (const ErrorText &e : errorTexts)
    if (e.code == error)
      return *name = e.name, CUDA_SUCCESS;
  *name = nullptr;
  return CUDA_ERROR_INVALID_VALUE;
}
RETORT_EXPORT CUresult cuGetErrorString(CUresult error, const char **text) {
  for (const ErrorText &e : errorTexts)
    if (e.code == error)
      return *text = e.text, CUDA_SUCCESS;
  *text = nullptr;
  return CUDA_ERROR_INVALID_VALUE;
}

//===- Devices and contexts -----------------------------------------------===//

RETORT_EXPORT CUresult cuDeviceGetCount(int *count) {
  Call call;
  *count = int(settings.devices);
  return initialised ? CUDA_SUCCESS : CUDA_ERROR_NOT_INITIALIZED;
}
RETORT_EXPORT CUresult cuDeviceGet(CUdevice *device, int ordinal) {
  Call call;
  if (ordinal < 0 || unsigned(ordinal) >= settings.devices)
    return CUDA_ERROR_INVALID_DEVICE;
  *device = ordinal;
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuDeviceGetName(char *name, int capacity, CUdevice) {
  snprintf(name, size_t(capacity), "Retort simulated sm_%u", settings.arch / 10);
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute, CUdevice device) {
  Call call;
  if (device < 0 || unsigned(device) >= settings.devices)
    return CUDA_ERROR_INVALID_DEVICE;
  const std::pair<int, int> values[] = {
      {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024},
      {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, 48 * 1024},
      {CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32},
      {CU_DEVICE_ATTRIBUTE_CLOCK_RATE, 1000000},
      {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, int(settings.multiprocessors)},
      {CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 1},
      {CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE, 1000000},
      {CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, 256},
      {CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE, 32 << 20},
      {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1},
      {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, int(settings.arch / 100)},
      {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, int(settings.arch / 10 % 10)},
      {CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, 1},
      {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, int(limitsOf(settings.arch).sharedPerCta)},
      {81, int(limitsOf(settings.arch).sharedPerMultiprocessor)}, // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
      {39, int(limitsOf(settings.arch).threadsPerMultiprocessor)}, // MAX_THREADS_PER_MULTIPROCESSOR
  };
  for (const auto &[id, v] : values)
    if (id == int(attribute))
      return *value = v, CUDA_SUCCESS;
  return CUDA_ERROR_INVALID_VALUE;
}
RETORT_EXPORT CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice) {
  *bytes = settings.memoryBytes;
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuDeviceCanAccessPeer(int *can, CUdevice device, CUdevice peer) {
  Call call;
  if (device < 0 || peer < 0 || unsigned(device) >= settings.devices || unsigned(peer) >= settings.devices)
    return CUDA_ERROR_INVALID_DEVICE;
  *can = settings.peers && device != peer;
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
  Call call;
  if (!initialised)
    return CUDA_ERROR_NOT_INITIALIZED;
  if (device < 0 || unsigned(device) >= settings.devices)
    return CUDA_ERROR_INVALID_DEVICE;
  ++devices[device].retained;
  *context = &contexts[device];
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuDevicePrimaryCtxRelease_v2(CUdevice number) {
  Call call;
  if (number < 0 || unsigned(number) >= settings.devices || devices[number].retained == 0)
    return CUDA_ERROR_INVALID_CONTEXT;
  Device &device = devices[number];
  if (--device.retained > 0)
    return CUDA_SUCCESS;
  // The context ends: its memory, its peers and its error with it.
  synchronizeDevice(call, &device);
  for (auto it = allocations.begin(); it != allocations.end();)
    if ((*it)->space == device.index) {
      clearSync((*it)->begin, (*it)->begin + (*it)->bytes);
      release(*it);
      it = allocations.erase(it);
    } else {
      ++it;
    }
  device.used = 0;
  device.peers = 0;
  device.error = CUDA_SUCCESS;
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuCtxGetCurrent(CUcontext *context) {
  *context = current;
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuCtxSetCurrent(CUcontext context) {
  current = context;
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuCtxSynchronize() {
  Call call;
  if (const CUresult error = usable())
    return error;
  return synchronizeDevice(call, currentDevice());
}
RETORT_EXPORT CUresult cuCtxEnablePeerAccess(CUcontext peer, unsigned) {
  Call call;
  if (const CUresult error = usable())
    return error;
  Device *device = currentDevice();
  if (!peer || peer->device == device)
    return CUDA_ERROR_INVALID_DEVICE;
  if (!settings.peers)
    return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
  if (device->peers >> peer->device->index & 1)
    return CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
  device->peers |= 1u << peer->device->index;
  return CUDA_SUCCESS;
}

//===- Memory -------------------------------------------------------------===//

RETORT_EXPORT CUresult cuMemGetInfo_v2(size_t *free, size_t *total) {
  Call call;
  if (const CUresult error = usable())
    return error;
  *total = settings.memoryBytes;
  *free = settings.memoryBytes - std::min(settings.memoryBytes, currentDevice()->used);
  return CUDA_SUCCESS;
}
static CUresult allocateIn(unsigned space, size_t bytes, void **memory) {
  if (bytes == 0)
    return CUDA_ERROR_INVALID_VALUE;
  if (settings.failAllocation >= 0) {
    if (settings.failAllocation == 0)
      return CUDA_ERROR_OUT_OF_MEMORY;
    --settings.failAllocation;
  }
  Device *device = currentDevice();
  if (space != kHostSpace && (bytes > settings.memoryBytes || device->used > settings.memoryBytes - bytes))
    return CUDA_ERROR_OUT_OF_MEMORY;
  Allocation *allocation = allocate(space, bytes);
  if (!allocation)
    return CUDA_ERROR_OUT_OF_MEMORY;
  allocations.insert(allocation);
  if (space != kHostSpace)
    device->used += bytes;
  *memory = reinterpret_cast<void *>(allocation->begin);
  return CUDA_SUCCESS;
}
static CUresult freeIn(Call &call, const void *memory, bool host) {
  Allocation *allocation = allocationAt(memory);
  if (!allocation || reinterpret_cast<uint64_t>(memory) != allocation->begin || (allocation->space == kHostSpace) != host)
    return CUDA_ERROR_INVALID_VALUE;
  // As the real driver: what is still running is waited for.
  for (unsigned d = 0; d < settings.devices; ++d)
    synchronizeDevice(call, &devices[d]);
  if (!host)
    devices[allocation->space].used -= allocation->bytes;
  clearSync(allocation->begin, allocation->begin + allocation->bytes);
  allocations.erase(allocation);
  release(allocation);
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuMemAlloc_v2(CUdeviceptr *memory, size_t bytes) {
  Call call;
  if (const CUresult error = usable())
    return error;
  return allocateIn(currentDevice()->index, bytes, reinterpret_cast<void **>(memory));
}
RETORT_EXPORT CUresult cuMemFree_v2(CUdeviceptr memory) {
  Call call;
  return memory ? freeIn(call, reinterpret_cast<void *>(memory), false) : CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuMemAllocHost_v2(void **memory, size_t bytes) {
  Call call;
  if (const CUresult error = usable())
    return error;
  return allocateIn(kHostSpace, bytes, memory);
}
RETORT_EXPORT CUresult cuMemFreeHost(void *memory) {
  Call call;
  return freeIn(call, memory, true);
}
RETORT_EXPORT CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *device, void *host, unsigned) {
  Call call;
  if (!pinned(host, 1))
    return CUDA_ERROR_INVALID_VALUE;
  *device = reinterpret_cast<CUdeviceptr>(host);
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  Call call;
  if (const CUresult error = usable())
    return error;
  Operation op{.kind = Operation::ToDevice};
  op.to = reinterpret_cast<uint8_t *>(to);
  op.bytes = bytes;
  if (bytes && !allocated(op.to, bytes))
    return CUDA_ERROR_INVALID_VALUE;
  const auto *source = static_cast<const uint8_t *>(from);
  if (pinned(from, bytes))
    op.from = source;
  else
    op.staged.assign(source, source + bytes);
  return enqueue(stream, std::move(op));
}
RETORT_EXPORT CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  Call call;
  if (const CUresult error = usable())
    return error;
  Operation op{.kind = Operation::ToHost};
  op.to = static_cast<uint8_t *>(to);
  op.from = reinterpret_cast<const uint8_t *>(from);
  op.bytes = bytes;
  if (bytes && !allocated(op.from, bytes))
    return CUDA_ERROR_INVALID_VALUE;
  const bool pageable = !pinned(to, bytes);
  if (const CUresult error = enqueue(stream, std::move(op)); error || !pageable || streamOf(stream)->capture)
    return error;
  return synchronize(call, streamOf(stream)); // as the real driver does for pageable memory
}
RETORT_EXPORT CUresult cuMemsetD8Async(CUdeviceptr memory, unsigned char value, size_t bytes, CUstream stream) {
  Call call;
  if (const CUresult error = usable())
    return error;
  Operation op{.kind = Operation::Set};
  op.to = reinterpret_cast<uint8_t *>(memory);
  op.bytes = bytes;
  op.value = value;
  if (bytes && !allocated(op.to, bytes))
    return CUDA_ERROR_INVALID_VALUE;
  return enqueue(stream, std::move(op));
}

//===- Streams and events -------------------------------------------------===//

RETORT_EXPORT CUresult cuStreamCreate(CUstream *stream, unsigned flags) {
  Call call;
  if (const CUresult error = usable())
    return error;
  *stream = new CUstream_st{currentDevice(), (flags & CU_STREAM_NON_BLOCKING) == 0, {}};
  currentDevice()->streams.push_back(*stream);
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuStreamDestroy_v2(CUstream stream) {
  Call call;
  if (!stream)
    return CUDA_ERROR_INVALID_HANDLE;
  synchronize(call, stream);
  std::erase(stream->device->streams, stream);
  freeClock(stream->clock);
  freeClock(stream->beforeLast);
  delete stream;
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuStreamSynchronize(CUstream stream) {
  Call call;
  if (const CUresult error = usable())
    return error;
  return synchronize(call, streamOf(stream));
}
RETORT_EXPORT CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned) {
  Call call;
  if (const CUresult error = usable())
    return error;
  if (!event)
    return CUDA_ERROR_INVALID_HANDLE;
  stream = streamOf(stream);
  if (event->capture) {
    if (!stream->capture) // joins the capture; its operations follow in the order of the calls
      stream->capture = event->capture;
    return CUDA_SUCCESS;
  }
  if (event->recorded == 0)
    return CUDA_SUCCESS;
  Operation op{.kind = Operation::Wait};
  op.event = event;
  op.version = event->recorded;
  return enqueue(stream, std::move(op));
}
RETORT_EXPORT CUresult cuEventCreate(CUevent *event, unsigned) {
  Call call;
  if (const CUresult error = usable())
    return error;
  *event = new CUevent_st;
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuEventDestroy_v2(CUevent event) {
  Call call;
  if (!event)
    return CUDA_ERROR_INVALID_HANDLE;
  // Unfinished operations may name it.
  runUntil(call.lock, [&] {
    bool used = false;
    forEachStream([&](CUstream stream) {
      for (const Operation &op : stream->operations)
        used |= op.event == event;
    });
    return !used;
  });
  freeClock(event->clock);
  delete event;
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuEventRecord(CUevent event, CUstream stream) {
  Call call;
  if (const CUresult error = usable())
    return error;
  if (!event)
    return CUDA_ERROR_INVALID_HANDLE;
  event->capture = streamOf(stream)->capture;
  if (event->capture)
    return CUDA_SUCCESS;
  Operation op{.kind = Operation::Record};
  op.event = event;
  op.version = ++event->recorded;
  return enqueue(stream, std::move(op));
}
RETORT_EXPORT CUresult cuEventQuery(CUevent event) {
  Call call;
  if (const CUresult error = usable())
    return error;
  // A query makes some progress, so that who polls gets there; it never waits.
  const FaultGuard guard;
  pump();
  for (int i = 0; i < 256 && event->happened < event->recorded && step() == Outcome::Progress; ++i) {
    finishEnded();
    pump();
  }
  finishEnded();
  pump();
  if (event->happened < event->recorded)
    return CUDA_ERROR_NOT_READY;
  joinInto(hostClock, event->clock);
  return currentDevice()->error;
}
RETORT_EXPORT CUresult cuEventSynchronize(CUevent event) {
  Call call;
  if (const CUresult error = usable())
    return error;
  runUntil(call.lock, [&] { return event->happened >= event->recorded; });
  joinInto(hostClock, event->clock);
  return currentDevice()->error;
}
RETORT_EXPORT CUresult cuEventElapsedTime(float *milliseconds, CUevent begin, CUevent end) {
  Call call;
  if (!begin->happened || !end->happened)
    return CUDA_ERROR_INVALID_HANDLE;
  *milliseconds = float(end->time - begin->time);
  return CUDA_SUCCESS;
}

//===- Modules and functions ----------------------------------------------===//

RETORT_EXPORT CUresult cuModuleLoadData(CUmodule *module, const void *image) {
  Call call;
  if (const CUresult error = usable())
    return error;
  const auto *bytes = static_cast<const unsigned char *>(image);
  if (!image)
    return CUDA_ERROR_INVALID_VALUE;
  if (memcmp(bytes, "\x7f" "ELF", 4) == 0 || memcmp(bytes, "\x50\xed\x55\xba", 4) == 0) {
    setError("simulated device: it runs program.cu (text), not program.fatbin");
    return CUDA_ERROR_NO_BINARY_FOR_GPU;
  }
  std::string path;
  void *handle = compileModule(static_cast<const char *>(image), path);
  if (!handle)
    return CUDA_ERROR_INVALID_SOURCE;
  *module = new CUmod_st{handle, {}};
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuModuleUnload(CUmodule module) {
  Call call;
  if (!module)
    return CUDA_ERROR_INVALID_HANDLE;
  for (unsigned d = 0; d < settings.devices; ++d)
    synchronizeDevice(call, &devices[d]);
  for (const auto &[name, function] : module->functions)
    delete function;
  // The code stays mapped: findings name places in it.
  delete module;
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  Call call;
  if (const CUresult error = usable())
    return error;
  if (!module)
    return CUDA_ERROR_INVALID_HANDLE;
  CUfunction &slot = module->functions[name];
  if (!slot) {
    const auto *kernel =
        static_cast<const retort_sim_kernel *>(dlsym(module->handle, (std::string("retort_sim_kernel_") + name).c_str()));
    if (!kernel) {
      module->functions.erase(name);
      setError("simulated device: the program has no kernel " + std::string(name) + " (declared by RETORT_KERNEL)");
      return CUDA_ERROR_NOT_FOUND;
    }
    slot = new CUfunc_st;
    slot->name = name;
    slot->kernel = *kernel;
  }
  *function = slot;
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute, CUfunction function) {
  Call call;
  switch (attribute) {
  case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    return *value = int(function->kernel.threads), CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_NUM_REGS:
    return *value = int(std::min(255u, 65536 / (function->kernel.threads * std::max(1u, function->kernel.ctasPerSm)))),
           CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
    return *value = int(function->maxShared), CUDA_SUCCESS;
  default:
    return *value = 0, CUDA_SUCCESS;
  }
}
RETORT_EXPORT CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  Call call;
  if (const CUresult error = usable())
    return error;
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
    return CUDA_SUCCESS;
  if (value < 0 || uint32_t(value) > limitsOf(settings.arch).sharedPerCta)
    return CUDA_ERROR_INVALID_VALUE;
  function->maxShared = uint32_t(value);
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *ctas, CUfunction function, int threads,
                                                                   size_t shared) {
  Call call;
  if (threads <= 0)
    return CUDA_ERROR_INVALID_VALUE;
  *ctas = int(occupancy(*function, unsigned(threads), shared));
  return CUDA_SUCCESS;
}

//===- Launches -----------------------------------------------------------===//

static CUresult launch(CUfunction function, const unsigned (&grid)[3], const unsigned (&cta)[3], unsigned shared,
                       CUstream stream, void **parameters, bool cooperative, bool dependent) {
  if (const CUresult error = usable())
    return error;
  if (!function || !parameters || grid[1] != 1 || grid[2] != 1 || cta[1] != 1 || cta[2] != 1 || grid[0] == 0 ||
      cta[0] == 0 || cta[0] > 1024 || grid[0] > 0x7fffffffu)
    return CUDA_ERROR_INVALID_VALUE;
  if (cta[0] > function->kernel.threads || shared > function->maxShared)
    return CUDA_ERROR_INVALID_VALUE;
  if (cta[0] % 32) {
    setError("simulated device: a CTA has whole warps, not " + std::to_string(cta[0]) + " threads");
    return CUDA_ERROR_NOT_SUPPORTED;
  }
  const unsigned perMultiprocessor = occupancy(*function, cta[0], shared);
  if (perMultiprocessor == 0)
    return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
  if (cooperative && grid[0] > perMultiprocessor * settings.multiprocessors)
    return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
  auto *made = new Launch;
  made->device = streamOf(stream)->device;
  made->function = function;
  made->grid = grid[0];
  made->threads = cta[0];
  made->shared = shared;
  made->cooperative = cooperative;
  made->dependent = dependent && settings.arch >= 900;
  for (unsigned i = 0; i < function->kernel.parameters; ++i) {
    const auto *value = static_cast<const uint8_t *>(parameters[i]);
    made->offsets.push_back(uint32_t(made->parameters.size()));
    made->parameters.insert(made->parameters.end(), value, value + function->kernel.sizes[i]);
  }
  Operation op{.kind = Operation::Launch};
  op.launch = made;
  return enqueue(stream, std::move(op));
}
RETORT_EXPORT CUresult cuLaunchKernel(CUfunction function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,
                                      unsigned blockY, unsigned blockZ, unsigned sharedBytes, CUstream stream,
                                      void **parameters, void **) {
  Call call;
  return launch(function, {gridX, gridY, gridZ}, {blockX, blockY, blockZ}, sharedBytes, stream, parameters, false, false);
}
RETORT_EXPORT CUresult cuLaunchCooperativeKernel(CUfunction function, unsigned gridX, unsigned gridY, unsigned gridZ,
                                                 unsigned blockX, unsigned blockY, unsigned blockZ, unsigned sharedBytes,
                                                 CUstream stream, void **parameters) {
  Call call;
  return launch(function, {gridX, gridY, gridZ}, {blockX, blockY, blockZ}, sharedBytes, stream, parameters, true, false);
}
RETORT_EXPORT CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **parameters, void **) {
  Call call;
  bool cooperative = false, dependent = false;
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    if (config->attrs[i].id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE)
      cooperative = config->attrs[i].value.cooperative != 0;
    if (config->attrs[i].id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION)
      dependent = config->attrs[i].value.programmaticStreamSerializationAllowed != 0;
  }
  return launch(function, {config->gridDimX, config->gridDimY, config->gridDimZ},
                {config->blockDimX, config->blockDimY, config->blockDimZ}, config->sharedMemBytes, config->hStream,
                parameters, cooperative, dependent);
}

//===- Graphs -------------------------------------------------------------===//

RETORT_EXPORT CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode) {
  Call call;
  if (const CUresult error = usable())
    return error;
  if (!stream)
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (stream->capture)
    return CUDA_ERROR_NOT_PERMITTED;
  stream->capture = new CUgraph_st;
  stream->captureOrigin = true;
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuStreamEndCapture(CUstream stream, CUgraph *graph) {
  Call call;
  if (!stream || !stream->capture || !stream->captureOrigin)
    return CUDA_ERROR_NOT_PERMITTED;
  *graph = stream->capture;
  stream->captureOrigin = false;
  forEachStream([&](CUstream other) {
    if (other->capture == *graph)
      other->capture = nullptr;
  });
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuGraphInstantiateWithFlags(CUgraphExec *exec, CUgraph graph, unsigned long long) {
  Call call;
  if (!graph)
    return CUDA_ERROR_INVALID_VALUE;
  *exec = new CUgraphExec_st{graph->nodes};
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  Call call;
  if (const CUresult error = usable())
    return error;
  for (const Operation &node : exec->nodes) {
    Operation op = node;
    if (op.launch) {
      auto *made = new Launch(*op.launch);
      made->device = streamOf(stream)->device;
      op.launch = made;
    }
    if (const CUresult error = enqueue(stream, std::move(op)))
      return error;
  }
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuGraphExecDestroy(CUgraphExec exec) {
  Call call;
  delete exec;
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuGraphDestroy(CUgraph graph) {
  Call call;
  delete graph;
  return CUDA_SUCCESS;
}

//===- Controls (sim.h) ---------------------------------------------------===//

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
