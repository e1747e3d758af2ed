//===- Loader.h - Opens libretort_torch.so when a stage needs it ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Torch/Executor.h"
#include <memory>
#include <string>

namespace retort::exec {

/// Where the library is unless said otherwise: $RETORT_TORCH_LIBRARY, else ../lib beside the
/// running binary.
std::string defaultExecutorPath();

/// What the bits of results depend on besides a call's arguments: libtorch's version, the features
/// that it and Retort's loops choose code by, and the precision. Not the threads (Products.h).
std::string arithmetic();

/// Opens the library (the first time; it stays open until the process ends, as libtorch cannot be
/// unloaded) and makes an executor. Throws Error: Io if it cannot be opened, with the loader's
/// reason.
std::unique_ptr<Executor> loadExecutor(const ExecutorOptions &options = {},
                                       const std::string &path = defaultExecutorPath());

} // namespace retort::exec
