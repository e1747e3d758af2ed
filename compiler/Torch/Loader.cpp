//===- Loader.cpp - Opens libretort_torch.so when a stage needs it ----------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Loader.h"
#include "runtime/base/Machine.h"
#include <cstdlib>
#include <dlfcn.h>
#include <filesystem>

namespace retort::exec {

std::string defaultExecutorPath() {
  if (const char *path = std::getenv("RETORT_TORCH_LIBRARY"); path && *path)
    return path;
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  return (self.parent_path().parent_path() / "lib" / "libretort_torch.so").string();
}

static int threadsOf(const ExecutorOptions &options) {
  return options.threads > 0 ? options.threads : static_cast<int>(usableCores());
}

std::string arithmetic() {
  std::string text = "libtorch " RETORT_TORCH_VERSION;
  text += __builtin_cpu_is("intel") ? ", Intel" : __builtin_cpu_is("amd") ? ", AMD" : "";
  text += __builtin_cpu_supports("x86-64-v4") ? ", x86-64-v4" : ", x86-64-v3";
  text += __builtin_cpu_supports("avx512vnni") ? ", VNNI" : "";
  return text + (fastPrecision() == Precision::Bf16 ? ", bf16" : ", f32");
}

std::unique_ptr<Executor> loadExecutor(const ExecutorOptions &options, const std::string &path) {
  // OpenMP's threads spin where they wait. With another program on one of the cores they then take
  // the time of the thread that they wait for, and training is five times slower. libgomp reads
  // these when it is loaded; what the user has set stands.
  setenv("OMP_WAIT_POLICY", "passive", /*overwrite=*/0);
  setenv("GOMP_SPINCOUNT", "0", /*overwrite=*/0);
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (!library) {
    const char *reason = dlerror();
    fail(ExitCode::Io, path + ": the executor cannot be loaded: " + (reason ? reason : "unknown"));
  }
  using Create = Executor *(const ExecutorOptions *, Status *);
  auto *create = reinterpret_cast<Create *>(dlsym(library, "retort_torch_create"));
  if (!create)
    fail(ExitCode::Io, path + ": it is not Retort's executor: it lacks retort_torch_create");
  Status status;
  const ExecutorOptions resolved{.threads = threadsOf(options)};
  std::unique_ptr<Executor> executor(create(&resolved, &status));
  check(status);
  return executor;
}

} // namespace retort::exec
