//===- Loader.cpp - Opens libretort_torch.so when a stage needs it ----------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Loader.h"
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

std::unique_ptr<Executor> loadExecutor(const ExecutorOptions &options, const std::string &path) {
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
  std::unique_ptr<Executor> executor(create(&options, &status));
  check(status);
  return executor;
}

} // namespace retort::exec
