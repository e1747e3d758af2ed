//===- Common.td - Attribute constraints that Retort's dialects share -----===//
// SPDX-License-Identifier: Apache-2.0
#ifndef RETORT_DIALECTS_COMMON_TD
#define RETORT_DIALECTS_COMMON_TD

include "mlir/IR/CommonAttrConstraints.td"

/// An i64 whose accessor returns int64_t.
def Retort_Int : TypedSignlessIntegerAttrBase<I64, "int64_t", "an integer">;

/// An f64 whose accessor returns double.
def Retort_Float : FloatAttrBase<F64, "a number"> {
  let returnType = "double";
  let convertFromStorage = "$_self.getValueAsDouble()";
}

#endif // RETORT_DIALECTS_COMMON_TD
