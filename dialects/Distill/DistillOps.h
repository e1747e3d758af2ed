//===- DistillOps.h - The distill dialect: work on data -------------------===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/Common.h"
#include "dialects/Distill/Schedule.h"
#include "dialects/Distill/Statistics.h"
#include "dialects/LM/LMOps.h"
#include "dialects/Weight/WeightOps.h"
#include <functional>
#include <string>

#include "dialects/Distill/DistillDialect.h.inc"
#include "dialects/Distill/DistillEnums.h.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/Distill/DistillAttrs.h.inc"
#define GET_OP_CLASSES
#include "dialects/Distill/DistillOps.h.inc"

namespace retort::distill {
/// The path of a finished work's result; fails with a diagnostic at `op` that says that `pass` needs it.
mlir::FailureOr<std::string> resultFile(mlir::Operation *op, FileAttr result, llvm::StringRef pass);
/// An error at `op` that a file which data work made is to blame for.
mlir::InFlightDiagnostic badFile(mlir::Operation *op);
} // namespace retort::distill
