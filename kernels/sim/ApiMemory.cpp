//===- ApiMemory.cpp - Memory and copies ---------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "kernels/sim/Driver.h"
#include <algorithm>
#include <set>

using namespace retort::sim;

static std::set<Allocation *> allocations;

namespace retort::sim {
void releaseMemoryOf(Device *device) {
  for (auto it = allocations.begin(); it != allocations.end();)
    if ((*it)->space == device->index) {
      clearSync((*it)->begin, (*it)->begin + (*it)->bytes);
      release(*it);
      it = allocations.erase(it);
    } else {
      ++it;
    }
  device->used = 0;
}
} // namespace retort::sim

static bool pinned(const void *p, size_t bytes) {
  return spaceOf(p) == kHostSpace && allocated(p, bytes);
}

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
  if (space != kHostSpace &&
      (bytes > settings.memoryBytes || device->used > settings.memoryBytes - bytes))
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
  if (!allocation || reinterpret_cast<uint64_t>(memory) != allocation->begin ||
      (allocation->space == kHostSpace) != host)
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
RETORT_EXPORT CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes,
                                            CUstream stream) {
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
  runCounters.toDeviceBytes += bytes;
  return enqueue(stream, std::move(op));
}
RETORT_EXPORT CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes,
                                            CUstream stream) {
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
  runCounters.toHostBytes += bytes;
  if (const CUresult error = enqueue(stream, std::move(op));
      error || !pageable || streamOf(stream)->capture)
    return error;
  return synchronize(call, streamOf(stream)); // as the real driver does for pageable memory
}
RETORT_EXPORT CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes,
                                            CUstream stream) {
  Call call;
  if (const CUresult error = usable())
    return error;
  Operation op{.kind = Operation::OnDevice};
  op.to = reinterpret_cast<uint8_t *>(to);
  op.from = reinterpret_cast<const uint8_t *>(from);
  op.bytes = bytes;
  if (bytes && (!allocated(op.to, bytes) || !allocated(op.from, bytes)))
    return CUDA_ERROR_INVALID_VALUE;
  return enqueue(stream, std::move(op));
}
RETORT_EXPORT CUresult cuMemsetD8Async(CUdeviceptr memory, unsigned char value, size_t bytes,
                                       CUstream stream) {
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
