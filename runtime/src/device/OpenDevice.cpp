//===- OpenDevice.cpp - Which device runs a session ------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "runtime/src/base/Error.h"
#include "runtime/src/device/CpuDevice.h"

namespace retort::engine {

std::unique_ptr<Device> openDevice(std::shared_ptr<const Model> model, const std::string &choice,
                                   uint32_t threads) {
  return std::make_unique<CpuDevice>(std::move(model), threads);
}

} // namespace retort::engine
