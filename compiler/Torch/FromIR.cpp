//===- FromIR.cpp - lm.model -> Graph ---------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/FromIR.h"
#include "runtime/base/Error.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/TypeSwitch.h"
#include <algorithm>

namespace retort::exec {
namespace {

class Builder {
public:
  explicit Builder(lm::ModelOp model) : model_(model) {
    graph_.name = model.getSymName().str();
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
        addNode(op);
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
    block.firstNode = int32_t(graph_.nodes.size());
    block.in = id(op.getInput());
    values_[op.getEntry()] = block.in;
    for (mlir::Operation &inner : op.getBody()->without_terminator())
      addNode(inner);
    block.out = id(op.getYield().getValue());
    block.numNodes = int32_t(graph_.nodes.size()) - block.firstNode;
    values_[op.getResult()] = block.out;
    graph_.blocks.push_back(block);
  }

  ValueId id(mlir::Value value) const { return values_.lookup(value); }

  void addNode(mlir::Operation &op) {
    Node node{kindOf(op)};
    for (mlir::Value operand : op.getOperands())
      if (lm::isRows(operand.getType())) // token ids are what every run is given
        node.ins.push_back(id(operand));
    for (mlir::Value result : op.getResults())
      node.outs.push_back(values_[result] = graph_.addValue(lm::features(result)));
    for (mlir::NamedAttribute attribute : op.getAttrDictionary()) {
      if (auto symbol = llvm::dyn_cast<mlir::FlatSymbolRefAttr>(attribute.getValue()))
        node.params[attribute.getName().str()] = paramIds_.lookup(symbol.getValue());
      else
        node.attributes[attribute.getName().str()] = numbersOf(op, attribute);
    }
    if (auto rope = llvm::dyn_cast<lm::RopeOp>(op)) {
      const auto frequencies = rope.getInverseFrequencies();
      node.attributes["inverse_frequencies"] = {frequencies.begin(), frequencies.end()};
      node.attributes["amplitude"] = {rope.getAmplitude()};
    }
    graph_.nodes.push_back(std::move(node));
  }

  OpKind kindOf(mlir::Operation &op) const {
    const std::string_view name = op.getName().getStringRef();
    const auto *found = std::ranges::find(kOpNames, name);
    if (found == std::end(kOpNames))
      fail(ExitCode::Unsupported,
           "the executor does not run '" + std::string(name) + "' (model '" + graph_.name + "')");
    return OpKind(found - kOpNames);
  }

  /// What an attribute other than a parameter's name is to the executor.
  std::vector<double> numbersOf(mlir::Operation &op, mlir::NamedAttribute attribute) const {
    using Numbers = std::vector<double>;
    return llvm::TypeSwitch<mlir::Attribute, Numbers>(attribute.getValue())
        .Case([](mlir::IntegerAttr number) { return Numbers{double(number.getInt())}; })
        .Case([](mlir::FloatAttr number) { return Numbers{number.getValueAsDouble()}; })
        .Case([](mlir::UnitAttr) { return Numbers{1}; })
        .Case([](lm::ActivationAttr act) { return Numbers{double(act.getValue())}; })
        .Case([](lm::CacheFormatAttr cache) { return Numbers{double(cache.getValue())}; })
        .Case([](lm::RopeScalingAttr) { return Numbers{}; }) // part of the rope's frequencies
        .Default([&](mlir::Attribute) -> Numbers {
          fail(ExitCode::Unsupported, "the executor does not read '" + attribute.getName().str() +
                                          "' of '" + op.getName().getStringRef().str() +
                                          "' (model '" + graph_.name + "')");
        });
  }

  lm::ModelOp model_;
  Graph graph_;
  llvm::StringMap<ParamId> paramIds_;
  llvm::DenseMap<mlir::Value, ValueId> values_;
};

} // namespace

Graph graphFromModel(lm::ModelOp model) { return Builder(model).build(); }

} // namespace retort::exec
