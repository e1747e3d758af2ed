//===- Sim.h - Runs device code on the simulated driver -------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// As an application would: the library is opened, its functions are found by name, a module is
// loaded and launched. With RETORT_CUDA_DRIVER=libcuda.so.1 in the environment the same tests run
// on the first GPU: nvcc (CUDACXX, or /usr/local/cuda/bin/nvcc) compiles the text, and what only
// the simulator can do is left out (scripts/gpu-check says which tests make sense then).
#pragma once
#include "kernels/sim/sim.h"
#include "runtime/src/device/cuda_api.h"
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <unistd.h>
#include <vector>

namespace retort::test {

struct Library {
  retort_cuda_api api;
  decltype(&retort_sim_set) set;
  decltype(&retort_sim_name) name;
  decltype(&retort_sim_report) report;
  decltype(&retort_sim_clear) clear;
  decltype(&retort_sim_error) error;
  bool isHardware;
  Library() {
    setenv("RETORT_SIM_CACHE", RETORT_SIM_TEST_CACHE, 0);
    const char *driver = getenv("RETORT_CUDA_DRIVER");
    isHardware = driver != nullptr;
    void *handle = dlopen(driver ? driver : RETORT_SIM_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
      fprintf(stderr, "%s\n", dlerror());
      abort();
    }
#define RETORT_FIND(field, symbol, parameters)                                                     \
  *reinterpret_cast<void **>(&api.field) = dlsym(handle, #symbol);
    RETORT_CUDA_API(RETORT_FIND)
#undef RETORT_FIND
    if (isHardware) {
      set = [](const char *, long long) { return 1; };
      name = [](unsigned long long, size_t, const char *) {};
      report = [](char *text, size_t capacity) -> size_t {
        if (capacity > 2)
          strcpy(text, "{}");
        return 3;
      };
      clear = [] {};
      error = []() -> const char * { return "on the GPU"; };
      return;
    }
    *reinterpret_cast<void **>(&set) = dlsym(handle, "retort_sim_set");
    *reinterpret_cast<void **>(&name) = dlsym(handle, "retort_sim_name");
    *reinterpret_cast<void **>(&report) = dlsym(handle, "retort_sim_report");
    *reinterpret_cast<void **>(&clear) = dlsym(handle, "retort_sim_clear");
    *reinterpret_cast<void **>(&error) = dlsym(handle, "retort_sim_error");
  }
};
inline Library &library() {
  static Library instance;
  return instance;
}

/// What cuModuleLoadData takes for `text`: the text on the simulator, for a GPU nvcc's cubin.
inline std::string codeOf(const std::string &text) {
  if (!library().isHardware)
    return text;
  int major = 0, minor = 0;
  library().api.cuDeviceGetAttribute(&major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 0);
  library().api.cuDeviceGetAttribute(&minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0);
  const std::string arch =
      "sm_" + std::to_string(major * 10 + minor) + (major == 9 || major == 10 ? "a" : "");
  const char *named = getenv("CUDACXX");
  const auto base =
      std::filesystem::temp_directory_path() / ("retort-cuda-test-" + std::to_string(getpid()));
  const std::string source = base.string() + ".cu", cubin = base.string() + ".cubin";
  std::ofstream(source) << text;
  const std::string command = std::string(named ? named : "/usr/local/cuda/bin/nvcc") +
                              " -std=c++20 -O3 -cubin -arch=" + arch + " -I" RETORT_SOURCE_DIR +
                              " -o " + cubin + " " + source;
  EXPECT_EQ(system(command.c_str()), 0) << command;
  std::ifstream in(cubin, std::ios::binary);
  std::string code{std::istreambuf_iterator<char>(in), {}};
  std::filesystem::remove(source);
  std::filesystem::remove(cubin);
  return code;
}

/// Contexts of `devices` devices with default settings, changed by set(); the first is current.
class Sim : public ::testing::Test {
protected:
  retort_cuda_api &cuda = library().api;
  std::vector<CUcontext> contexts;

