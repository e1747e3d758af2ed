//===- fuzz_safetensors.cpp - safetensors files ---------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Checkpoint/Safetensors.h"
#include "runtime/base/Error.h"
#include <cstdlib>

using namespace retort;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  try {
    SafetensorsFile file = SafetensorsFile::parse({data, size}, "input.safetensors");
    uint64_t covered = 0;
    for (const SafetensorsTensor &tensor : file.tensors()) {
      covered += tensor.bytes.size();
      if (file.find(tensor.name) != &tensor || tensor.bytes.data() != data + tensor.offset)
        std::abort();
      if (!tensor.bytes.empty() && isOfWeights(tensor.type)) {
        float first;
        dequantize(tensor.type, tensor.bytes.data(), 1, &first);
      }
    }
    uint64_t header = 0;
    for (int i = 7; i >= 0; --i)
      header = header << 8 | data[i];
    if (8 + header + covered != size) // nothing hides in a file that was read
      std::abort();
  } catch (const Error &) {
  }
  return 0;
}
