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

/// "489 kB", "1.5 MB": three digits.
std::string bytesText(int64_t bytes) {
  if (bytes < 1000)
    return std::to_string(bytes) + " bytes";
  double value = static_cast<double>(bytes) / 1000;
  const char *unit = "kB";
  for (const char *larger : {"MB", "GB"})
    if (value >= 999.5) {
      value /= 1000;
      unit = larger;
    }
  char text[32];
  std::snprintf(text, sizeof text,
                value < 9.995   ? "%.2f %s"
                : value < 99.95 ? "%.1f %s"
                                : "%.0f %s",
                value, unit);
  return text;
}

//===----------------------------------------------------------------------===//
// What shapes are made of
//===----------------------------------------------------------------------===//

int narrow(int64_t value) {
  assert(llvm::isInt<32>(value) && "models are smaller");
  return static_cast<int>(value);
}

float orZero(std::optional<llvm::APFloat> value) { return value ? value->convertToFloat() : 0.0f; }

cuda::Activation activation(kernel::GateActivation act) {
  switch (act) {
  case kernel::GateActivation::Silu:
    return cuda::Activation::Silu;
  case kernel::GateActivation::GeluTanh:
    return cuda::Activation::GeluTanh;
  case kernel::GateActivation::Gelu:
    return cuda::Activation::Gelu;
  }
  llvm_unreachable("all activations are above");
}

cuda::CacheFormat cacheFormat(kernel::BufferOp cache) {
  Type element = cache.getTensor().getElementType();
  return element.isF32()    ? cuda::CacheFormat::F32
         : element.isF16()  ? cuda::CacheFormat::F16
         : element.isBF16() ? cuda::CacheFormat::BF16
                            : cuda::CacheFormat::F8E4M3;
}

cuda::WeightLayout weightLayout(kernel::BufferOp weights) {
  return kernel::mma16(*kernel::PackedFormat::parse(weights.getFormat().value_or("")));
}

/// The stage op that makes a product's rows.
kernel::StageOp stageOf(Value rows) { return rows.getDefiningOp<kernel::StageOp>(); }
} // namespace

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

