//===- fuzz_gguf.cpp - GGUF files, their metadata and their model ---------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Checkpoint/Gguf.h"
#include "compiler/Import/Config.h"
#include "runtime/base/Error.h"
#include "test/fuzz/GgufMutator.h"
#include <algorithm>

using namespace retort;

/// Asks for every value as everything; only an Error may come.
static void readEveryWay(const GgufFile &file, std::string_view key) {
  auto attempt = [](auto read) {
    try {
      read();
    } catch (const Error &) {
    }
  };
  attempt([&] { file.string(key); });
  attempt([&] { file.integer(key); });
  attempt([&] { file.number(key); });
  attempt([&] { file.boolean(key); });
  attempt([&] { file.strings(key); });
  attempt([&] { file.int32s(key); });
  attempt([&] { file.integers(key); });
  attempt([&] { file.floats(key); });
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  try {
    GgufFile file = GgufFile::parse({data, size}, "input.gguf");
    for (const GgufFile::Value &value : file.values())
      readEveryWay(file, value.key);
    float numbers[256];
    for (const GgufTensor &tensor : file.tensors()) {
      const uint64_t block = blockElements(tensor.type), bytes = blockBytes(tensor.type);
      dequantize(tensor.type, tensor.bytes.data(), block, numbers);
      dequantize(tensor.type, tensor.bytes.data() + tensor.bytes.size() - bytes, block, numbers);
    }
    readModelConfig(Checkpoint::of(std::move(file)));
  } catch (const Error &) {
  }
  return 0;
}

extern "C" size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t maxSize);

/// Half of the time one field of the file's structure is changed, else bytes as libFuzzer likes.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t maxSize,
                                          unsigned seed) {
  if (seed % 2)
    if (size_t mutated = fuzz::mutateGguf(data, size, maxSize, seed / 2))
      return mutated;
  return LLVMFuzzerMutate(data, size, maxSize);
}
