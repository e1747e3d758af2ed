/*===- cuda_api.h - The part of the CUDA driver API that Retort uses -------------------------===*/
/* SPDX-License-Identifier: Apache-2.0 */
/* Our own declarations, so that building needs no CUDA header: names, numbers and layouts are those
 * of cuda.h (checked against CUDA 13.0 by test/unit/Runtime/CudaApiTest.cpp where it is installed).
 * RETORT_CUDA_API lists each function once: F(name, symbol, parameters). The runtime makes a table
 * of pointers of it; the simulated driver its prototypes. */
#ifndef RETORT_DEVICE_CUDA_API_H
#define RETORT_DEVICE_CUDA_API_H
#include <stddef.h>
#include <stdint.h>

typedef int CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;
typedef struct CUevent_st *CUevent;
typedef struct CUgraph_st *CUgraph;
typedef struct CUgraphExec_st *CUgraphExec;

typedef enum cudaError_enum {
  CUDA_SUCCESS = 0,
  CUDA_ERROR_INVALID_VALUE = 1,
  CUDA_ERROR_OUT_OF_MEMORY = 2,
  CUDA_ERROR_NOT_INITIALIZED = 3,
  CUDA_ERROR_DEINITIALIZED = 4,
  CUDA_ERROR_STUB_LIBRARY = 34,
  CUDA_ERROR_DEVICE_UNAVAILABLE = 46,
  CUDA_ERROR_NO_DEVICE = 100,
  CUDA_ERROR_INVALID_DEVICE = 101,
  CUDA_ERROR_INVALID_IMAGE = 200,
  CUDA_ERROR_INVALID_CONTEXT = 201,
  CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
  CUDA_ERROR_ECC_UNCORRECTABLE = 214,
  CUDA_ERROR_PEER_ACCESS_UNSUPPORTED = 217,
  CUDA_ERROR_INVALID_PTX = 218,
  CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222,
  CUDA_ERROR_INVALID_SOURCE = 300,
  CUDA_ERROR_FILE_NOT_FOUND = 301,
  CUDA_ERROR_INVALID_HANDLE = 400,
  CUDA_ERROR_NOT_FOUND = 500,
  CUDA_ERROR_NOT_READY = 600,
  CUDA_ERROR_ILLEGAL_ADDRESS = 700,
  CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES = 701,
  CUDA_ERROR_LAUNCH_TIMEOUT = 702,
  CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED = 704,
  CUDA_ERROR_PEER_ACCESS_NOT_ENABLED = 705,
  CUDA_ERROR_MISALIGNED_ADDRESS = 716,
  CUDA_ERROR_LAUNCH_FAILED = 719,
  CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE = 720,
  CUDA_ERROR_NOT_PERMITTED = 800,
  CUDA_ERROR_NOT_SUPPORTED = 801,
  CUDA_ERROR_SYSTEM_NOT_READY = 802,
  CUDA_ERROR_SYSTEM_DRIVER_MISMATCH = 803,
  CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900,
  CUDA_ERROR_UNKNOWN = 999
} CUresult;

typedef enum CUdevice_attribute_enum {
  CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 1,
  CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK = 8,
  CU_DEVICE_ATTRIBUTE_WARP_SIZE = 10,
  CU_DEVICE_ATTRIBUTE_CLOCK_RATE = 13,
  CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
  CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY = 19,
  CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE = 36,
  CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH = 37,
  CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE = 38,
  CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING = 41,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
  CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
  CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH = 95,
  CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97
} CUdevice_attribute;

typedef enum CUfunction_attribute_enum {
  CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK = 0,
  CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES = 1,
  CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES = 3,
  CU_FUNC_ATTRIBUTE_NUM_REGS = 4,
  CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8
} CUfunction_attribute;

enum { CU_STREAM_DEFAULT = 0, CU_STREAM_NON_BLOCKING = 1 };
enum { CU_EVENT_DEFAULT = 0, CU_EVENT_BLOCKING_SYNC = 1, CU_EVENT_DISABLE_TIMING = 2 };

