//===- Driver.h - The simulated driver's objects --------------------------===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/sim/Check.h"
#include "kernels/sim/Machine.h"
#include "kernels/sim/Memory.h"
#include "runtime/src/device/cuda_api.h"
#include <csignal>
#include <map>
#include <mutex>
#include <vector>

#define RETORT_EXPORT extern "C" __attribute__((visibility("default")))

namespace retort::sim {

struct Device {
  unsigned index = 0, resident = 0, retained = 0;
  uint64_t used = 0;
  uint32_t peers = 0;            // devices whose memory kernels here may touch
  CUresult error = CUDA_SUCCESS; // sticky, as after a failed kernel
  std::vector<CUstream> streams; // in the order in which they were made
  CUstream defaultStream = nullptr;
};
extern Device devices[kMaxDevices];

struct Operation {
  enum Kind { Launch, ToDevice, ToHost, OnDevice, Set, Record, Wait } kind;
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

//===- Engine.cpp ---------------------------------------------------------===//
// Streams are queues that run when somebody waits for them, all devices' together, so that kernels
// of several devices which exchange run at the same time whatever thread waits. One lock guards
// everything.

/// Holds the lock while a call of the API is served.
struct Call {
  Call();
  std::unique_lock<std::mutex> lock;
};
extern bool initialised;
extern thread_local CUcontext current;
extern Clock *hostClock; // what the host has waited for; null before anything

Device *currentDevice();
/// The first reason why a call on the current context cannot be served.
CUresult usable();
/// The stream, or the current device's default stream for null.
CUstream streamOf(CUstream stream);
CUresult enqueue(CUstream stream, Operation op);
/// Runs everything until `done`. False if nothing is left that could make it so.
bool runUntil(Call &call, const std::function<bool()> &done);
/// Runs a little; for calls that ask and do not wait.
void runSome(const std::function<bool()> &done);
CUresult synchronize(Call &call, CUstream stream);
CUresult synchronizeDevice(Call &call, Device *device);
void forEachStream(const std::function<void(CUstream)> &visit);
/// A clock that may be absent (not checking).
void joinInto(Clock *&into, const Clock *from);

//===- Others -------------------------------------------------------------===//

/// ApiMemory.cpp: frees what a context leaves.
void releaseMemoryOf(Device *device);
/// Jit.cpp: compiles device code and opens it; null with a message in lastError.
void *compileModule(const char *text, std::string &path);
void setError(const std::string &message);
const std::string &lastError();

/// Scheduler.cpp: while it lives, a lane that touches what is not mapped ends its launch and not
/// the process.
class FaultGuard {
public:
  FaultGuard();
  ~FaultGuard();

private:
  struct sigaction segv, bus;
  stack_t stack;
};

} // namespace retort::sim

struct CUctx_st {
  retort::sim::Device *device;
};
struct CUmod_st {
  void *handle;
  std::map<std::string, CUfunction> functions;
};
struct CUfunc_st : retort::sim::Function {};
struct CUevent_st {
  uint64_t recorded = 0, happened = 0; // versions
  double time = 0;
  CUgraph capture = nullptr;
  retort::sim::Clock *clock = nullptr;
};
struct CUgraph_st {
  std::vector<retort::sim::Operation> nodes;
};
struct CUgraphExec_st {
  std::vector<retort::sim::Operation> nodes;
};
struct CUstream_st {
  retort::sim::Device *device;
  bool blocking; // ordered with the default stream
  std::deque<retort::sim::Operation> operations;
  CUgraph capture = nullptr;
  bool captureOrigin = false;
  retort::sim::Clock *clock = nullptr;
  uint32_t slot = 0; // checking: its copies' component of the clocks, from 1
  retort::sim::Clock *beforeLast =
      nullptr; // the clock before the latest launch, if nothing followed it
};
