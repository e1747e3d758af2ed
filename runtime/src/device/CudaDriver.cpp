//===- CudaDriver.cpp - The CUDA driver, opened at run time ---------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/device/CudaDriver.h"
#include "runtime/base/Error.h"
#include "runtime/src/engine/Buffer.h"

#include <cstdlib>
#include <dlfcn.h>
#include <vector>

namespace retort::engine {
namespace {

/// The folder of the library (or program) that this code is in, with its '/'.
std::string ownFolder() {
  Dl_info info;
  if (!::dladdr(reinterpret_cast<const void *>(&ownFolder), &info) || !info.dli_fname)
    return {};
  const std::string path = info.dli_fname;
  return path.substr(0, path.rfind('/') + 1);
}

std::string lastLoaderError() {
  const char *text = ::dlerror();
  return text ? text : "unknown reason";
}

} // namespace

CudaDriverPointer CudaDriver::open() {
  void *library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library)
    fail(ExitCode::Unsupported,
         "this machine has no driver for NVIDIA GPUs (" + lastLoaderError() + "): install one");
  std::shared_ptr<CudaDriver> driver(new CudaDriver(library, false));
  driver->start();
  return driver;
}

CudaDriverPointer CudaDriver::openSimulated(int devices) {
  std::vector<std::string> places;
  if (const char *path = std::getenv("RETORT_SIM_LIBRARY"))
    places = {path};
  else
    places = {ownFolder() + "libretort_sim.so", ownFolder() + "../lib/libretort_sim.so",
              "libretort_sim.so"};
  void *library = nullptr;
  std::string reason;
  for (const std::string &place : places)
    if (!library && !(library = ::dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL)))
      reason = lastLoaderError();
  if (!library)
    fail(ExitCode::Unsupported, "the simulated GPU cannot be loaded (" + reason +
                                    "): it comes with Retort's source, name it by the environment "
                                    "variable RETORT_SIM_LIBRARY");
  std::shared_ptr<CudaDriver> driver(new CudaDriver(library, true));
  auto *set = driver->simulator<int(const char *, long long)>("retort_sim_set");
  if (set && driver->deviceCount() < devices)
    set("devices", devices);
  driver->start();
  return driver;
}

CudaDriver::CudaDriver(void *library, bool simulated) : library_(library), simulated_(simulated) {
  std::string missing;
  auto find = [&](const char *symbol) {
    void *function = ::dlsym(library_, symbol);
    if (!function && missing.empty())
      missing = symbol;
    return function;
  };
#define RETORT_CUDA_FIND(name, symbol, parameters)                                                 \
  api_.name = reinterpret_cast<CUresult(*) parameters>(find(#symbol));
  RETORT_CUDA_API(RETORT_CUDA_FIND)
#undef RETORT_CUDA_FIND
  if (!missing.empty())
    fail(ExitCode::Unsupported, "the CUDA driver is too old, it has no " + missing +
                                    ": install version 525 (CUDA 12) or later");
}

void CudaDriver::start() {
  CUresult result = api_.cuInit(0);
  hasDevices_ = result != CUDA_ERROR_NO_DEVICE;
  if (result != CUDA_SUCCESS && hasDevices_)
    fail(ExitCode::Unsupported,
         "the CUDA driver does not start: " + reason(result) + ": see what nvidia-smi says");
}

int CudaDriver::deviceCount() const {
  int count = 0;
  return hasDevices_ && api_.cuDeviceGetCount(&count) == CUDA_SUCCESS ? count : 0;
}

std::string CudaDriver::reason(CUresult result) const {
  const char *name = nullptr, *text = nullptr;
  if (api_.cuGetErrorName(result, &name) != CUDA_SUCCESS || !name)
    return "CUDA error " + std::to_string(int(result));
  if (api_.cuGetErrorString(result, &text) != CUDA_SUCCESS || !text)
    return name;
  return std::string(name) + " (" + text + ")";
}

void CudaDriver::check(CUresult result, const std::string &what) const {
  if (result == CUDA_SUCCESS)
    return;
  fail(result == CUDA_ERROR_OUT_OF_MEMORY ? ExitCode::Resources : ExitCode::Device,
       what + ": " + reason(result));
}

void *CudaDriver::simulatorSymbol(const char *name) const { return ::dlsym(library_, name); }

std::string CudaDriver::takeSimulatorReport() const {
  auto *report = simulator<size_t(char *, size_t)>("retort_sim_report");
  std::string text(report ? report(nullptr, 0) : 0, '\0');
  if (!text.empty()) {
    report(text.data(), text.size());
    text.pop_back(); // the final zero
    if (auto *clear = simulator<void()>("retort_sim_clear"))
      clear();
  }
  return text;
}

std::string CudaDriver::simulatorError() const {
  auto *error = simulator<const char *()>("retort_sim_error");
  return error ? error() : "";
}

void CudaDriver::nameMemory(CUdeviceptr memory, uint64_t bytes, const std::string &name) const {
  if (auto *give = simulator<void(unsigned long long, size_t, const char *)>("retort_sim_name"))
    give(memory, bytes, name.c_str());
}

CudaMemory::CudaMemory(CudaDriverPointer driver, uint64_t bytes, const std::string &what)
    : driver_(std::move(driver)), bytes_(bytes) {
  if (bytes == 0)
    return;
  CUresult result = (*driver_)->cuMemAlloc(&memory_, bytes);
  if (result != CUDA_SUCCESS)
    memory_ = 0;
  driver_->check(result, what + ", " + sizeText(bytes));
}

PinnedMemory::PinnedMemory(CudaDriverPointer driver, uint64_t bytes, const std::string &what)
    : driver_(std::move(driver)) {
  CUresult result = (*driver_)->cuMemAllocHost(&memory_, bytes);
  if (result != CUDA_SUCCESS)
    memory_ = nullptr;
  driver_->check(result, what + ", " + sizeText(bytes) + " of pinned host memory");
}

CUdeviceptr PinnedMemory::address(const std::string &what) const {
  CUdeviceptr address = 0;
  driver_->check((*driver_)->cuMemHostGetDevicePointer(&address, memory_, 0), what);
  return address;
}

} // namespace retort::engine