typedef enum CUstreamCaptureMode_enum {
  CU_STREAM_CAPTURE_MODE_GLOBAL = 0,
  CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1,
  CU_STREAM_CAPTURE_MODE_RELAXED = 2
} CUstreamCaptureMode;

typedef enum CUlaunchAttributeID_enum {
  CU_LAUNCH_ATTRIBUTE_IGNORE = 0,
  CU_LAUNCH_ATTRIBUTE_COOPERATIVE = 2,
  /* A kernel may start while the one before it in the stream still runs, and waits for it by
   * griddepcontrol.wait: programmatic dependent launch, sm_90 and later. */
  CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION = 6
} CUlaunchAttributeID;

typedef union CUlaunchAttributeValue_union {
  char pad[64];
  int cooperative;
  int programmaticStreamSerializationAllowed;
} CUlaunchAttributeValue;

typedef struct CUlaunchAttribute_st {
  CUlaunchAttributeID id;
  char pad[8 - sizeof(CUlaunchAttributeID)];
  CUlaunchAttributeValue value;
} CUlaunchAttribute;

typedef struct CUlaunchConfig_st {
  unsigned gridDimX, gridDimY, gridDimZ;
  unsigned blockDimX, blockDimY, blockDimZ;
  unsigned sharedMemBytes;
  CUstream hStream;
  CUlaunchAttribute *attrs;
  unsigned numAttrs;
} CUlaunchConfig;

