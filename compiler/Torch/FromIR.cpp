//===- FromIR.cpp - lm.model -> Graph ---------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/FromIR.h"
#include "runtime/base/Error.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/TypeSwitch.h"

namespace retort::exec {
namespace {

class Builder {
public:
  explicit Builder(lm::ModelOp model) : model_(model) {
    graph_.name = model.getSymName().str();
    graph_.family = model.getFamily().str();
    graph_.context = int64_t(model.getContext());
    graph_.vocab = int64_t(model.getVocab());
    graph_.hidden = int64_t(model.getHidden());
    if (auto kept = model.getVocabKept())
      graph_.vocabKept.assign(kept->begin(), kept->end());
  }

  Graph build() {
    addParams();
    mlir::Block &body = *model_.getForward().getBody();
    for (mlir::Operation &op : body.without_terminator())
      if (auto block = llvm::dyn_cast<lm::BlockOp>(op))
        addBlock(block);
      else
        addOp(op);
    graph_.numValues = next_;
    return std::move(graph_);
  }

private:
  /// Those that the computation reads, in the model's order.
  void addParams() {
    const lm::ParamReaders readers(model_);
    for (lm::ParamOp param : model_.getBody()->getOps<lm::ParamOp>()) {
      if (!readers.isRead(param))
        continue;
      paramIds_[param.getSymName()] = ParamId(graph_.params.size());
      graph_.params.push_back(describe(param));
    }
  }

  static Param describe(lm::ParamOp op) {
    const mlir::RankedTensorType type = op.getParamType();
    Param param;
    param.name = op.getSymName().str();
    param.isVector = type.getRank() == 1;
    param.rows = param.isVector ? 1 : type.getDimSize(0);
    param.cols = type.getDimSize(type.getRank() - 1);
    param.format = weight::numberFormat(type).value_or(NumberFormat{});
    return param;
  }

  void addBlock(lm::BlockOp op) {
    Block block;
    block.label = op.getLabel().str();
    block.firstOp = int32_t(graph_.ops.size());
    block.in = id(op.getInput());
    values_[op.getEntry()] = block.in;
    for (mlir::Operation &inner : op.getBody()->without_terminator())
      addOp(inner);
    block.out = id(op.getYield().getValue());
    block.numOps = int32_t(graph_.ops.size()) - block.firstOp;
    values_[op.getResult()] = block.out;
    graph_.blocks.push_back(block);
  }

  ValueId id(mlir::Value value) const { return values_.lookup(value); }
  ValueId define(mlir::Value value) { return values_[value] = next_++; }
  ParamId param(llvm::StringRef name) const { return paramIds_.lookup(name); }

  void addOp(mlir::Operation &operation) {
    graph_.ops.push_back(
        llvm::TypeSwitch<mlir::Operation *, Op>(&operation)
            .Case([&](lm::EmbedOp op) {
              return Embed{define(op.getResult()), param(op.getWeight()), op.getScale()};
            })
            .Case([&](lm::NormOp op) {
              const ValueId in = id(op.getInput());
              return Norm{in,          define(op.getResult()),  param(op.getWeight()),
                          op.getEps(), int64_t(op.getGroups()), op.getOffset()};
            })
            .Case([&](lm::LinearOp op) {
              const ValueId in = id(op.getInput());
              return Linear{in, define(op.getResult()), param(op.getWeight()),
                            op.getBias() ? param(*op.getBias()) : kNone};
            })
            .Case([&](lm::SplitOp op) {
              Split split{id(op.getInput()), {}, {}};
              for (mlir::Value result : op.getResults()) {
                split.outs.push_back(define(result));
                split.sizes.push_back(lm::features(result));
              }
              return split;
            })
            .Case([&](lm::RopeOp op) {
              const ValueId in = id(op.getInput());
              const auto frequencies = op.getInverseFrequencies();
              return Rope{in,
                          define(op.getResult()),
                          int64_t(op.getHeads()),
                          int64_t(op.getDims()),
                          {frequencies.begin(), frequencies.end()},
                          op.getAmplitude()};
            })
            .Case([&](lm::AttentionOp op) { return attention(op); })
            .Case([&](lm::GluOp op) {
              const ValueId gate = id(op.getGate()), up = id(op.getUp());
              return Glu{gate, up, define(op.getResult()), op.getAct()};
            })
            .Case([&](lm::ResidualOp op) {
              const ValueId stream = id(op.getStream()), output = id(op.getOutput());
              return Residual{stream, output, define(op.getResult())};
            })
            .Case([&](lm::LogitsOp op) {
              const ValueId in = id(op.getInput());
              Logits logits{in, define(op.getResult()), param(op.getWeight()), std::nullopt};
              if (op.getSoftCap())
                logits.softCap = *op.getSoftCap();
              return logits;
            })
            .Default([&](mlir::Operation *op) -> Op {
              fail(ExitCode::Unsupported, "the executor does not run '" +
                                              op->getName().getStringRef().str() + "' (model '" +
                                              graph_.name + "')");
            }));
  }

  Op attention(lm::AttentionOp op) {
    const ValueId query = id(op.getQuery()), key = id(op.getKey()), value = id(op.getValue());
    Attention attention{query,
                        key,
                        value,
                        define(op.getResult()),
                        int64_t(op.getHeads()),
                        int64_t(op.getKvHeads()),
                        op.getScale(),
                        std::nullopt,
                        std::nullopt,
                        op.getCache()};
    if (op.getWindow())
      attention.window = int64_t(*op.getWindow());
    if (op.getSoftCap())
      attention.softCap = *op.getSoftCap();
    return attention;
  }

  lm::ModelOp model_;
  Graph graph_;
  llvm::StringMap<ParamId> paramIds_;
  llvm::DenseMap<mlir::Value, ValueId> values_;
  ValueId next_ = 0;
};

} // namespace

Graph graphFromModel(lm::ModelOp model) { return Builder(model).build(); }

} // namespace retort::exec
