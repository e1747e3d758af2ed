//===- ApiModules.cpp - Modules, functions, launches ---------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "kernels/sim/Driver.h"
#include <algorithm>
#include <cstring>
#include <dlfcn.h>

namespace retort::sim {

unsigned occupancy(const Function &function, unsigned threads, size_t shared) {
  const cuda::Architecture &limits = settings.architecture();
  if (threads == 0 || threads > function.kernel.threads || shared > size_t(limits.sharedBytes))
    return 0;
  unsigned ctas = std::min(unsigned(limits.ctas), limits.threads / threads);
  // Each CTA costs 1 KB beside its own.
  ctas = std::min(ctas, unsigned(limits.multiprocessorSharedBytes() / (shared + 1024)));
  // A kernel bounded to fewer threads may use more registers: 65536 a multiprocessor, at most 255 a
  // thread.
  const unsigned registers =
      std::min(255u, 65536 / (function.kernel.threads * std::max(1u, function.kernel.ctasPerSm)));
  return std::min(ctas, 65536 / (registers * threads));
}
} // namespace retort::sim

using namespace retort::sim;

RETORT_EXPORT CUresult cuModuleLoadData(CUmodule *module, const void *image) {
  Call call;
  if (const CUresult error = usable())
    return error;
  const auto *bytes = static_cast<const unsigned char *>(image);
  if (!image)
    return CUDA_ERROR_INVALID_VALUE;
  if (memcmp(bytes,
             "\x7f"
             "ELF",
             4) == 0 ||
      memcmp(bytes, "\x50\xed\x55\xba", 4) == 0) {
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
RETORT_EXPORT CUresult cuModuleGetFunction(CUfunction *function, CUmodule module,
                                           const char *name) {
  Call call;
  if (const CUresult error = usable())
    return error;
  if (!module)
    return CUDA_ERROR_INVALID_HANDLE;
  CUfunction &slot = module->functions[name];
  if (!slot) {
    const auto *kernel = static_cast<const retort_sim_kernel *>(
        dlsym(module->handle, (std::string("retort_sim_kernel_") + name).c_str()));
    if (!kernel) {
      module->functions.erase(name);
      setError("simulated device: the program has no kernel " + std::string(name) +
               " (declared by RETORT_KERNEL)");
      return CUDA_ERROR_NOT_FOUND;
    }
    slot = new CUfunc_st;
    slot->name = name;
    slot->kernel = *kernel;
  }
  *function = slot;
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuFuncGetAttribute(int *value, CUfunction_attribute attribute,
                                          CUfunction function) {
  Call call;
  switch (attribute) {
  case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    return *value = int(function->kernel.threads), CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_NUM_REGS:
    return *value = int(std::min(255u, 65536 / (function->kernel.threads *
                                                std::max(1u, function->kernel.ctasPerSm)))),
           CUDA_SUCCESS;
  case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
    return *value = int(function->maxShared), CUDA_SUCCESS;
  default:
    return *value = 0, CUDA_SUCCESS;
  }
}
RETORT_EXPORT CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute,
                                          int value) {
  Call call;
  if (const CUresult error = usable())
    return error;
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
    return CUDA_SUCCESS;
  if (value < 0 || value > settings.architecture().sharedBytes)
    return CUDA_ERROR_INVALID_VALUE;
  function->maxShared = uint32_t(value);
  return CUDA_SUCCESS;
}
RETORT_EXPORT CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *ctas, CUfunction function,
                                                                   int threads, size_t shared) {
  Call call;
  if (threads <= 0)
    return CUDA_ERROR_INVALID_VALUE;
  *ctas = int(occupancy(*function, unsigned(threads), shared));
  return CUDA_SUCCESS;
}

//===- Launches -----------------------------------------------------------===//

static CUresult launch(CUfunction function, const unsigned (&grid)[3], const unsigned (&cta)[3],
                       unsigned shared, CUstream stream, void **parameters, bool cooperative,
                       bool dependent) {
  if (const CUresult error = usable())
    return error;
  if (!function || !parameters || grid[1] != 1 || grid[2] != 1 || cta[1] != 1 || cta[2] != 1 ||
      grid[0] == 0 || cta[0] == 0 || cta[0] > 1024 || grid[0] > 0x7fffffffu)
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
RETORT_EXPORT CUresult cuLaunchKernel(CUfunction function, unsigned gridX, unsigned gridY,
                                      unsigned gridZ, unsigned blockX, unsigned blockY,
                                      unsigned blockZ, unsigned sharedBytes, CUstream stream,
                                      void **parameters, void **) {
  Call call;
  return launch(function, {gridX, gridY, gridZ}, {blockX, blockY, blockZ}, sharedBytes, stream,
                parameters, false, false);
}
RETORT_EXPORT CUresult cuLaunchCooperativeKernel(CUfunction function, unsigned gridX,
                                                 unsigned gridY, unsigned gridZ, unsigned blockX,
                                                 unsigned blockY, unsigned blockZ,
                                                 unsigned sharedBytes, CUstream stream,
                                                 void **parameters) {
  Call call;
  return launch(function, {gridX, gridY, gridZ}, {blockX, blockY, blockZ}, sharedBytes, stream,
                parameters, true, false);
}
RETORT_EXPORT CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function,
                                        void **parameters, void **) {
  Call call;
  bool cooperative = false, dependent = false;
  for (unsigned i = 0; i < config->numAttrs; ++i) {
    if (config->attrs[i].id == CU_LAUNCH_ATTRIBUTE_COOPERATIVE)
      cooperative = config->attrs[i].value.cooperative != 0;
    if (config->attrs[i].id == CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION)
      dependent = config->attrs[i].value.programmaticStreamSerializationAllowed != 0;
  }
  return launch(function, {config->gridDimX, config->gridDimY, config->gridDimZ},
                {config->blockDimX, config->blockDimY, config->blockDimZ}, config->sharedMemBytes,
                config->hStream, parameters, cooperative, dependent);
}
