//===- ProgramBuilder.cpp - Append phases to a kernel.program -------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Lower/ProgramBuilder.h"
#include "compiler/Weights/Pack.h"
#include "dialects/Weight/WeightOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
namespace retort {

ProgramBuilder::ProgramBuilder(lm::ModelOp model, int64_t maxRows, int64_t pageRows)
    : model(model) {
  OpBuilder builder(model->getContext());
  builder.setInsertionPointAfter(model);
  program = builder.create<kernel::ProgramOp>(
      model.getLoc(), (model.getSymName() + ".kernel").str(), static_cast<uint64_t>(maxRows),
      static_cast<uint64_t>(pageRows), static_cast<uint64_t>(model.getVocab()), IntegerAttr(),
      IntegerAttr(), IntegerAttr());
  program.getBody().emplaceBlock();
}

std::string ProgramBuilder::unique(StringRef name) {
  std::string result = name.str();
  for (int64_t number = 1; !names.insert(result).second; ++number)
    result = (name + "." + Twine(number)).str();
  return result;
}

OpBuilder ProgramBuilder::bufferBuilder() {
  OpBuilder builder(getContext());
  if (firstPhase)
    builder.setInsertionPoint(firstPhase);
  else
    builder.setInsertionPointToEnd(&program.getBody().front());
  return builder;
}

static kernel::BufferOp makeBuffer(OpBuilder builder, Location loc, StringRef name,
                                   kernel::BufferKind kind, RankedTensorType type) {
  return builder.create<kernel::BufferOp>(loc, name, kind, type, StringAttr(), StringAttr(),
                                          IntegerAttr(), IntegerAttr(), ElementsAttr());
}

kernel::BufferOp ProgramBuilder::activation(Location loc, StringRef name, int64_t features) {
  auto type = RankedTensorType::get({static_cast<int64_t>(program.getMaxRows()), features},
                                    Float32Type::get(getContext()));
  return makeBuffer(bufferBuilder(), loc, unique(name), kernel::BufferKind::Activation, type);
}

kernel::BufferOp ProgramBuilder::cache(Location loc, StringRef name, int64_t kvHeads, int64_t dims,
                                       Type element) {
  auto type = RankedTensorType::get({2, kvHeads, static_cast<int64_t>(program.getPageRows()), dims},
                                    element);
  return makeBuffer(bufferBuilder(), loc, unique(name), kernel::BufferKind::Cache, type);
}

kernel::BufferOp ProgramBuilder::stepBuffer(StringRef name, kernel::BufferKind kind,
                                            RankedTensorType type) {
  kernel::BufferOp &buffer = stepBuffers[name];
  if (!buffer)
    buffer = makeBuffer(bufferBuilder(), program.getLoc(), unique(name), kind, type);
  return buffer;
}

kernel::BufferOp ProgramBuilder::constant(Location loc, StringRef name, ArrayRef<float> values) {
  auto type =
      RankedTensorType::get({static_cast<int64_t>(values.size())}, Float32Type::get(getContext()));
  kernel::BufferOp buffer =
      makeBuffer(bufferBuilder(), loc, unique(name), kernel::BufferKind::Constant, type);
  buffer.setValueAttr(DenseElementsAttr::get(type, values));
  return buffer;
}

//===----------------------------------------------------------------------===//
// Parameters
//===----------------------------------------------------------------------===//

static weight::Format packFormat(lm::ParamOp param) {
  RankedTensorType type = param.getParamType();
  if (weight::FormatAttr format = weight::getFormat(type))
    return {format.getBits() == 8 ? weight::Kind::I8 : weight::Kind::I4,
            static_cast<int>(format.getGroup()), format.isSymmetric()};
  weight::Format result;
  result.kind = type.getElementType().isBF16() ? weight::Kind::BF16 : weight::Kind::F32;
  return result;
}

FailureOr<MatrixFormat> matrixFormat(Operation *user, lm::ParamOp param) {
  RankedTensorType type = param.getParamType();
  if (weight::FormatAttr format = weight::getFormat(type)) {
    int64_t group = format.getGroup();
    if (group != 32 && group != 64 && group != 128)
      return user->emitOpError() << "reads '" << param.getSymName() << "', quantised in groups of "
                                 << group << ": kernels know 32, 64 and 128";
    if (format.getBits() == 8 && !format.isSymmetric())
      return user->emitOpError() << "reads '" << param.getSymName()
                                 << "', asymmetric int8: kernels know symmetric int8";
    return MatrixFormat{weight::formatName(packFormat(param)), true, group};
  }
  if (!type.getElementType().isF32() && !type.getElementType().isBF16())
    return user->emitOpError() << "reads '" << param.getSymName() << "' of type " << type
                               << ": kernels know matrices of f32, bf16, int8 and int4";
  return MatrixFormat{weight::formatName(packFormat(param)), false, 0};
}

FailureOr<lm::ParamOp> ProgramBuilder::lookup(Operation *user, StringRef name, int64_t rank) {
  lm::ParamOp param = model.lookupParam(name);
  if (!param || param.getParamType().getRank() != rank)
    return user->emitOpError() << "needs a parameter '" << name << "' of rank " << rank
                               << (param ? ", its rank is another" : ", the model has none");
  return param;
}

FailureOr<kernel::BufferOp> ProgramBuilder::vectorParam(Operation *user, StringRef name) {
  FailureOr<lm::ParamOp> param = lookup(user, name, 1);
  if (failed(param))
    return failure();
  kernel::BufferOp &buffer = params[param->getSymNameAttr()];
  if (!buffer) {
    auto type = RankedTensorType::get(param->getShape(), Float32Type::get(getContext()));
    buffer = makeBuffer(bufferBuilder(), param->getLoc(), unique(name), kernel::BufferKind::Weights,
                        type);
    buffer.setBytes(4 * type.getNumElements());
  }
  return buffer;
}

bool ProgramBuilder::canHaveLayout(StringRef param, StringRef layout) {
  kernel::BufferOp buffer = params.lookup(StringAttr::get(getContext(), param));
  return !buffer || buffer.getLayout() == layout;
}

FailureOr<kernel::BufferOp> ProgramBuilder::matrixParam(Operation *user, StringRef name,
                                                        StringRef layout) {
  FailureOr<lm::ParamOp> param = lookup(user, name, 2);
  if (failed(param))
    return failure();
  FailureOr<MatrixFormat> format = matrixFormat(user, *param);
  if (failed(format))
    return failure();
  kernel::BufferOp &buffer = params[param->getSymNameAttr()];
  if (buffer)
    return buffer;
  // The logical shape without the encoding: `format` says the rest.
  ArrayRef<int64_t> shape = param->getShape();
  auto type = RankedTensorType::get(shape, param->getParamType().getElementType());
  weight::Format packed = packFormat(*param);
  int64_t bytes = layout == "rows16_gated" ? 2 * weight::packedBytes(packed, shape[0] / 2, shape[1])
                                           : weight::packedBytes(packed, shape[0], shape[1]);
  buffer =
      makeBuffer(bufferBuilder(), param->getLoc(), unique(name), kernel::BufferKind::Weights, type);
  buffer.setFormat(format->name);
  buffer.setLayout(layout);
  buffer.setBytes(bytes);
  return buffer;
}

void ProgramBuilder::packParams() {
  for (auto [name, buffer] : params) {
    lm::ParamOp param = model.lookupParam(name.getValue());
    ImplicitLocOpBuilder builder = param.getProgramBuilder();
    Value value = param.getProgramValue();
    if (buffer.getLayout()) {
      auto type = RankedTensorType::get({static_cast<int64_t>(*buffer.getBytes())},
                                        builder.getIntegerType(8));
      param.setProgramValue(builder.create<weight::PackOp>(type, value, *buffer.getLayout()));
    } else if (!param.getParamType().getElementType().isF32()) {
      param.setProgramValue(builder.create<weight::CastOp>(buffer.getTensor(), value));
    }
  }
}

//===----------------------------------------------------------------------===//
// Phases
//===----------------------------------------------------------------------===//

OpBuilder ProgramBuilder::phase(Location loc, StringRef name, StringRef label, int64_t tiles,
                                bool perRow, ArrayRef<kernel::BufferOp> touched,
                                ArrayRef<kernel::BufferOp> written) {
  OpBuilder builder(getContext());
  builder.setInsertionPointToEnd(&program.getBody().front());
  auto isDirty = [&](kernel::BufferOp buffer) { return llvm::is_contained(dirty, buffer); };
  if (llvm::any_of(touched, isDirty)) {
    builder.create<kernel::WaitOp>(loc, lastPhase.getSymName());
    dirty.clear();
    ++waits;
  }
  lastPhase = builder.create<kernel::PhaseOp>(loc, unique(("run." + name).str()), label,
                                              static_cast<uint64_t>(tiles), perRow);
  if (!firstPhase)
    firstPhase = lastPhase;
  ++phases;
  dirty.append(written.begin(), written.end());
  Block &body = lastPhase.getBody().emplaceBlock();
  builder.setInsertionPointToEnd(&body);
  return builder;
}

} // namespace retort