/* clang-format off */
#define RETORT_CUDA_API(F)                                                                         \
  F(cuInit, cuInit, (unsigned flags))                                                              \
  F(cuDriverGetVersion, cuDriverGetVersion, (int *version))                                        \
  F(cuGetErrorName, cuGetErrorName, (CUresult error, const char **name))                           \
  F(cuGetErrorString, cuGetErrorString, (CUresult error, const char **text))                       \
  F(cuDeviceGetCount, cuDeviceGetCount, (int *count))                                              \
  F(cuDeviceGet, cuDeviceGet, (CUdevice *device, int ordinal))                                     \
  F(cuDeviceGetName, cuDeviceGetName, (char *name, int capacity, CUdevice device))                 \
  F(cuDeviceGetAttribute, cuDeviceGetAttribute,                                                    \
    (int *value, CUdevice_attribute attribute, CUdevice device))                                   \
  F(cuDeviceTotalMem, cuDeviceTotalMem_v2, (size_t *bytes, CUdevice device))                       \
  F(cuDeviceCanAccessPeer, cuDeviceCanAccessPeer, (int *can, CUdevice device, CUdevice peer))      \
  F(cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain, (CUcontext *context, CUdevice device))     \
  F(cuDevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2, (CUdevice device))                    \
  F(cuCtxGetCurrent, cuCtxGetCurrent, (CUcontext *context))                                        \
  F(cuCtxSetCurrent, cuCtxSetCurrent, (CUcontext context))                                         \
  F(cuCtxSynchronize, cuCtxSynchronize, (void))                                                    \
  F(cuCtxEnablePeerAccess, cuCtxEnablePeerAccess, (CUcontext peer, unsigned flags))                \
  F(cuMemGetInfo, cuMemGetInfo_v2, (size_t *free, size_t *total))                                  \
  F(cuMemAlloc, cuMemAlloc_v2, (CUdeviceptr *memory, size_t bytes))                                \
  F(cuMemFree, cuMemFree_v2, (CUdeviceptr memory))                                                 \
  F(cuMemAllocHost, cuMemAllocHost_v2, (void **memory, size_t bytes))                              \
  F(cuMemFreeHost, cuMemFreeHost, (void *memory))                                                  \
  F(cuMemHostGetDevicePointer, cuMemHostGetDevicePointer_v2,                                       \
    (CUdeviceptr *device, void *host, unsigned flags))                                             \
  F(cuMemcpyHtoDAsync, cuMemcpyHtoDAsync_v2,                                                       \
    (CUdeviceptr to, const void *from, size_t bytes, CUstream stream))                             \
  F(cuMemcpyDtoHAsync, cuMemcpyDtoHAsync_v2,                                                       \
    (void *to, CUdeviceptr from, size_t bytes, CUstream stream))                                   \
  F(cuMemcpyDtoDAsync, cuMemcpyDtoDAsync_v2,                                                       \
    (CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream))                             \
  F(cuMemsetD8Async, cuMemsetD8Async,                                                              \
    (CUdeviceptr memory, unsigned char value, size_t bytes, CUstream stream))                      \
  F(cuStreamCreate, cuStreamCreate, (CUstream *stream, unsigned flags))                            \
  F(cuStreamDestroy, cuStreamDestroy_v2, (CUstream stream))                                        \
  F(cuStreamSynchronize, cuStreamSynchronize, (CUstream stream))                                   \
  F(cuStreamWaitEvent, cuStreamWaitEvent, (CUstream stream, CUevent event, unsigned flags))        \
  F(cuStreamBeginCapture, cuStreamBeginCapture_v2, (CUstream stream, CUstreamCaptureMode mode))    \
  F(cuStreamEndCapture, cuStreamEndCapture, (CUstream stream, CUgraph *graph))                     \
  F(cuEventCreate, cuEventCreate, (CUevent *event, unsigned flags))                                \
  F(cuEventDestroy, cuEventDestroy_v2, (CUevent event))                                            \
  F(cuEventRecord, cuEventRecord, (CUevent event, CUstream stream))                                \
  F(cuEventQuery, cuEventQuery, (CUevent event))                                                   \
  F(cuEventSynchronize, cuEventSynchronize, (CUevent event))                                       \
  F(cuEventElapsedTime, cuEventElapsedTime, (float *milliseconds, CUevent begin, CUevent end))     \
  F(cuModuleLoadData, cuModuleLoadData, (CUmodule *module, const void *image))                     \
  F(cuModuleUnload, cuModuleUnload, (CUmodule module))                                             \
  F(cuModuleGetFunction, cuModuleGetFunction,                                                      \
    (CUfunction *function, CUmodule module, const char *name))                                     \
  F(cuFuncGetAttribute, cuFuncGetAttribute,                                                        \
    (int *value, CUfunction_attribute attribute, CUfunction function))                             \
  F(cuFuncSetAttribute, cuFuncSetAttribute,                                                        \
    (CUfunction function, CUfunction_attribute attribute, int value))                              \
  F(cuOccupancyMaxActiveBlocksPerMultiprocessor, cuOccupancyMaxActiveBlocksPerMultiprocessor,      \
    (int *blocks, CUfunction function, int threads, size_t sharedBytes))                           \
  F(cuLaunchKernel, cuLaunchKernel,                                                                \
    (CUfunction function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,         \
     unsigned blockY, unsigned blockZ, unsigned sharedBytes, CUstream stream, void **parameters,   \
     void **extra))                                                                                \
  F(cuLaunchKernelEx, cuLaunchKernelEx,                                                            \
    (const CUlaunchConfig *config, CUfunction function, void **parameters, void **extra))          \
  F(cuLaunchCooperativeKernel, cuLaunchCooperativeKernel,                                          \
    (CUfunction function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,         \
     unsigned blockY, unsigned blockZ, unsigned sharedBytes, CUstream stream, void **parameters))  \
  F(cuGraphInstantiateWithFlags, cuGraphInstantiateWithFlags,                                      \
    (CUgraphExec *exec, CUgraph graph, unsigned long long flags))                                  \
  F(cuGraphLaunch, cuGraphLaunch, (CUgraphExec exec, CUstream stream))                             \
  F(cuGraphExecDestroy, cuGraphExecDestroy, (CUgraphExec exec))                                    \
  F(cuGraphDestroy, cuGraphDestroy, (CUgraph graph))
/* clang-format on */

/* The functions as pointers, filled by dlsym. */
typedef struct retort_cuda_api {
#define RETORT_CUDA_POINTER(name, symbol, parameters) CUresult(*name) parameters;
  RETORT_CUDA_API(RETORT_CUDA_POINTER)
#undef RETORT_CUDA_POINTER
} retort_cuda_api;

#endif
