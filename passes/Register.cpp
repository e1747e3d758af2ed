//===- Register.cpp - All of Retort's dialects and passes -----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Register.h"
#include "dialects/Distill/DistillOps.h"
#include "dialects/Kernel/KernelOps.h"
#include "dialects/LM/LMOps.h"
#include "dialects/Weight/WeightOps.h"
#include "mlir/Transforms/Passes.h"
#include "passes/Distill/Passes.h"
#include "passes/Fuse/Passes.h"
#include "passes/Lower/Passes.h"
#include "passes/Partition/Passes.h"
#include "passes/Prune/Passes.h"
#include "passes/Quantize/Passes.h"
#include <mutex>

void retort::registerAllDialects(mlir::DialectRegistry &registry) {
  registry.insert<lm::LMDialect, weight::WeightDialect, distill::DistillDialect,
                  kernel::KernelDialect>();
}

void retort::registerAllPasses() {
  static std::once_flag once;
  std::call_once(once, [] {
    mlir::registerCanonicalizerPass();
    mlir::registerCSEPass();
    mlir::registerSymbolDCEPass();
    mlir::registerStripDebugInfoPass();
    mlir::registerPrintOpStatsPass();
    registerPrunePasses();
    registerQuantizePasses();
    registerDistillPasses();
    registerFusePasses();
    registerPartitionPasses();
    registerLowerPasses();
  });
}
