//===- ProgramBuilder.cpp - Append phases to a kernel.program -------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Lower/ProgramBuilder.h"
#include "compiler/Weights/PackMma.h"
#include "dialects/Weight/WeightOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
namespace retort {

ProgramBuilder::ProgramBuilder(lm::ModelOp model, const ProgramKind &kind, int64_t pageRows)
    : model(model), kind(kind) {
  OpBuilder builder(model->getContext());
  // After the programs that the model has already.
  Operation *last = model;
  while (isa_and_nonnull<kernel::ProgramOp>(last->getNextNode()))
    last = last->getNextNode();
  builder.setInsertionPointAfter(last);
  auto text = [&](StringRef value) {
    return value.empty() ? StringAttr() : builder.getStringAttr(value);
  };
  program = builder.create<kernel::ProgramOp>(
      model.getLoc(), builder.getStringAttr(model.getSymName() + "." + kind.name),
      text(kind.target), text(kind.step), builder.getI64IntegerAttr(kind.maxRows),
      builder.getI64IntegerAttr(pageRows), builder.getI64IntegerAttr(model.getVocab()),
      IntegerAttr(), IntegerAttr(), IntegerAttr(), IntegerAttr(), IntegerAttr(), IntegerAttr());
  if (lm::ShardAttr shard = model.getShardAttr()) {
    program.setDevice(shard.getDevice());
    program.setDevices(shard.getDevices());
    program.setLogitsBegin(shard.getBegin());
  }
  program.getBody().emplaceBlock();
}

std::string inLayer(Operation *op) {
  StringRef label = lm::blockLabel(op);
  return label.empty() ? std::string() : (" in " + label).str();
}

std::string ProgramBuilder::layoutName(bool gated) const {
  return std::string(kind.cuda() ? "mma16" : "rows16") + (gated ? "_gated" : "");
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

/// Two sets of buffers in turns (see kernel.exchange), in a set one for each product that sends.
kernel::BufferOp ProgramBuilder::received(Location loc, int64_t features) {
  std::string name = ("received." + Twine(exchanges % 2) + "." + Twine(sends++)).str();
  auto type = RankedTensorType::get({static_cast<int64_t>(program.getMaxRows()), features},
                                    Float32Type::get(getContext()));
  return stepBuffer(name, kernel::BufferKind::Received, type);
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

/// The type of a parameter's values: if it is packed, before that.
static RankedTensorType valueType(lm::ParamOp param) {
  if (auto pack = param.getProgramValue().getDefiningOp<weight::PackOp>())
    return cast<RankedTensorType>(pack.getInput().getType());
  return param.getParamType();
}

static weight::Format packFormat(lm::ParamOp param) {
  RankedTensorType type = valueType(param);
  if (weight::FormatAttr format = weight::getFormat(type))
    return {format.isE4M3()         ? weight::Kind::F8
            : format.getBits() == 8 ? weight::Kind::I8
                                    : weight::Kind::I4,
            static_cast<int>(format.getGroup()), format.isSymmetric()};
  weight::Format result;
  Type element = type.getElementType();
  result.kind = element.isBF16()  ? weight::Kind::BF16
                : element.isF16() ? weight::Kind::F16
                                  : weight::Kind::F32;
  return result;
}

FailureOr<MatrixFormat> matrixFormat(Operation *user, lm::ParamOp param) {
  RankedTensorType type = valueType(param);
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
  return MatrixFormat{weight::formatName(packFormat(param)), false, 0};
}

FailureOr<lm::ParamOp> ProgramBuilder::lookup(Operation *user, StringRef name, int64_t rank) {
  lm::ParamOp param = model.lookupParam(name);
  if (!param || valueType(param).getRank() != rank)
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

bool ProgramBuilder::canBeGated(StringRef param) {
  kernel::BufferOp buffer = params.lookup(StringAttr::get(getContext(), param));
  return !buffer || buffer.getLayout() == layoutName(true);
}

FailureOr<kernel::BufferOp> ProgramBuilder::matrixParam(Operation *user, StringRef name,
                                                        bool gated) {
  FailureOr<lm::ParamOp> param = lookup(user, name, 2);
  if (failed(param))
    return failure();
  FailureOr<MatrixFormat> format = matrixFormat(user, *param);
  if (failed(format))
    return failure();
  kernel::BufferOp &buffer = params[param->getSymNameAttr()];
  if (buffer)
    return buffer;
  std::string layout = layoutName(gated);
  if (auto pack = param->getProgramValue().getDefiningOp<weight::PackOp>();
      pack && pack.getLayout() != layout)
    return user->emitOpError() << "reads '" << param->getSymName() << "'" << inLayer(user)
                               << " in layout " << layout << ", but it is packed as "
                               << pack.getLayout() << ": lower a copy of the model for each target";
  // The logical shape without the encoding: `format` says the rest.
  RankedTensorType values = valueType(*param);
  ArrayRef<int64_t> shape = values.getShape();
  auto type = RankedTensorType::get(shape, values.getElementType());
  weight::Format packed = packFormat(*param);
  int64_t bytes = weight::packedBytes(*weight::layoutNamed(layout), packed, shape[0], shape[1]);
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
    if (value.getDefiningOp<weight::PackOp>())
      continue;
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
    if (sends) {
      builder.create<kernel::ExchangeOp>(loc, lastPhase.getSymName(), exchanges++);
      sends = 0;
    } else {
      builder.create<kernel::WaitOp>(loc, lastPhase.getSymName());
    }
    dirty.clear();
    ++waits;
  }
  IntegerAttr rowTile;
  if (kind.rowTile && !perRow)
    rowTile = builder.getI64IntegerAttr(kind.rowTile);
  lastPhase = builder.create<kernel::PhaseOp>(
      loc, builder.getStringAttr(unique(("run." + name).str())), builder.getStringAttr(label),
      builder.getI64IntegerAttr(tiles), perRow ? builder.getUnitAttr() : UnitAttr(), rowTile);
  if (!firstPhase)
    firstPhase = lastPhase;
  ++phases;
  dirty.append(written.begin(), written.end());
  Block &body = lastPhase.getBody().emplaceBlock();
  builder.setInsertionPointToEnd(&body);
  return builder;
}

} // namespace retort
