//===- broken_executor.cpp - An executor that reports a bug of its own -------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Executor.h"

extern "C" __attribute__((visibility("default"))) retort::exec::Executor *
retort_torch_create(const retort::exec::ExecutorOptions *, retort::exec::Status *status) {
  *status = {retort::ExitCode::Internal, "executor: a test's bug"};
  return nullptr;
}
