//===- dump-tensors.cpp - A checkpoint's tensors as float32 ---------------===//
// SPDX-License-Identifier: Apache-2.0
//
// dump-tensors CHECKPOINT OUT.safetensors: all tensors, dequantised row by row. test_gguf.py
// compares them with what the gguf package makes of the same file.
//
//===----------------------------------------------------------------------===//
#include "compiler/Checkpoint/CodedMatrix.h"
#include "compiler/Checkpoint/Safetensors.h"
#include "runtime/base/Error.h"
#include <cstdio>

int main(int argc, char **argv) {
  using namespace retort;
  if (argc != 3)
    return std::fprintf(stderr, "usage: dump-tensors CHECKPOINT OUT.safetensors\n"), 2;
  try {
    Checkpoint checkpoint = Checkpoint::open(argv[1]);
    SafetensorsWriter writer(argv[2]);
    for (const CheckpointTensor &tensor : checkpoint.tensors())
      writer.addTensor(std::string(tensor.name), DType::F32, tensor.shape);
    writer.begin();
    for (const CheckpointTensor &tensor : checkpoint.tensors()) {
      if (tensor.coded) {
        CodedReader reader(tensor.coded);
        std::vector<float> row(static_cast<size_t>(tensor.columns()));
        for (int64_t at = 0; at < tensor.rows(); ++at) {
          reader.read(at, at + 1, row.data());
          writer.append(std::span<const float>(row));
        }
        continue;
      }
      const uint64_t columns = static_cast<uint64_t>(tensor.columns());
      const uint64_t rowBytes = columns / blockElements(tensor.type) * blockBytes(tensor.type);
      std::vector<float> row(columns);
      for (uint64_t at = 0; at < tensor.bytes.size(); at += rowBytes) {
        dequantize(tensor.type, tensor.bytes.data() + at, columns, row.data());
        writer.append(std::span<const float>(row));
      }
    }
    writer.finish();
  } catch (const Error &error) {
    return std::fprintf(stderr, "dump-tensors: %s\n", error.message.c_str()),
           static_cast<int>(error.code);
  }
  return 0;
}
