//===- ApiDevices.cpp - Errors, devices, contexts ------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "kernels/sim/Driver.h"
#include <cstdio>

using namespace retort::sim;

static CUctx_st contexts[kMaxDevices];

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
    {CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU",
     "no kernel image is available for execution on the device"},
    {CUDA_ERROR_ECC_UNCORRECTABLE, "CUDA_ERROR_ECC_UNCORRECTABLE",
     "uncorrectable ECC error encountered"},
    {CUDA_ERROR_PEER_ACCESS_UNSUPPORTED, "CUDA_ERROR_PEER_ACCESS_UNSUPPORTED",
     "peer access is not supported between these two devices"},
    {CUDA_ERROR_INVALID_SOURCE, "CUDA_ERROR_INVALID_SOURCE", "device kernel image is invalid"},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS",
     "an illegal memory access was encountered"},
    {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
     "too many resources requested for launch"},
    {CUDA_ERROR_LAUNCH_TIMEOUT, "CUDA_ERROR_LAUNCH_TIMEOUT",
     "the launch timed out and was terminated"},
    {CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, "CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED",
     "peer access is already enabled"},
    {CUDA_ERROR_MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE",
     "too many blocks in cooperative launch"},
    {CUDA_ERROR_NOT_PERMITTED, "CUDA_ERROR_NOT_PERMITTED", "operation not permitted"},
    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
     "operation not permitted when stream is capturing"},
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
RETORT_EXPORT CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute attribute,
                                            CUdevice device) {
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
      {CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, settings.architecture().sharedBytes},
      {81, // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
       settings.architecture().multiprocessorSharedBytes()},
      {39, settings.architecture().threads}, // MAX_THREADS_PER_MULTIPROCESSOR
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
  if (device < 0 || peer < 0 || unsigned(device) >= settings.devices ||
      unsigned(peer) >= settings.devices)
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
  releaseMemoryOf(&device);
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
