//===- CpuDevice.h - Steps on a pool of threads -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/src/abi/cpu_program.h"
#include "runtime/src/device/Device.h"
#include "runtime/src/engine/Buffer.h"
#include "runtime/src/engine/ThreadPool.h"

namespace retort::engine {

/// program.so on a pool of threads; weights stay in the mapped file.
class CpuDevice final : public Device {
public:
  /// The model must have a program for this CPU. Throws Error: Usage for more than 1024 threads,
  /// Resources if threads are refused.
  CpuDevice(std::shared_ptr<const Model> model, uint32_t threads);

  const std::string &name() const override { return name_; }
  const DeviceLimits &limits() const override { return limits_; }
  unsigned threads() const override { return pool_.threads(); }
  void allocate(const KvCache &cache) override;
  void run(const KvCache &cache, const StepRows &rows, const StepResults &results) override;
  void copyPage(int32_t from, int32_t to) override;

private:
  std::shared_ptr<const Model> model_;
  std::string name_;
  DeviceLimits limits_;
  const uint8_t *weights_;
  ThreadPool pool_;
  Buffer cache_, activations_, scratch_;
  retort_cpu_barrier barrier_ = {};
};

} // namespace retort::engine
