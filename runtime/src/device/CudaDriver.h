//===- CudaDriver.h - The CUDA driver, opened at run time -------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// libcuda.so.1, or the simulated one in its place: the functions, and owners of what they make.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/src/device/cuda_api.h"
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

namespace retort::engine {

/// The driver's functions. Threads may share it.
class CudaDriver {
public:
  /// Opens libcuda.so.1. Throws Error (Unsupported) that says why it cannot: it is not there, too
  /// old, or does not start.
  static std::shared_ptr<const CudaDriver> open();
  /// Opens libretort_sim.so ($RETORT_SIM_LIBRARY, beside this library, or where the loader finds
  /// it) with at least `devices` devices: the process has one simulated machine, which grows.
  static std::shared_ptr<const CudaDriver> openSimulated(int devices);

  const retort_cuda_api *operator->() const { return &api_; }
  bool simulated() const { return simulated_; }
  /// Devices that the process may use; 0 if the driver has none.
  int deviceCount() const;
  /// "CUDA_ERROR_LAUNCH_FAILED (unspecified launch failure)"
  std::string reason(CUresult result) const;
  /// Throws Error for a failed call: Resources if memory is refused, else Device. `what` begins the
  /// message: "cuda:0 NVIDIA H100: the weights cannot be copied".
  void check(CUresult result, const std::string &what) const;
  /// What the simulator found and counted since the last call, as JSON; "" from a real driver.
  std::string takeSimulatorReport() const;
  /// Why the simulator's last call failed, in its own words; "" from a real driver.
  std::string simulatorError() const;
  /// Tells the simulator what memory is for: the report has counters by this name.
  void nameMemory(CUdeviceptr memory, uint64_t bytes, const std::string &name) const;

private:
  CudaDriver(void *library, bool simulated);
  void start();
  /// A function of the simulator's own (kernels/sim/sim.h); null if it lacks it.
  template <class F> F *simulator(const char *name) const {
    return simulated_ ? reinterpret_cast<F *>(simulatorSymbol(name)) : nullptr;
  }
  void *simulatorSymbol(const char *name) const;
  void *library_; ///< never closed: a driver does not bear that
  bool simulated_;
  bool hasDevices_ = true;
  retort_cuda_api api_ = {};
};
using CudaDriverPointer = std::shared_ptr<const CudaDriver>;

/// Makes a context current while it lives, and then what was before: an application's own use of
/// CUDA is not disturbed. If that fails, so do the calls that follow.
class CurrentContext {
public:
  CurrentContext(const CudaDriver &driver, CUcontext context) : driver_(driver) {
    if (driver_->cuCtxGetCurrent(&before_) != CUDA_SUCCESS)
      before_ = nullptr;
    driver_->cuCtxSetCurrent(context);
  }
  ~CurrentContext() { driver_->cuCtxSetCurrent(before_); }
  CurrentContext(const CurrentContext &) = delete;
  CurrentContext &operator=(const CurrentContext &) = delete;

private:
  const CudaDriver &driver_;
  CUcontext before_ = nullptr;
};

/// Memory of a GPU. Made and destroyed while the GPU's context is current, as all below.
class CudaMemory {
public:
  CudaMemory() = default;
  /// `what` names it in the message: "cuda:0 NVIDIA H100: no memory for weights, 1.2 GB".
  CudaMemory(CudaDriverPointer driver, uint64_t bytes, const std::string &what);
  CudaMemory(CudaMemory &&other) noexcept { *this = std::move(other); }
  CudaMemory &operator=(CudaMemory &&other) noexcept {
    std::swap(driver_, other.driver_), std::swap(memory_, other.memory_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~CudaMemory() {
    if (memory_)
      (*driver_)->cuMemFree(memory_);
  }
  CUdeviceptr address() const { return memory_; }
  template <class T> T *as() const { return reinterpret_cast<T *>(uintptr_t(memory_)); }
  uint64_t bytes() const { return bytes_; }
  /// Gives it up without freeing it.
  void abandon() { memory_ = 0; }

private:
  CudaDriverPointer driver_;
  CUdeviceptr memory_ = 0;
  uint64_t bytes_ = 0;
};

/// Memory of the host that GPUs copy from and to, and can address.
class PinnedMemory {
public:
  PinnedMemory() = default;
  PinnedMemory(CudaDriverPointer driver, uint64_t bytes, const std::string &what);
  PinnedMemory(PinnedMemory &&other) noexcept { *this = std::move(other); }
  PinnedMemory &operator=(PinnedMemory &&other) noexcept {
    std::swap(driver_, other.driver_), std::swap(memory_, other.memory_);
    return *this;
  }
  ~PinnedMemory() {
    if (memory_)
      (*driver_)->cuMemFreeHost(memory_);
  }
  template <class T = uint8_t> T *as() const { return static_cast<T *>(memory_); }
  /// Its address for the GPU whose context is current.
  CUdeviceptr address(const std::string &what) const;
  void abandon() { memory_ = nullptr; }

private:
  CudaDriverPointer driver_;
  void *memory_ = nullptr;
};

class CudaStream {
public:
  CudaStream() = default;
  CudaStream(CudaDriverPointer driver, const std::string &what) : driver_(std::move(driver)) {
    driver_->check((*driver_)->cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING), what);
  }
  CudaStream(CudaStream &&other) noexcept { *this = std::move(other); }
  CudaStream &operator=(CudaStream &&other) noexcept {
    std::swap(driver_, other.driver_), std::swap(stream_, other.stream_);
    return *this;
  }
  ~CudaStream() {
    if (stream_)
      (*driver_)->cuStreamDestroy(stream_);
  }
  CUstream get() const { return stream_; }
  void abandon() { stream_ = nullptr; }

private:
  CudaDriverPointer driver_;
  CUstream stream_ = nullptr;
};

class CudaEvent {
public:
  CudaEvent() = default;
  CudaEvent(CudaDriverPointer driver, unsigned flags, const std::string &what)
      : driver_(std::move(driver)) {
    driver_->check((*driver_)->cuEventCreate(&event_, flags), what);
  }
  CudaEvent(CudaEvent &&other) noexcept { *this = std::move(other); }
  CudaEvent &operator=(CudaEvent &&other) noexcept {
    std::swap(driver_, other.driver_), std::swap(event_, other.event_);
    return *this;
  }
  ~CudaEvent() {
    if (event_)
      (*driver_)->cuEventDestroy(event_);
  }
  CUevent get() const { return event_; }

private:
  CudaDriverPointer driver_;
  CUevent event_ = nullptr;
};

} // namespace retort::engine
