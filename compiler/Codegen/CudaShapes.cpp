//===- CudaShapes.cpp - Shape structs and calls of CUDA phases ------------===//
// SPDX-License-Identifier: Apache-2.0
// The members of each struct, and the arguments of each function, are what its template in
// kernels/cuda reads: see the comment above the template.
#include "compiler/Codegen/CudaShapes.h"
#include "dialects/Kernel/KernelCost.h"
#include "kernels/cuda/layout.h"
#include "runtime/base/Error.h"
#include "llvm/ADT/TypeSwitch.h"
#include <charconv>

using namespace mlir;
namespace retort::codegen {
namespace {

/// The shortest literal that is exactly this float: "1e-05f", "8.0f".
std::string literal(float value) {
  char text[64];
  std::string result(text, std::to_chars(text, text + sizeof text, value).ptr);
  if (result.find_first_of(".en") == std::string::npos)
    result += ".0";
  return result + "f";
}
std::string literal(bool value) { return value ? "true" : "false"; }

/// As device code writes it.
std::string literal(Activation activation) {
  switch (activation) {
  case Activation::Silu:
    return "Activation::Silu";
  case Activation::GeluTanh:
    return "Activation::GeluTanh";
  case Activation::Gelu:
    return "Activation::Gelu";
  }
  llvm_unreachable("all activations are above");
}

/// Collects the members of a shape struct.
class Members {
public:
  Members &ints(ArrayRef<std::pair<const char *, int64_t>> members) {
    std::string list;
    for (auto [name, value] : members)
      list += (list.empty() ? "" : ", ") + std::string(name) + " = " + std::to_string(value);
    return line("static constexpr int " + list);
  }
  Members &bools(ArrayRef<std::pair<const char *, bool>> members) {
    std::string list;
    for (auto [name, value] : members)
      list += (list.empty() ? "" : ", ") + std::string(name) + " = " + literal(value);
    return line("static constexpr bool " + list);
  }
  Members &floats(ArrayRef<std::pair<const char *, float>> members) {
    std::string list;
    for (auto [name, value] : members)
      list += (list.empty() ? "" : ", ") + std::string(name) + " = " + literal(value);
    return line("static constexpr float " + list);
  }
  Members &type(const std::string &name, const std::string &value) {
    return line("using " + name + " = " + value);
  }
  Members &line(const std::string &text) {
    body += "  " + text + ";\n";
    return *this;
  }
  std::string body;
};

float orZero(std::optional<llvm::APFloat> value) { return value ? value->convertToFloat() : 0.0f; }

std::string times(int64_t a, int64_t b) { return std::to_string(a) + "x" + std::to_string(b); }

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

std::string CudaShapes::weightsType(FlatSymbolRefAttr name) {
  const NumberFormat format = *buffer(name).getFormat();
  const NumberFormat::Traits traits = format.traits();
  if (!format.quantised())
    return traits.deviceClass;
  return traits.deviceClass + ("<" + std::to_string(format.group)) +
         (traits.minima ? ", " + literal(!format.minima) : "") + ">";
}

std::string CudaShapes::cacheType(FlatSymbolRefAttr name) {
  const CacheFormat format = kernel::cacheFormat(buffer(name));
  return format == CacheFormat::F8E4M3 ? "e4m3" : format == CacheFormat::BF16 ? "bf16" : "half";
}

std::string CudaShapes::intern(const std::string &base, const std::string &body,
                               const std::string &frame) {
  size_t same = 0;
  for (const Shape &shape : shapes) {
    if (shape.body == body && shape.base == base)
      return shape.name;
    same += shape.base == base;
  }
  std::string name = same ? base + "_v" + std::to_string(same + 1) : base;
  shapes.push_back({base, name, body, frame});
  return name;
}

std::vector<std::string> CudaShapes::declarations() const {
  std::vector<std::string> result;
  for (const Shape &shape : shapes) {
    std::string text = shape.frame;
    text.replace(text.find("NAME"), 4, shape.name);
    text.replace(text.find("BODY"), 4, shape.body);
    result.push_back(text);
  }
  return result;
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

CudaCall CudaShapes::call(kernel::EmbedOp op) {
  ArrayRef<int64_t> shape = buffer(op.getTableAttr()).getTensor().getShape();
  Members members;
  members.ints({{"Vocab", shape[0]}, {"Hidden", shape[1]}, {"MaxRows", program.getMaxRows()}})
      .floats({{"scale", op.getScale().convertToFloat()}})
      .type("Weights", weightsType(op.getTableAttr()));
  return {"embed",
          intern("Embed_" + times(shape[0], shape[1]), members.body),
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
      intern("invFreq_" + half, list, "RETORT_CONSTANT float NAME[" + half + "] = {\n    BODY};");
  Members members;
  members.ints({{"Half", static_cast<int64_t>(values.size())}, {"MaxRows", program.getMaxRows()}})
      .floats({{"scale", op.getScale().convertToFloat()}});
  return {"angles",
          intern("Angles_" + half, members.body),
          {address(op.getPositionsAttr()), table, address(op.getDestAttr())},
          ""};
}

namespace {
/// What a product's prologue adds to its shape.
void stageMembers(Members &members, kernel::StageOp stage, int64_t sourceStride) {
  members.ints({{"SourceStride", sourceStride}, {"SourceAt", static_cast<int64_t>(stage.getAt())}})
      .bools({{"Norm", stage.getGain().has_value()}, {"NormOffset", stage.getOffset()}})
      .floats({{"eps", stage.getEps().convertToFloat()}});
  if (stage.getReceived())
    members.bools({{"Sums", true}});
}
std::string formatSuffix(kernel::BufferOp weights) { return "_" + nameOf(*weights.getFormat()); }
} // namespace

CudaCall CudaShapes::call(kernel::MatmulOp op) {
  kernel::StageOp stage = stageOf(op.getSource());
  kernel::BufferOp weights = buffer(op.getWeightsAttr());
  ArrayRef<int64_t> shape = weights.getTensor().getShape();
  Members members;
  members.ints({{"In", shape[1]}, {"Out", shape[0]}, {"MaxRows", program.getMaxRows()}});
  stageMembers(members, stage, columns(stage.getSourceAttr()));
  members.ints({{"DestStride", columns(op.getDestAttr())}})
      .bools({{"HasBias", op.getBias().has_value()},
              {"HasResidual", op.getResidual().has_value()},
              {"Wanted", stage.getRows().has_value()}})
      .floats({{"softCap", orZero(op.getSoftCap())}})
      .type("Weights", weightsType(op.getWeightsAttr()));
  std::string base = "Matmul_" + times(shape[1], shape[0]) + formatSuffix(weights);
  if (isa_and_nonnull<kernel::ArgmaxOp>(op->getNextNode())) {
    CudaCall call{"matmulArgmax",
                  intern(base, members.body),
                  {address(stage.getSourceAttr()), address(stage.getGainAttr()),
                   address(op.getWeightsAttr()), address(op.getDestAttr()),
                   address(op.getBiasAttr()), address(stage.getRowsAttr())},
                  address(op.getWeightsAttr())};
    if (stage.getReceived())
      call.arguments.push_back(partials(stage));
    return call;
  }
  CudaCall call{"matmul",
                "",
                {address(stage.getSourceAttr()), address(stage.getGainAttr()),
                 address(op.getWeightsAttr()), address(op.getDestAttr()), address(op.getBiasAttr()),
                 address(op.getResidualAttr()), address(stage.getRowsAttr())},
                address(op.getWeightsAttr())};
  if (op.getSend()) {
    members.bools({{"Sends", true}});
    call.arguments.push_back(program.isDecode()
                                 ? flagged("outbox", op, op.getSendAttr())
                                 : "cta.sent<float>(" +
                                       std::to_string(*buffer(op.getSendAttr()).getOffset()) + ")");
  }
  if (stage.getReceived()) {
    if (!op.getSend())
      call.arguments.push_back("{}");
    call.arguments.push_back(partials(stage));
  }
  call.shape = intern(base, members.body);
  return call;
}

CudaCall CudaShapes::call(kernel::MatmulGluOp op) {
  kernel::StageOp stage = stageOf(op.getSource());
  kernel::BufferOp weights = buffer(op.getWeightsAttr());
  ArrayRef<int64_t> shape = weights.getTensor().getShape();
  Members members;
  members.ints({{"In", shape[1]}, {"Out", shape[0] / 2}, {"MaxRows", program.getMaxRows()}});
  stageMembers(members, stage, columns(stage.getSourceAttr()));
  members.ints({{"DestStride", columns(op.getDestAttr())}})
      .bools({{"HasBias", false}, {"HasResidual", false}, {"Wanted", false}})
      .floats({{"softCap", 0.0f}})
      .line("static constexpr Activation Act = " + literal(op.getAct()))
      .type("Weights", weightsType(op.getWeightsAttr()));
  std::string base = "Glu_" + times(shape[1], shape[0] / 2) + formatSuffix(weights);
  CudaCall call{"matmulGlu",
                intern(base, members.body),
                {address(stage.getSourceAttr()), address(stage.getGainAttr()),
                 address(op.getWeightsAttr()), address(op.getDestAttr())},
                address(op.getWeightsAttr())};
  if (stage.getReceived())
    call.arguments.push_back(partials(stage));
  return call;
}

CudaCall CudaShapes::call(kernel::AttendOp op) {
  int64_t rotary = op.getAngles() ? columns(op.getAnglesAttr()) : 0;
  Members members;
  members
      .ints({{"Heads", op.getHeads()},
             {"KvHeads", op.getKvHeads()},
             {"Dims", op.getDims()},
             {"RotaryDims", rotary},
             {"Window", op.getWindow().value_or(0)},
             {"Splits", op.getSplits()},
             {"PageRows", program.getPageRows()},
             {"MaxRows", program.getMaxRows()}})
      .ints({{"QStride", columns(op.getQAttr())},
             {"QAt", op.getQAt()},
             {"KStride", columns(op.getKAttr())},
             {"KAt", op.getKAt()},
             {"VStride", columns(op.getVAttr())},
             {"VAt", op.getVAt()}})
      .line("static constexpr int64_t PageBytes = " + std::to_string(*program.getPageBytes()))
      .bools({{"QNorm", op.getQNorm().has_value()},
              {"KNorm", op.getKNorm().has_value()},
              {"NormOffset", op.getOffset()}})
      .floats({{"scale", op.getScale().convertToFloat()},
               {"softCap", orZero(op.getSoftCap())},
               {"eps", op.getEps().convertToFloat()}})
      .type("Cache", cacheType(op.getCacheAttr()));
  if (int64_t flagged = program.flaggedBytes())
    members.ints({{"CountersAt", cuda::kSyncReserved + flagged / 4}});
  std::string base =
      "Attend_" + times(op.getHeads(), op.getKvHeads()) + "x" + std::to_string(op.getDims());
  return {"attend",
          intern(base, members.body),
          {address(op.getQAttr()), address(op.getKAttr()), address(op.getVAttr()),
           address(op.getQNormAttr()), address(op.getKNormAttr()), address(op.getAnglesAttr()),
           address(op.getCacheAttr()), address(op.getPartialsAttr()), address(op.getDestAttr())},
          "",
          address(op.getCacheAttr())};
}

CudaCall CudaShapes::call(kernel::RopeAppendOp op) {
  int64_t rotary = op.getAngles() ? columns(op.getAnglesAttr()) : 0;
  Members members;
  members
      .ints({{"Heads", op.getHeads()},
             {"KvHeads", op.getKvHeads()},
             {"Dims", op.getDims()},
             {"RotaryDims", rotary},
             {"PageRows", program.getPageRows()},
             {"MaxRows", program.getMaxRows()}})
      .ints({{"QStride", columns(op.getQAttr())},
             {"QAt", op.getQAt()},
             {"KStride", columns(op.getKAttr())},
             {"KAt", op.getKAt()},
             {"VStride", columns(op.getVAttr())},
             {"VAt", op.getVAt()}})
      .line("static constexpr int64_t PageBytes = " + std::to_string(*program.getPageBytes()))
      .bools({{"QNorm", op.getQNorm().has_value()},
              {"KNorm", op.getKNorm().has_value()},
              {"NormOffset", op.getOffset()}})
      .floats({{"eps", op.getEps().convertToFloat()}})
      .type("Cache", cacheType(op.getCacheAttr()));
  std::string base =
      "Append_" + times(op.getHeads(), op.getKvHeads()) + "x" + std::to_string(op.getDims());
  return {"ropeAppend",
          intern(base, members.body),
          {address(op.getQAttr()), address(op.getKAttr()), address(op.getVAttr()),
           address(op.getQNormAttr()), address(op.getKNormAttr()), address(op.getAnglesAttr()),
           address(op.getCacheAttr())},
          ""};
}

CudaCall CudaShapes::call(kernel::AttentionOp op) {
  Members members;
  members
      .ints({{"Heads", op.getHeads()},
             {"KvHeads", op.getKvHeads()},
             {"Dims", op.getDims()},
             {"Window", op.getWindow().value_or(0)},
             {"PageRows", program.getPageRows()},
             {"MaxRows", program.getMaxRows()}})
      .ints({{"QStride", columns(op.getQAttr())}, {"QAt", op.getQAt()}})
      .line("static constexpr int64_t PageBytes = " + std::to_string(*program.getPageBytes()))
      .floats({{"scale", op.getScale().convertToFloat()}, {"softCap", orZero(op.getSoftCap())}})
      .type("Cache", cacheType(op.getCacheAttr()));
  std::string base =
      "Attention_" + times(op.getHeads(), op.getKvHeads()) + "x" + std::to_string(op.getDims());
  return {"attention",
          intern(base, members.body),
          {address(op.getQAttr()), address(op.getCacheAttr()), address(op.getDestAttr())},
          ""};
}

CudaCall CudaShapes::call(kernel::NormOp op) {
  Members members;
  members
      .ints({{"Features", columns(op.getDestAttr())},
             {"Groups", op.getGroups().value_or(1)},
             {"MaxRows", program.getMaxRows()}})
      .bools({{"NormOffset", op.getOffset()}, {"HasResidual", op.getResidual().has_value()}})
      .floats({{"eps", op.getEps().convertToFloat()}});
  return {"norm",
          intern("Norm_" + std::to_string(columns(op.getDestAttr())), members.body),
          {address(op.getSourceAttr()), address(op.getGainAttr()), address(op.getResidualAttr()),
           address(op.getDestAttr())},
          ""};
}

CudaCall CudaShapes::call(kernel::GluOp op) {
  Members members;
  members
      .ints({{"Channels", columns(op.getDestAttr())},
             {"GateStride", columns(op.getGateAttr())},
             {"GateAt", op.getGateAt()},
             {"UpStride", columns(op.getUpAttr())},
             {"UpAt", op.getUpAt()},
             {"MaxRows", program.getMaxRows()}})
      .line("static constexpr Activation Act = " + literal(op.getAct()));
  return {"glu",
          intern("GluRows_" + std::to_string(columns(op.getDestAttr())), members.body),
          {address(op.getGateAttr()), address(op.getUpAttr()), address(op.getDestAttr())},
          ""};
}

CudaCall CudaShapes::call(kernel::ResidualOp op) {
  Members members;
  members.ints({{"Features", columns(op.getDestAttr())}, {"MaxRows", program.getMaxRows()}});
  return {"residual",
          intern("Residual_" + std::to_string(columns(op.getDestAttr())), members.body),
          {address(op.getLhsAttr()), address(op.getRhsAttr()), address(op.getDestAttr())},
          ""};
}

CudaCall CudaShapes::call(kernel::SumOp op) {
  Members members;
  members.ints({{"Features", columns(op.getDestAttr())}, {"MaxRows", program.getMaxRows()}})
      .bools({{"HasResidual", op.getResidual().has_value()}});
  // Own + received is received + own to the bit, so the devices agree.
  std::string received = program.isDecode() ? flagged("inbox", op, op.getReceivedAttr())
                                            : address(op.getReceivedAttr());
  return {"sum",
          intern("Sum_" + std::to_string(columns(op.getDestAttr())), members.body),
          {address(op.getPartialAttr()), received, address(op.getResidualAttr()),
           address(op.getDestAttr())},
          ""};
}

CudaCall CudaShapes::call(kernel::SampleOp op) {
  int64_t first = columns(op.getLogitsAttr()),
          second = op.getOtherLogits() ? columns(op.getOtherLogitsAttr()) : 0;
  Members members;
  members.ints({{"First", first}, {"Second", second}});
  std::string tokens = std::to_string(first) + (second ? "_" + std::to_string(second) : "");
  return {"sample", intern("Sample_" + tokens, members.body), {}, ""};
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

} // namespace retort::codegen
