//===- Params.cpp - What ops declare of the parameters that they read -----===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/LM/LMOps.h"

using namespace mlir;
using namespace retort;
using namespace retort::lm;

//===- Declarations -------------------------------------------------------===//

SmallVector<ParamUse, 2> EmbedOp::getParamUses() {
  return {{getWeightAttrName(),
           getWeightAttr(),
           ParamRole::Table,
           {ParamAxis::tokens(), ParamAxis::over(getResult())}}};
}

SmallVector<ParamUse, 2> NormOp::getParamUses() {
  return {{getWeightAttrName(),
           getWeightAttr(),
           ParamRole::Gain,
           {ParamAxis::over(getResult(), getGroups())}}};
}

SmallVector<ParamUse, 2> LayerNormOp::getParamUses() {
  return {{getWeightAttrName(), getWeightAttr(), ParamRole::Gain, {ParamAxis::over(getResult())}},
          {getBiasAttrName(), getBiasAttr(), ParamRole::Bias, {ParamAxis::over(getResult())}}};
}

SmallVector<ParamUse, 2> LinearOp::getParamUses() {
  SmallVector<ParamUse, 2> uses{{getWeightAttrName(),
                                 getWeightAttr(),
                                 ParamRole::Matrix,
                                 {ParamAxis::over(getResult()), ParamAxis::over(getInput())}}};
  if (getBiasAttr())
    uses.push_back(
        {getBiasAttrName(), getBiasAttr(), ParamRole::Bias, {ParamAxis::over(getResult())}});
  return uses;
}

SmallVector<ParamUse, 2> AttentionOp::getParamUses() {
  if (!getSinksAttr())
    return {};
  return {{getSinksAttrName(),
           getSinksAttr(),
           ParamRole::Sinks,
           {ParamAxis::heads(getResult(), getHeads())}}};
}

SmallVector<ParamUse, 2> LogitsOp::getParamUses() {
  return {{getWeightAttrName(),
           getWeightAttr(),
           ParamRole::Matrix,
           {ParamAxis::tokens(getResult()), ParamAxis::over(getInput())}}};
}

//===- Verification -------------------------------------------------------===//

static StringRef wordOf(ParamRole role) {
  switch (role) {
  case ParamRole::Matrix:
    return "matrix";
  case ParamRole::Bias:
    return "bias";
  case ParamRole::Gain:
    return "gain";
  case ParamRole::Table:
    return "table";
  case ParamRole::Sinks:
    return "sinks";
  case ParamRole::Opaque:
    return "parameter";
  }
  llvm_unreachable("a role that has no word");
}

/// How long the axis must be; ShapedType::kDynamic: any length.
static int64_t lengthOf(const ParamAxis &axis, ModelOp model) {
  switch (axis.kind) {
  case ParamAxis::Kind::Features:
    return features(axis.rows) / axis.runs;
  case ParamAxis::Kind::Heads:
    return axis.runs;
  case ParamAxis::Kind::Tokens:
    return axis.rows ? features(axis.rows) : int64_t(model.getVocab());
  case ParamAxis::Kind::Inner:
    return ShapedType::kDynamic;
  }
  llvm_unreachable("a kind of axis that has no length");
}

static bool fits(ArrayRef<int64_t> shape, ArrayRef<int64_t> wanted) {
  return shape.size() == wanted.size() && llvm::all_of(llvm::zip(shape, wanted), [](auto pair) {
           auto [size, length] = pair;
           return size == length || length == ShapedType::kDynamic;
         });
}

LogicalResult lm::verifyParamUses(ParamUserOpInterface op, SymbolTableCollection &symbols) {
  ModelOp model = getModel(op);
  if (!model)
    return op->emitOpError("stands outside any lm.model");
  const bool inBlock = !blockLabel(op).empty();
  for (const ParamUse &use : op.getParamUses()) {
    auto param = symbols.lookupNearestSymbolFrom<ParamOp>(op, use.param);
    if (!param)
      return op->emitOpError() << (inBlock ? "of " + placeOf(op) + " " : "") << "uses " << use.param
                               << ", but the model has no such parameter";
    // Packed bytes have no shape to compare: lowering checked it before it packed them.
    if (use.role == ParamRole::Opaque ||
        (param.getShape().size() == 1 && param.getParamType().getElementType().isInteger(8)))
      continue;
    SmallVector<int64_t, 2> wanted;
    for (const ParamAxis &axis : use.axes)
      wanted.push_back(lengthOf(axis, model));
    if (fits(param.getShape(), wanted))
      continue;
    InFlightDiagnostic diagnostic = op->emitOpError();
    diagnostic << wordOf(use.role) << " " << use.param << (inBlock ? " of " + placeOf(op) : "")
               << " must be ";
    auto print = [&](int64_t length) {
      length == ShapedType::kDynamic ? diagnostic << "?" : diagnostic << length;
    };
    llvm::interleave(wanted, print, [&] { diagnostic << "x"; });
    diagnostic << ", is ";
    llvm::interleave(param.getShape(), diagnostic, "x");
    diagnostic.attachNote(param.getLoc()) << "the parameter is declared here";
    return diagnostic;
  }
  return success();
}

//===- Readers ------------------------------------------------------------===//

ParamReaders::ParamReaders(ModelOp model) {
  model.getForward().walk([&](ParamUserOpInterface op) {
    for (const ParamUse &use : op.getParamUses())
      readers[use.param.getValue()].push_back({op, use});
  });
}

ArrayRef<ParamReaders::Reader> ParamReaders::of(ParamOp param) const {
  auto found = readers.find(param.getSymName());
  return found == readers.end() ? ArrayRef<Reader>() : ArrayRef<Reader>(found->second);
}
