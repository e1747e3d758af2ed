//===- KernelDialect.cpp - The kernel dialect: registration and types -----===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Kernel/KernelOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace retort::kernel;

#include "dialects/Kernel/KernelDialect.cpp.inc"
#include "dialects/Kernel/KernelEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "dialects/Kernel/KernelAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "dialects/Kernel/KernelTypes.cpp.inc"

void KernelDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "dialects/Kernel/KernelAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "dialects/Kernel/KernelTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "dialects/Kernel/KernelOps.cpp.inc"
      >();
}

LogicalResult StagedType::verify(function_ref<InFlightDiagnostic()> emitError, int64_t features,
                                 Type elementType, int64_t group) {
  if (features <= 0)
    return emitError() << "staged rows have " << features << " features: at least 1 is needed";
  bool quantised = elementType.isInteger(8) || elementType.isInteger(16);
  if (!quantised && !elementType.isF32() && !elementType.isF16())
    return emitError() << "staged rows hold f32, f16, i8 or i16, not " << elementType;
  if (quantised ? group <= 0 : group != 0)
    return emitError() << "staged rows of " << elementType << " cannot have groups of " << group
                       << (quantised ? ": integers need a positive group"
                                     : ": floats have group 0");
  return success();
}
