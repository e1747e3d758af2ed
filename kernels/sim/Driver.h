//===- Driver.h - The simulated driver's objects --------------------------===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "kernels/sim/Check.h"
#include "kernels/sim/Machine.h"
#include "kernels/sim/Memory.h"
#include "runtime/src/device/cuda_api.h"
#include <csignal>
#include <vector>

namespace retort::sim {

struct Device {
  unsigned index = 0, resident = 0, retained = 0;
  uint64_t used = 0;
  uint32_t peers = 0; // devices whose memory kernels here may touch
  CUresult error = CUDA_SUCCESS; // sticky, as after a failed kernel
  std::vector<CUstream> streams; // in the order in which they were made
  CUstream defaultStream = nullptr;
};
extern Device devices[kMaxDevices];

/// Jit.cpp: compiles device code and opens it; null with a message in lastError.
void *compileModule(const char *text, std::string &path);
void setError(const std::string &message);
const std::string &lastError();

/// Scheduler.cpp: while it lives, a lane that touches what is not mapped ends its launch and not the process.
class FaultGuard {
public:
  FaultGuard();
  ~FaultGuard();

private:
  struct sigaction segv, bus;
  stack_t stack;
};

} // namespace retort::sim
