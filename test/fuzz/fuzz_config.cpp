//===- fuzz_config.cpp - config.json --------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Import/Config.h"
#include "runtime/base/Error.h"

using namespace retort;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  try {
    const std::string text(reinterpret_cast<const char *>(data), size);
    checkModelConfig(readHuggingFaceConfig(text, "config.json"), "config.json");
  } catch (const Error &) {
  }
  return 0;
}
