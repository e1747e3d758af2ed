//===- retort-lsp-server.cpp - Language server for Retort's IR ------------===//
// SPDX-License-Identifier: Apache-2.0
#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"
#include "passes/Register.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  retort::registerAllDialects(registry);
  return failed(mlir::MlirLspServerMain(argc, argv, registry));
}
