//===- WeightUpdateOps.cpp - Operations that change weights by others -----===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/Weight/WeightUpdateOps.h"

using namespace mlir;
using namespace retort::weight;

#define GET_OP_CLASSES
#include "dialects/Weight/WeightUpdateOps.cpp.inc"

LogicalResult ProductOp::inferReturnTypes(MLIRContext *, std::optional<Location>, Adaptor adaptor,
                                          SmallVectorImpl<Type> &types) {
  auto left = dyn_cast<RankedTensorType>(adaptor.getLeft().getType());
  auto right = dyn_cast<RankedTensorType>(adaptor.getRight().getType());
  if (!left || !right || left.getRank() != 2 || right.getRank() != 2)
    return failure();
  types.push_back(
      RankedTensorType::get({left.getDimSize(0), right.getDimSize(1)}, left.getElementType()));
  return success();
}

LogicalResult ProductOp::verify() {
  RankedTensorType left = getLeft().getType(), right = getRight().getType();
  if (left.getDimSize(1) != right.getDimSize(0))
    return emitOpError() << "multiplies " << left.getDimSize(1) << " columns by "
                         << right.getDimSize(0) << " rows"; // (C1)
  if (left.getElementType() != right.getElementType())
    return emitOpError() << "multiplies " << left << " by " << right; // (C2)
  return success();
}

LogicalResult SetNormsOp::verify() {
  RankedTensorType input = getInput().getType(), norms = getNorms().getType();
  if (norms.getRank() != 1 || norms.getDimSize(0) != input.getDimSize(0))
    return emitOpError() << "gives " << norms << " as the norms of " << input.getDimSize(0)
                         << " rows"; // (C1)
  if (norms.getElementType() != input.getElementType())
    return emitOpError() << "scales " << input << " to norms of " << norms; // (C2)
  return success();
}
