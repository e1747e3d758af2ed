//===- CudaShapes.cpp - Shapes and calls of CUDA phases -------------------===//
// SPDX-License-Identifier: Apache-2.0
// A shape is a value of a struct of kernels/cuda/shapes.h. The arguments of a call are what its
// function in kernels/cuda takes: see the comment above it.
#include "compiler/Codegen/CudaShapes.h"
#include "dialects/Kernel/KernelCost.h"
#include "runtime/base/Error.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
namespace retort::codegen {
namespace {

std::string times(int64_t a, int64_t b) { return std::to_string(a) + "x" + std::to_string(b); }

//===----------------------------------------------------------------------===//
// What shapes are made of
//===----------------------------------------------------------------------===//

int narrow(int64_t value) {
  assert(llvm::isInt<32>(value) && "models are smaller");
  return static_cast<int>(value);
}

float orZero(std::optional<llvm::APFloat> value) { return value ? value->convertToFloat() : 0.0f; }

cuda::WeightLayout weightLayout(kernel::BufferOp weights) { return {*weights.getFormat()}; }

/// The stage op that makes a product's rows.
kernel::StageOp stageOf(Value rows) { return rows.getDefiningOp<kernel::StageOp>(); }
} // namespace

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

CudaShapes::CudaShapes(kernel::ProgramOp program) : program(program), symbols(program) {
  llvm::DenseMap<Attribute, int64_t> sent; // received buffers, and the exchange that filled them
  int64_t passed = 0;
  program.walk([&](Operation *op) {
    passed += isa<kernel::ExchangeOp>(op);
    if (auto tileOp = dyn_cast<kernel::TileOpInterface>(op))
      for (const kernel::Access &access : tileOp.getAccesses()) {
        if (access.is<kernel::access::Send>())
          exchanges[op] = sent[access.buffer] = passed;
        if (access.is<kernel::access::Receive>())
          exchanges[op] = sent.lookup(access.buffer);
      }
  });
}

kernel::BufferOp CudaShapes::buffer(FlatSymbolRefAttr name) {
  return name ? symbols.lookup<kernel::BufferOp>(name.getValue()) : kernel::BufferOp();
}

int64_t CudaShapes::columns(FlatSymbolRefAttr name) {
  return buffer(name).getTensor().getShape().back();
}

/// How the text reaches a buffer: from the CTA, which has the step.
std::string CudaShapes::address(FlatSymbolRefAttr name) {
  kernel::BufferOp memory = buffer(name);
  if (!memory)
    return "nullptr";
  if (memory.getKind() == kernel::BufferKind::Input ||
      memory.getKind() == kernel::BufferKind::Output)
    return "cta." + memory.getSymName().str() + "()";
  if (!memory.getOffset())
    fail(ExitCode::Internal, "codegen: buffer '" + memory.getSymName().str() +
                                 "' has no offset: run plan-buffers first");
  std::string offset = std::to_string(*memory.getOffset());
  switch (memory.getKind()) {
  case kernel::BufferKind::Weights:
    return (memory.getLayout() ? "cta.weights<uint8_t>(" : "cta.weights<float>(") + offset + ")";
  case kernel::BufferKind::Activation:
    return "cta.activation<float>(" + offset + ")";
  case kernel::BufferKind::Received:
    return "cta.received<float>(" + offset + ")";
  case kernel::BufferKind::Cache:
    return offset;
  default:
    fail(ExitCode::Internal,
         "codegen: CUDA kernels do not reach '" + memory.getSymName().str() + "'");
  }
}

std::string CudaShapes::flagged(const std::string &box, Operation *op, FlatSymbolRefAttr received) {
  return box + "(cta, " + std::to_string(buffer(received).getOffset().value()) + ", " +
         std::to_string(exchanges.at(op)) + ")";
}

std::string CudaShapes::partials(kernel::StageOp stage) {
  return "{" + flagged("inbox", stage, stage.getReceivedAttr()) + ", " +
         address(stage.getSumAttr()) + "}";
}

template <IsShape Shape>
std::string CudaShapes::intern(const std::string &base, const Shape &shape) {
  return intern(base, declaration("NAME", shape));
}

std::string CudaShapes::intern(const std::string &base, const std::string &declaration) {
  size_t same = 0;
  for (const Declared &shape : shapes) {
    if (shape.declaration == declaration && shape.base == base)
      return shape.name;
    same += shape.base == base;
  }
  std::string name = same ? base + "_v" + std::to_string(same + 1) : base;
  shapes.push_back({base, name, declaration});
  return name;
}

std::vector<std::string> CudaShapes::declarations() const {
  std::vector<std::string> result;
  for (const Declared &shape : shapes) {
    std::string text = shape.declaration;
    result.push_back(text.replace(text.find("NAME"), 4, shape.name));
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

CudaCall CudaShapes::call(kernel::EmbedOp op) {
  kernel::BufferOp table = buffer(op.getTableAttr());
  ArrayRef<int64_t> shape = table.getTensor().getShape();
  cuda::EmbedShape embed{.hidden = narrow(shape[1]),
                         .weights = weightLayout(table),
                         .scale = op.getScale().convertToFloat()};
  return {"embed",
          intern("Embed_" + times(shape[0], shape[1]), embed),
          {address(op.getTokensAttr()), address(op.getTableAttr()), address(op.getDestAttr())},
          ""};
}

std::string CudaShapes::table(const std::string &base, FlatSymbolRefAttr constant) {
  SmallVector<float> values(
      llvm::cast<DenseElementsAttr>(*buffer(constant).getValue()).getValues<float>());
  std::string list, count = std::to_string(values.size());
  for (auto [i, value] : llvm::enumerate(values))
    list += (i == 0 ? "" : i % 6 ? ", " : ",\n    ") + literal(value);
  return intern(base + count, "RETORT_CONSTANT float NAME[" + count + "] = {\n    " + list + "};");
}

CudaCall CudaShapes::call(kernel::AnglesOp op) {
  cuda::AnglesShape angles{.half = narrow(columns(op.getInvFreqAttr())),
                           .scale = op.getScale().convertToFloat(),
                           .every = narrow(op.getEvery().value_or(0))};
  std::string frequencies = table("invFreq_", op.getInvFreqAttr());
  std::string steps = op.getSteps() ? table("steps_", op.getStepsAttr()) : "nullptr";
  return {"angles",
          intern("Angles_" + std::to_string(angles.half), angles),
          {address(op.getPositionsAttr()), frequencies, steps, address(op.getDestAttr())},
          ""};
}

/// A product without its epilogue; `matrix` is its weights.
cuda::ProductShape CudaShapes::product(kernel::StageOp stage, FlatSymbolRefAttr matrix,
                                       FlatSymbolRefAttr dest) {
  kernel::BufferOp weights = buffer(matrix);
  return {.in = narrow(weights.getTensor().getDimSize(1)),
          .out = narrow(weights.getTensor().getDimSize(0)),
          .weights = weightLayout(weights),
          .maxRows = narrow(program.getMaxRows()),
          .sourceStride = narrow(columns(stage.getSourceAttr())),
          .sourceAt = narrow(stage.getAt()),
          .destStride = narrow(columns(dest)),
          .norm = stage.getGain().has_value(),
          .normOffset = stage.getOffset(),
          .eps = stage.getEps().convertToFloat(),
          .wanted = stage.getRows().has_value(),
          .sums = stage.getReceived().has_value()};
}

std::string CudaShapes::productName(const char *kind, const cuda::ProductShape &product,
                                    FlatSymbolRefAttr weights) {
  return kind + times(product.in, product.out) + "_" + nameOf(*buffer(weights).getFormat());
}

CudaCall CudaShapes::call(kernel::MatmulOp op) {
  kernel::StageOp stage = stageOf(op.getSource());
  cuda::ProductShape shape = product(stage, op.getWeightsAttr(), op.getDestAttr());
  shape.hasBias = op.getBias().has_value();
  shape.hasResidual = op.getResidual().has_value();
  shape.softCap = orZero(op.getSoftCap());
  shape.sends = op.getSend().has_value();
  bool argmax = isa_and_nonnull<kernel::ArgmaxOp>(op->getNextNode());
  CudaCall call{argmax ? "matmulArgmax" : "matmul",
                intern(productName("Matmul_", shape, op.getWeightsAttr()), shape),
                {address(stage.getSourceAttr()), address(stage.getGainAttr()),
                 address(op.getWeightsAttr()), address(op.getDestAttr()),
                 address(op.getBiasAttr())},
                address(op.getWeightsAttr())};
  if (!argmax)
    call.arguments.push_back(address(op.getResidualAttr()));
  call.arguments.push_back(address(stage.getRowsAttr()));
  if (op.getSend())
    call.arguments.push_back(program.isDecode()
                                 ? flagged("outbox", op, op.getSendAttr())
                                 : "cta.sent<float>(" +
                                       std::to_string(*buffer(op.getSendAttr()).getOffset()) + ")");
  else if (stage.getReceived() && !argmax)
    call.arguments.push_back("{}");
  if (stage.getReceived())
    call.arguments.push_back(partials(stage));
  return call;
}

CudaCall CudaShapes::call(kernel::MatmulGluOp op) {
  kernel::StageOp stage = stageOf(op.getSource());
  cuda::ProductShape shape = product(stage, op.getWeightsAttr(), op.getDestAttr());
  shape.out /= 2;
  shape.gated = true;
  shape.act = op.getAct();
  CudaCall call{"matmulGlu",
                intern(productName("Glu_", shape, op.getWeightsAttr()), shape),
                {address(stage.getSourceAttr()), address(stage.getGainAttr()),
                 address(op.getWeightsAttr()), address(op.getDestAttr())},
                address(op.getWeightsAttr())};
  if (stage.getReceived())
    call.arguments.push_back(partials(stage));
  return call;
}

template <typename Op> cuda::CacheShape CudaShapes::cache(Op op) {
  return {.kvHeads = narrow(op.getKvHeads()),
          .dims = narrow(op.getDims()),
          .format = kernel::cacheFormat(buffer(op.getCacheAttr())),
          .pageBytes = narrow(*program.getPageBytes())};
}

/// Heads on their way to the cache, of rope_append and attend.
template <typename Op> cuda::AppendShape CudaShapes::append(Op op) {
  return {.heads = narrow(op.getHeads()),
          .cache = cache(op),
          .rotaryDims = op.getAngles() ? narrow(columns(op.getAnglesAttr())) : 0,
          .qStride = narrow(columns(op.getQAttr())),
          .qAt = narrow(op.getQAt()),
          .kStride = narrow(columns(op.getKAttr())),
          .kAt = narrow(op.getKAt()),
          .vStride = narrow(columns(op.getVAttr())),
          .vAt = narrow(op.getVAt()),
          .qNorm = op.getQNorm().has_value(),
          .kNorm = op.getKNorm().has_value(),
          .normOffset = op.getOffset(),
          .normLast = op.getNormLast(),
          .eps = op.getEps().convertToFloat()};
}
template <typename Op> std::vector<std::string> CudaShapes::appendArguments(Op op) {
  FlatSymbolRefAttr angles = op.getAnglesAttr();
  return {address(op.getQAttr()),
          address(op.getKAttr()),
          address(op.getVAttr()),
          address(op.getQNormAttr()),
          address(op.getKNormAttr()),
          address(op.getQAngles() ? op.getQAnglesAttr() : angles),
          address(angles),
          address(op.getCacheAttr())};
}

namespace {
/// "Attend_9x3x64".
template <typename Op> std::string headsName(const char *kind, Op op) {
  return kind + times(op.getHeads(), op.getKvHeads()) + "x" + std::to_string(op.getDims());
}
} // namespace

CudaCall CudaShapes::call(kernel::AttendOp op) {
  cuda::AttendShape shape{.append = append(op),
                          .splits = narrow(op.getSplits()),
                          .maxRows = narrow(program.getMaxRows()),
                          .window = narrow(op.getWindow().value_or(0)),
                          .scale = op.getScale().convertToFloat(),
                          .softCap = orZero(op.getSoftCap()),
                          .sinks = op.getSinks().has_value()};
  shape.countersAt += narrow(program.flaggedBytes() / 4);
  CudaCall call{"attend", intern(headsName("Attend_", op), shape), appendArguments(op), "",
                address(op.getCacheAttr())};
  call.arguments.push_back(address(op.getSinksAttr()));
  call.arguments.push_back(address(op.getPartialsAttr()));
  call.arguments.push_back(address(op.getDestAttr()));
  return call;
}

CudaCall CudaShapes::call(kernel::RopeAppendOp op) {
  return {"ropeAppend", intern(headsName("Append_", op), append(op)), appendArguments(op), ""};
}

CudaCall CudaShapes::call(kernel::AttentionOp op) {
  cuda::AttentionShape shape{.heads = narrow(op.getHeads()),
                             .cache = cache(op),
                             .qStride = narrow(columns(op.getQAttr())),
                             .qAt = narrow(op.getQAt()),
                             .window = narrow(op.getWindow().value_or(0)),
                             .scale = op.getScale().convertToFloat(),
                             .softCap = orZero(op.getSoftCap()),
                             .sinks = op.getSinks().has_value()};
  return {"attention",
          intern(headsName("Attention_", op), shape),
          {address(op.getQAttr()), address(op.getCacheAttr()), address(op.getSinksAttr()),
           address(op.getDestAttr())},
          ""};
}

CudaCall CudaShapes::call(kernel::NormOp op) {
  cuda::NormShape shape{.features = narrow(columns(op.getDestAttr())),
                        .groups = narrow(op.getGroups().value_or(1)),
                        .normOffset = op.getOffset(),
                        .eps = op.getEps().convertToFloat(),
                        .hasResidual = op.getResidual().has_value()};
  return {"norm",
          intern("Norm_" + std::to_string(shape.features), shape),
          {address(op.getSourceAttr()), address(op.getGainAttr()), address(op.getResidualAttr()),
           address(op.getDestAttr())},
          ""};
}

CudaCall CudaShapes::call(kernel::LayerNormOp op) {
  cuda::LayerNormShape shape{.features = narrow(columns(op.getDestAttr())),
                             .eps = op.getEps().convertToFloat()};
  return {"layerNorm",
          intern("LayerNorm_" + std::to_string(shape.features), shape),
          {address(op.getSourceAttr()), address(op.getGainAttr()), address(op.getBiasAttr()),
           address(op.getDestAttr())},
          ""};
}

CudaCall CudaShapes::call(kernel::GluOp op) {
  cuda::GluShape shape{.channels = narrow(columns(op.getDestAttr())),
                       .gateStride = narrow(columns(op.getGateAttr())),
                       .gateAt = narrow(op.getGateAt()),
                       .upStride = narrow(columns(op.getUpAttr())),
                       .upAt = narrow(op.getUpAt()),
                       .act = op.getAct()};
  return {"glu",
          intern("GluRows_" + std::to_string(shape.channels), shape),
          {address(op.getGateAttr()), address(op.getUpAttr()), address(op.getDestAttr())},
          ""};
}

CudaCall CudaShapes::call(kernel::ResidualOp op) {
  cuda::SumShape shape{.features = narrow(columns(op.getDestAttr()))};
  return {"residual",
          intern("Residual_" + std::to_string(shape.features), shape),
          {address(op.getLhsAttr()), address(op.getRhsAttr()), address(op.getDestAttr())},
          ""};
}

CudaCall CudaShapes::call(kernel::SumOp op) {
  cuda::SumShape shape{.features = narrow(columns(op.getDestAttr())),
                       .hasResidual = op.getResidual().has_value()};
  // Own + received is received + own to the bit, so the devices agree.
  std::string received = program.isDecode() ? flagged("inbox", op, op.getReceivedAttr())
                                            : address(op.getReceivedAttr());
  return {"sum",
          intern("Sum_" + std::to_string(shape.features), shape),
          {address(op.getPartialAttr()), received, address(op.getResidualAttr()),
           address(op.getDestAttr())},
          ""};
}

CudaCall CudaShapes::call(kernel::SampleOp op) {
  cuda::SampleShape shape{.first = narrow(columns(op.getLogitsAttr())),
                          .second =
                              op.getOtherLogits() ? narrow(columns(op.getOtherLogitsAttr())) : 0};
  std::string tokens =
      std::to_string(shape.first) + (shape.second ? "_" + std::to_string(shape.second) : "");
  return {"sample", intern("Sample_" + tokens, shape), {}, ""};
}

std::vector<CudaCall> CudaShapes::calls(kernel::PhaseOp phase) {
  std::vector<CudaCall> result;
  for (Operation &operation : *phase.getBody().begin())
    llvm::TypeSwitch<Operation *>(&operation)
        .Case<kernel::EmbedOp, kernel::AnglesOp, kernel::MatmulOp, kernel::MatmulGluOp,
              kernel::AttendOp, kernel::RopeAppendOp, kernel::AttentionOp, kernel::NormOp,
              kernel::LayerNormOp, kernel::GluOp, kernel::ResidualOp, kernel::SumOp,
              kernel::SampleOp>([&](auto op) { result.push_back(call(op)); })
        .Case([](kernel::StageOp) {})  // part of the product that reads it
        .Case([](kernel::ArgmaxOp) {}) // part of the product before it
        .Default([](Operation *op) {
          fail(ExitCode::Internal,
               "codegen: no CUDA code for '" + op->getName().getStringRef().str() + "'");
        });
  return result;
}

} // namespace retort::codegen
