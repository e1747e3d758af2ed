//===- ProgramBuilder.cpp - Append phases to a kernel.program -------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Lower/ProgramBuilder.h"
#include "compiler/Weights/PackMma.h"
#include "dialects/Weight/WeightOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
namespace retort {

constexpr int64_t kPageRows = 16; ///< positions in a page of the KV cache

ProgramBuilder::ProgramBuilder(lm::ModelOp model, const ProgramKind &kind)
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
      builder.getI64IntegerAttr(kPageRows), builder.getI64IntegerAttr(model.getVocab()),
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

MatrixLayout ProgramBuilder::layout(bool gated) const {
  return {kind.cuda() ? MatrixLayout::Blocks::Mma16 : MatrixLayout::Blocks::Rows16, gated};
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
  return builder.create<kernel::BufferOp>(loc, name, kind, type, kernel::FormatAttr(),
                                          kernel::LayoutAttr(), IntegerAttr(), IntegerAttr(),
                                          ElementsAttr());
}

kernel::BufferOp ProgramBuilder::activation(Location loc, StringRef name, int64_t features) {
  auto type = RankedTensorType::get({static_cast<int64_t>(program.getMaxRows()), features},
                                    Float32Type::get(getContext()));
  return makeBuffer(bufferBuilder(), loc, unique(name), kernel::BufferKind::Activation, type);
}

/// Two sets of buffers in turns (see kernel.exchange), in a set one for each product that sends.
kernel::BufferOp ProgramBuilder::received(Location loc, int64_t features) {
  waitIfNeeded(); // which may be the exchange before this one
  std::string name = ("received." + Twine(exchanges % 2) + "." + Twine(sends + openSends++)).str();
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
  return !buffer || buffer.getLayout() == layout(true);
}

FailureOr<kernel::BufferOp> ProgramBuilder::matrixParam(Operation *user, StringRef name,
                                                        bool gated) {
  FailureOr<lm::ParamOp> param = lookup(user, name, 2);
  if (failed(param))
    return failure();
  kernel::BufferOp &buffer = params[param->getSymNameAttr()];
  if (buffer)
    return buffer;
  const MatrixLayout layout = this->layout(gated);
  if (auto pack = param->getProgramValue().getDefiningOp<weight::PackOp>();
      pack && pack.getLayout() != layout)
    return user->emitOpError() << "reads '" << param->getSymName() << "'" << inLayer(user)
                               << " in layout " << nameOf(layout) << ", but it is packed as "
                               << nameOf(pack.getLayout())
                               << ": lower a copy of the model for each target";
  // The logical shape without the encoding: `format` says the rest.
  RankedTensorType values = valueType(*param);
  ArrayRef<int64_t> shape = values.getShape();
  auto type = RankedTensorType::get(shape, values.getElementType());
  const NumberFormat format = *weight::numberFormat(values);
  int64_t bytes = weight::packedBytes(layout, format, shape[0], shape[1]);
  buffer =
      makeBuffer(bufferBuilder(), param->getLoc(), unique(name), kernel::BufferKind::Weights, type);
  buffer.setFormat(format);
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

void ProgramBuilder::finish() {
  close();
  setTiles();
  packParams();
}

//===----------------------------------------------------------------------===//
// Phases
//===----------------------------------------------------------------------===//

OpBuilder ProgramBuilder::phase(Location loc, StringRef name, StringRef label) {
  close();
  OpBuilder builder = OpBuilder::atBlockEnd(&program.getBody().front());
  open = builder.create<kernel::PhaseOp>(loc, builder.getStringAttr(unique(("run." + name).str())),
                                         builder.getStringAttr(label), builder.getI64IntegerAttr(1),
                                         UnitAttr(), IntegerAttr(), IntegerAttr());
  if (!firstPhase)
    firstPhase = open;
  ++phases;
  return OpBuilder::atBlockEnd(&open.getBody().emplaceBlock());
}

/// A wait before the open phase, if the ops that it has so far need one.
void ProgramBuilder::waitIfNeeded() {
  if (!history.conflict(open))
    return;
  OpBuilder builder(open);
  if (sends) {
    builder.create<kernel::ExchangeOp>(open.getLoc(), lastPhase.getSymName(), exchanges++);
    history.exchange(lastPhase);
    sends = 0;
  } else {
    builder.create<kernel::WaitOp>(open.getLoc(), lastPhase.getSymName());
    history.wait(lastPhase);
  }
  ++waits;
}

void ProgramBuilder::close() {
  if (!open)
    return;
  waitIfNeeded();
  history.append(open);
  sends += std::exchange(openSends, 0);
  lastPhase = std::exchange(open, {});
}

void ProgramBuilder::setTiles() {
  SymbolTable symbols(program);
  kernel::Buffers buffers(symbols);
  for (auto phase : program.getBody().getOps<kernel::PhaseOp>())
    for (auto op : phase.getBody().getOps<kernel::TileOpInterface>())
      if (std::optional<kernel::TileSpace> space = op.getTileSpace(buffers, kind.rowTile)) {
        phase.setTiles(space->tiles);
        phase.setPerRow(space->perRow());
        if (space->rowTile > 1)
          phase.setRowTile(space->rowTile);
        if (space->rowParts > 1)
          phase.setRowParts(space->rowParts);
      }
}

} // namespace retort