  void SetUp() override {
    for (const auto &[name, value] :
         std::initializer_list<std::pair<const char *, long long>>{{"devices", 1},
                                                                   {"sms", 4},
                                                                   {"arch", 90},
                                                                   {"seed", 0},
                                                                   {"memory", 1 << 30},
                                                                   {"peers", 1},
                                                                   {"check", 0},
                                                                   {"count", 0},
                                                                   {"fail_allocation", -1},
                                                                   {"lose_device", -1},
                                                                   {"host_wait_ms", 0}})
      set(name, value);
    library().clear();
  }
  void TearDown() override {
    for (size_t d = 0; d < contexts.size(); ++d)
      cuda.cuDevicePrimaryCtxRelease(CUdevice(d));
  }
  void set(const char *name, long long value) { ASSERT_EQ(library().set(name, value), 1) << name; }
  void start() {
    ASSERT_EQ(cuda.cuInit(0), CUDA_SUCCESS);
    int count = 0;
    ASSERT_EQ(cuda.cuDeviceGetCount(&count), CUDA_SUCCESS);
    contexts.resize(size_t(count));
    for (int d = 0; d < count; ++d)
      ASSERT_EQ(cuda.cuDevicePrimaryCtxRetain(&contexts[size_t(d)], d), CUDA_SUCCESS);
    ASSERT_EQ(cuda.cuCtxSetCurrent(contexts[0]), CUDA_SUCCESS);
  }
  CUmodule load(const std::string &body) {
    CUmodule module = nullptr;
    const std::string text =
        "#include \"kernels/cuda/wrap.cuh\"\nusing namespace retort::cuda;\n" + body;
    EXPECT_EQ(cuda.cuModuleLoadData(&module, codeOf(text).c_str()), CUDA_SUCCESS)
        << library().error();
    return module;
  }
  CUfunction function(CUmodule module, const char *name) {
    CUfunction f = nullptr;
    EXPECT_EQ(cuda.cuModuleGetFunction(&f, module, name), CUDA_SUCCESS) << library().error();
    return f;
  }
  template <class T> CUdeviceptr upload(const std::vector<T> &data) {
    CUdeviceptr memory = 0;
    EXPECT_EQ(cuda.cuMemAlloc(&memory, data.size() * sizeof(T)), CUDA_SUCCESS);
    EXPECT_EQ(cuda.cuMemcpyHtoDAsync(memory, data.data(), data.size() * sizeof(T), nullptr),
              CUDA_SUCCESS);
    return memory;
  }
  template <class T> std::vector<T> download(CUdeviceptr memory, size_t count) {
    std::vector<T> data(count);
    EXPECT_EQ(cuda.cuMemcpyDtoHAsync(data.data(), memory, count * sizeof(T), nullptr),
              CUDA_SUCCESS);
    EXPECT_EQ(cuda.cuStreamSynchronize(nullptr), CUDA_SUCCESS);
    return data;
  }
  /// Launches on the default stream.
  template <class... A>
  CUresult launch(CUfunction f, unsigned grid, unsigned threads, unsigned shared, bool cooperative,
                  A... arguments) {
    void *parameters[] = {&arguments...};
    return cooperative ? cuda.cuLaunchCooperativeKernel(f, grid, 1, 1, threads, 1, 1, shared,
                                                        nullptr, parameters)
                       : cuda.cuLaunchKernel(f, grid, 1, 1, threads, 1, 1, shared, nullptr,
                                             parameters, nullptr);
  }
  nlohmann::json report() {
    std::string text(library().report(nullptr, 0), 0);
    library().report(text.data(), text.size());
    text.pop_back();
    return nlohmann::json::parse(text);
  }
  /// The kinds of the findings, each once, sorted.
  std::vector<std::string> kinds() {
    std::vector<std::string> all;
    const auto r = report();
    for (const auto &finding : r["findings"])
      all.push_back(finding["kind"]);
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    return all;
  }
};

} // namespace retort::test
