//===- CudaApiTest.cpp - Our declarations against CUDA's own --------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Compiled where the CUDA Toolkit is installed: numbers, layouts and exported names are those of
// cuda.h. And which GPUs run which code, which needs no GPU.
#include "runtime/src/device/CudaProgram.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#if __has_include(<cuda.h>)
#undef RETORT_DEVICE_CUDA_API_H
namespace ours {
#include "runtime/src/device/cuda_api.h"
}
namespace theirs {
#include <cuda.h>
}
#define SAME_NUMBER(name) static_assert(int(ours::name) == int(theirs::name), #name)
SAME_NUMBER(CUDA_ERROR_OUT_OF_MEMORY);
SAME_NUMBER(CUDA_ERROR_NO_DEVICE);
SAME_NUMBER(CUDA_ERROR_INVALID_IMAGE);
SAME_NUMBER(CUDA_ERROR_NO_BINARY_FOR_GPU);
SAME_NUMBER(CUDA_ERROR_INVALID_PTX);
SAME_NUMBER(CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
SAME_NUMBER(CUDA_ERROR_INVALID_SOURCE);
SAME_NUMBER(CUDA_ERROR_NOT_READY);
SAME_NUMBER(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED);
SAME_NUMBER(CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
SAME_NUMBER(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
SAME_NUMBER(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
SAME_NUMBER(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
SAME_NUMBER(CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH);
SAME_NUMBER(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
SAME_NUMBER(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
SAME_NUMBER(CU_STREAM_NON_BLOCKING);
SAME_NUMBER(CU_EVENT_DISABLE_TIMING);
SAME_NUMBER(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
SAME_NUMBER(CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION);
#define SAME_PLACE(type, member)                                                                   \
  static_assert(sizeof(ours::type) == sizeof(theirs::type) &&                                      \
                offsetof(ours::type, member) == offsetof(theirs::type, member))
SAME_PLACE(CUlaunchConfig, sharedMemBytes);
SAME_PLACE(CUlaunchConfig, hStream);
SAME_PLACE(CUlaunchConfig, attrs);
SAME_PLACE(CUlaunchConfig, numAttrs);
SAME_PLACE(CUlaunchAttribute, value);
static_assert(sizeof(ours::CUdeviceptr) == sizeof(theirs::CUdeviceptr));
// The names that cuda.h gives the functions are those that we look up: each is declared there.
#define DECLARED(name, symbol, parameters) static_assert(sizeof(&theirs::symbol) == sizeof(void *));
RETORT_CUDA_API(DECLARED)
#endif

namespace retort::engine {
namespace {

Manifest::CudaEntry entryFor(std::vector<std::string> arches, std::string ptx = {}) {
  Manifest::CudaEntry entry;
  for (const std::string &arch : arches)
    entry.arches.push_back(*CudaArch::parse(arch, "sm_"));
  if (!ptx.empty())
    entry.ptx = CudaArch::parse(ptx, "compute_");
  return entry;
}

TEST(CudaArches, WhichGpusRunWhichCode) {
  auto runs = [](const Manifest::CudaEntry &entry, int major, int minor) {
    return whyNotOn(entry, major, minor).empty();
  };
  const auto sm80 = entryFor({"sm_80"});
  EXPECT_TRUE(runs(sm80, 8, 0));
  EXPECT_TRUE(runs(sm80, 8, 9)); // a later minor version
  EXPECT_FALSE(runs(sm80, 9, 0));
  EXPECT_FALSE(runs(entryFor({"sm_89"}), 8, 6));
  const auto sm90a = entryFor({"sm_90a"});
  EXPECT_TRUE(runs(sm90a, 9, 0));
  EXPECT_FALSE(runs(sm90a, 9, 1));
  EXPECT_FALSE(runs(sm90a, 10, 0));
  EXPECT_TRUE(runs(entryFor({"sm_100f"}), 10, 3));
  EXPECT_FALSE(runs(entryFor({"sm_100f"}), 11, 0));
  EXPECT_TRUE(runs(entryFor({"sm_80"}, "compute_80"), 12, 1)); // compiled by the driver
  EXPECT_FALSE(runs(entryFor({"sm_120"}, "compute_120"), 9, 0));
  EXPECT_FALSE(runs(entryFor({}, "compute_90a"), 10, 0));
}

TEST(CudaArches, WhyNot) {
  EXPECT_EQ(whyNotOn(entryFor({"sm_80", "sm_90a"}, "compute_120"), 10, 0),
            "is of architecture sm_100 and the bundle has code for sm_80, sm_90a and PTX for "
            "compute_120: compile the model with --target cuda:sm_100");
  EXPECT_EQ(whyNotOn(entryFor({"sm_80"}), 7, 5),
            "is of architecture sm_75, older than sm_80, the oldest that Retort makes code for");
}

} // namespace
} // namespace retort::engine
