//===- failing_driver.cpp - A CUDA driver that does not start -------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Every call of it returns the number that RETORT_FAIL_ERROR has.
#include "runtime/src/device/cuda_api.h"
#include <cstdlib>

#define RETORT_FAILING_CALL(name, symbol, parameters)                                              \
  extern "C" __attribute__((visibility("default"))) CUresult symbol parameters {                   \
    return CUresult(std::atoi(std::getenv("RETORT_FAIL_ERROR")));                                  \
  }
RETORT_CUDA_API(RETORT_FAILING_CALL)
