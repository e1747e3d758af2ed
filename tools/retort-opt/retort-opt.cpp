//===- retort-opt.cpp - mlir-opt for Retort's dialects and passes ---------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Interpret.h"
#include "dialects/Distill/DistillOps.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"
#include "passes/Register.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"

static llvm::cl::opt<std::string>
    workspace("workspace", llvm::cl::value_desc("dir"),
              llvm::cl::desc("Folder whose objects/ hold the files that #distill.file names"));

/// The object of this hash, whatever its kind.
static std::string findObject(llvm::StringRef sha256) {
  for (const char *kind : {".json", ".safetensors"}) {
    std::string path = workspace + "/objects/" + sha256.str() + kind;
    if (llvm::sys::fs::exists(path))
      return path;
  }
  return {};
}

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  retort::registerAllDialects(registry);
  retort::registerAllPasses();
  retort::exec::registerInterpretPass();
  registry.addExtension(+[](mlir::MLIRContext *, retort::distill::DistillDialect *dialect) {
    if (!workspace.empty())
      dialect->setFileResolver(findObject);
  });
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "Retort's optimiser driver\n", registry));
}