CudaShapes::CudaShapes(kernel::ProgramOp program) : program(program), symbols(program) {
  llvm::DenseMap<Attribute, int64_t> sent; // received buffers, and the exchange that filled them
  int64_t passed = 0;
  auto read = [&](Operation *op, FlatSymbolRefAttr received) {
    if (received)
      exchanges[op] = sent.lookup(received);
  };
  program.walk([&](Operation *op) {
    passed += isa<kernel::ExchangeOp>(op);
    if (auto stage = dyn_cast<kernel::StageOp>(op))
      read(op, stage.getReceivedAttr());
    if (auto sum = dyn_cast<kernel::SumOp>(op))
      read(op, sum.getReceivedAttr());
    if (auto product = dyn_cast<kernel::MatmulOp>(op); product && product.getSend())
      exchanges[op] = sent[product.getSendAttr()] = passed;
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

CudaCall CudaShapes::call(kernel::AnglesOp op) {
  SmallVector<float> values(
      llvm::cast<DenseElementsAttr>(*buffer(op.getInvFreqAttr()).getValue()).getValues<float>());
  std::string list, half = std::to_string(values.size());
  for (auto [i, value] : llvm::enumerate(values))
    list += (i == 0 ? "" : i % 6 ? ", " : ",\n    ") + literal(value);
  std::string table =
      intern("invFreq_" + half, "RETORT_CONSTANT float NAME[" + half + "] = {\n    " + list + "};");
  cuda::AnglesShape angles{.half = narrow(values.size()), .scale = op.getScale().convertToFloat()};
  return {"angles",
          intern("Angles_" + half, angles),
          {address(op.getPositionsAttr()), table, address(op.getDestAttr())},
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
  return kind + times(product.in, product.out) + "_" +
         buffer(weights).getFormat().value_or("").str();
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
  shape.act = activation(op.getAct());
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
          .format = cacheFormat(buffer(op.getCacheAttr())),
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
          .eps = op.getEps().convertToFloat()};
}
template <typename Op> std::vector<std::string> CudaShapes::appendArguments(Op op) {
  return {address(op.getQAttr()),     address(op.getKAttr()),     address(op.getVAttr()),
          address(op.getQNormAttr()), address(op.getKNormAttr()), address(op.getAnglesAttr()),
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
                          .softCap = orZero(op.getSoftCap())};
  shape.countersAt += narrow(program.flaggedBytes() / 4);
  CudaCall call{"attend", intern(headsName("Attend_", op), shape), appendArguments(op), "",
                address(op.getCacheAttr())};
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
                             .softCap = orZero(op.getSoftCap())};
  return {"attention",
          intern(headsName("Attention_", op), shape),
          {address(op.getQAttr()), address(op.getCacheAttr()), address(op.getDestAttr())},
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

CudaCall CudaShapes::call(kernel::GluOp op) {
  cuda::GluShape shape{.channels = narrow(columns(op.getDestAttr())),
                       .gateStride = narrow(columns(op.getGateAttr())),
                       .gateAt = narrow(op.getGateAt()),
                       .upStride = narrow(columns(op.getUpAttr())),
                       .upAt = narrow(op.getUpAt()),
                       .act = activation(op.getAct())};
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
              kernel::GluOp, kernel::ResidualOp, kernel::SumOp, kernel::SampleOp>(
            [&](auto op) { result.push_back(call(op)); })
        .Case([](kernel::StageOp) {})  // part of the product that reads it
        .Case([](kernel::ArgmaxOp) {}) // part of the product before it
        .Default([](Operation *op) {
          fail(ExitCode::Internal,
               "codegen: no CUDA code for '" + op->getName().getStringRef().str() + "'");
        });
  return result;
}

//===----------------------------------------------------------------------===//
// Comments
//===----------------------------------------------------------------------===//

namespace {
std::string formatText(kernel::BufferOp weights) {
  auto format = *kernel::PackedFormat::parse(weights.getFormat().value_or(""));
  if (!format.quantised())
    return weights.getFormat()->str();
  const char *codes = format.kind == kernel::PackedFormat::Kind::I8   ? "int8"
                      : format.kind == kernel::PackedFormat::Kind::F8 ? "fp8"
                                                                      : "int4";
  return std::string(codes) + (format.symmetric ? "" : " asymmetric") + " in groups of " +
         std::to_string(format.group);
}

std::string headsText(int64_t heads, int64_t kvHeads, int64_t dims) {
  return std::to_string(heads) + " heads on " + std::to_string(kvHeads) + " of " +
         std::to_string(dims) + " dims";
}
} // namespace

std::string CudaShapes::describe(kernel::PhaseOp phase) {
  std::string text;
  int64_t bytes = 0;
  auto add = [&](const std::string &part) { text += (text.empty() ? "" : ", ") + part; };
  auto product = [&](FlatSymbolRefAttr name, int64_t parts) {
    kernel::BufferOp weights = buffer(name);
    ArrayRef<int64_t> shape = weights.getTensor().getShape();
    add(std::to_string(shape[1]) + " -> " + (parts == 2 ? "2 x " : "") +
        std::to_string(shape[0] / parts) + ", " + formatText(weights));
    bytes += weights.sizeInBytes();
  };
  for (Operation &operation : *phase.getBody().begin())
    llvm::TypeSwitch<Operation *>(&operation)
        .Case([&](kernel::EmbedOp op) {
          kernel::BufferOp table = buffer(op.getTableAttr());
          add("rows of " + times(table.getTensor().getDimSize(0), table.getTensor().getDimSize(1)) +
              ", " + formatText(table));
        })
        .Case([&](kernel::AnglesOp op) { add("cosines and sines"); })
        .Case([&](kernel::SumOp op) {
          add("partial sums of " + std::to_string(columns(op.getDestAttr())) +
              (op.getResidual() ? ", residual" : ""));
        })
        .Case([&](kernel::StageOp op) {
          if (op.getReceived())
            add("partial sums");
          if (op.getGain())
            add("norm");
          if (op.getRows())
            add("wanted rows");
        })
        .Case([&](kernel::MatmulOp op) {
          product(op.getWeightsAttr(), 1);
          if (op.getBias())
            add("bias");
          if (op.getResidual())
            add("residual");
          if (op.getSoftCap())
            add("soft cap");
          if (op.getSend())
            add("sent");
        })
        .Case([&](kernel::ArgmaxOp) { add("arg-max"); })
        .Case([&](kernel::SampleOp op) {
          add("tokens of " + std::to_string(program.getVocab()));
          if (op.getOtherLogits())
            add(std::to_string(columns(op.getOtherLogitsAttr())) + " of them device 1's");
          add("in steps that ask for it");
        })
        .Case([&](kernel::MatmulGluOp op) {
          product(op.getWeightsAttr(), 2);
          add(stringifyGateActivation(op.getAct()).str());
        })
        .Case([&](kernel::AttendOp op) {
          add(headsText(op.getHeads(), op.getKvHeads(), op.getDims()));
          if (op.getQNorm() || op.getKNorm())
            add("head norms");
          if (op.getAngles())
            add("rope");
          add("append, " + std::to_string(op.getSplits()) + " splits");
          if (op.getWindow())
            add("window " + std::to_string(*op.getWindow()));
        })
        .Case([&](kernel::RopeAppendOp op) {
          add(headsText(op.getHeads(), op.getKvHeads(), op.getDims()));
          if (op.getQNorm() || op.getKNorm())
            add("head norms");
          if (op.getAngles())
            add("rope");
          add("append");
        })
        .Case([&](kernel::AttentionOp op) {
          add(headsText(op.getHeads(), op.getKvHeads(), op.getDims()));
          if (op.getWindow())
            add("window " + std::to_string(*op.getWindow()));
        })
        .Case([&](kernel::NormOp op) {
          add("norm of " + std::to_string(columns(op.getDestAttr())) +
              (op.getResidual() ? ", residual" : ""));
        })
        .Case([&](kernel::GluOp op) {
          add("gated product of " + std::to_string(columns(op.getDestAttr())) + ", " +
              stringifyGateActivation(op.getAct()).str());
        })
        .Case([&](kernel::ResidualOp op) {
          add("sum of " + std::to_string(columns(op.getDestAttr())));
        });
  if (bytes)
    text += "; " + bytesText(bytes) + " of weights";
  text += "; " + std::to_string(phase.getTiles()) + (phase.getTiles() == 1 ? " tile" : " tiles");
  if (phase.getPerRow())
    text += " a row";
  if (phase.getRowTile())
    text += " for each " + std::to_string(*phase.getRowTile()) + " rows";
  return text;
}

} // namespace retort::codegen
