//===- dump-params.cpp - A model's parameters as float32 ------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// dump-params CHECKPOINT OUT.safetensors [OUT.mlir [ADAPTER]]: imports the model, evaluates every
// parameter's program a few rows at a time, and writes the values under the parameters' names.
// test_import.py compares what comes from Hugging Face and from GGUF, test_adapter.py what PEFT merges.
//
//===----------------------------------------------------------------------===//
#include "compiler/Checkpoint/Safetensors.h"
#include "compiler/Import/Import.h"
#include "compiler/Weights/ParamStream.h"
#include "runtime/base/Error.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdio>

static void dump(const char *path, const char *out, const char *text, const char *adapter) {
  using namespace retort;
  mlir::MLIRContext context;
  Checkpoint checkpoint = Checkpoint::open(path, adapter);
  mlir::OwningOpRef<mlir::ModuleOp> module = importModel(context, checkpoint);
  auto model = *module->getOps<lm::ModelOp>().begin();
  WeightSources sources(&checkpoint);
  SafetensorsWriter writer(out);
  auto params = model.getBodyRegion().getOps<lm::ParamOp>();
  for (lm::ParamOp param : params)
    writer.addTensor(param.getSymName().str(), DType::F32, param.getShape().vec());
  writer.begin();
  for (lm::ParamOp param : params) {
    ParamStream stream(param, sources);
    std::vector<float> rows(static_cast<size_t>(3 * stream.columns()));
    for (int64_t at = 0; at < stream.rows(); at += 3) {
      const int64_t end = std::min(at + 3, stream.rows());
      stream.readRows(at, end, rows.data());
      writer.append(
          std::span<const float>(rows).first(static_cast<size_t>((end - at) * stream.columns())));
    }
  }
  writer.finish();
  if (!text)
    return;
  std::error_code error;
  llvm::raw_fd_ostream stream(text, error);
  module->print(stream);
}

int main(int argc, char **argv) {
  if (argc < 3)
    return std::fprintf(stderr,
                        "usage: dump-params CHECKPOINT OUT.safetensors [OUT.mlir [ADAPTER]]\n"),
           2;
  try {
    dump(argv[1], argv[2], argc > 3 ? argv[3] : nullptr, argc > 4 ? argv[4] : "");
  } catch (const retort::Error &error) {
    return std::fprintf(stderr, "dump-params: %s\n", error.message.c_str()),
           static_cast<int>(error.code);
  }
  return 0;
}
