//===- fuzz_folder.cpp - Quantised checkpoints, and adapters --------------===//
// SPDX-License-Identifier: Apache-2.0
//
// A config.json or adapter_config.json, a NUL, and a file of tensors.
//
//===----------------------------------------------------------------------===//
#include "compiler/Checkpoint/Adapter.h"
#include "compiler/Checkpoint/CodedMatrix.h"
#include "runtime/base/Error.h"
#include <cstring>

using namespace retort;

/// Reads the first and the last row of every matrix that is kept in several tensors.
static void readQuantized(const std::string &config, std::span<const uint8_t> tensors) {
  const Checkpoint checkpoint =
      Checkpoint::of(SafetensorsFile::parse(tensors, "input.safetensors"), config);
  for (const CheckpointTensor &tensor : checkpoint.tensors()) {
    if (!tensor.coded)
      continue;
    CodedReader reader(tensor.coded);
    std::vector<float> row(static_cast<size_t>(tensor.columns()));
    reader.read(0, 1, row.data());
    reader.read(tensor.rows() - 1, tensor.rows(), row.data());
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const void *nul = size == 0 ? nullptr : std::memchr(data, 0, size);
  if (!nul)
    return 0;
  const auto length = static_cast<size_t>(static_cast<const uint8_t *>(nul) - data);
  const std::string config(reinterpret_cast<const char *>(data), length);
  const std::span<const uint8_t> tensors(data + length + 1, size - length - 1);
  try {
    readQuantized(config, tensors);
  } catch (const Error &) {
  }
  try {
    Adapter::of(config, SafetensorsFile::parse(tensors, "input.safetensors"), "input");
  } catch (const Error &) {
  }
  return 0;
}
