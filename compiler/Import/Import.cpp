//===- Import.cpp - From a checkpoint to the lm dialect -------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Import/Import.h"
#include "compiler/Checkpoint/Cursor.h"
#include "compiler/Import/Config.h"
#include "compiler/Import/TensorNames.h"
#include "dialects/LM/LMOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include <filesystem>
#include <unordered_set>

namespace retort {
namespace {

using namespace mlir;

std::string shapeText(ArrayRef<int64_t> shape) {
  std::string text;
  for (int64_t size : shape)
    text += (text.empty() ? "" : "x") + std::to_string(size);
  return text.empty() ? "a scalar" : text;
}

class ModelBuilder {
public:
  ModelBuilder(MLIRContext &context, const Checkpoint &checkpoint, const ModelConfig &config)
      : context_(context), checkpoint_(checkpoint), config_(config), names_(checkpoint, config),
        builder_(UnknownLoc::get(&context), &context) {}

  OwningOpRef<ModuleOp> build(StringRef symbol) {
    OwningOpRef<ModuleOp> module = ModuleOp::create(builder_.getLoc());
    builder_.setInsertionPointToEnd(module->getBody());
    model_ = builder_.create<lm::ModelOp>(symbol, config_.family->name, config_.context,
                                          config_.vocab, config_.hidden);
    builder_.setInsertionPointToEnd(&model_.getBodyRegion().front());
    forward_ = builder_.create<lm::ForwardOp>();
    buildForward();
    refuseUnusedTensors();
    verifyModule(*module);
    return module;
  }

private:
  using Layer = ModelConfig::Layer;

  //===- Parameters ---------------------------------------------------------===//

  /// Makes the parameter and returns its name. With `heads`, its rows are those of so many heads
  /// with rotated pairs, which the checkpoint may store side by side.
  StringRef param(const std::string &name, ArrayRef<int64_t> shape, int64_t heads = 0) {
    const std::string stored = names_.inCheckpoint(name);
    const CheckpointTensor *tensor = checkpoint_.find(stored);
    if (!tensor)
      fail(ExitCode::BadInput, checkpoint_.path() + ": has no tensor " + quote(stored) + " (" +
                                   shapeText(shape) +
                                   "): the model's files are incomplete, "
                                   "download them again");
    if (ArrayRef<int64_t>(tensor->shape) != shape)
      fail(ExitCode::BadInput, checkpoint_.path() + ": tensor " + quote(stored) + " is " +
                                   shapeText(tensor->shape) + ", but the model needs " +
                                   shapeText(shape) + ": the file does not match its metadata");
    used_.insert(tensor->name);
    OpBuilder::InsertionGuard guard(builder_);
    builder_.setInsertionPoint(forward_);
    Location loc = NameLoc::get(builder_.getStringAttr(stored), fileLocation(*tensor));
    auto type = RankedTensorType::get(shape, builder_.getF32Type());
    auto op = builder_.create<lm::ParamOp>(loc, StringRef(name), type);
    ImplicitLocOpBuilder program = op.getProgramBuilder();
    Value value =
        program.create<weight::LoadOp>(type, stored, retort::name(tensor->type), StringAttr());
    if (heads != 0 && config_.interleavedRope)
      value = program.create<weight::TakeOp>(type, value, weight::Axis::Rows, halfSplitRows(heads));
    program.create<weight::YieldOp>(value);
    return op.getSymName();
  }

  FlatSymbolRefAttr reference(StringRef name) { return FlatSymbolRefAttr::get(&context_, name); }

  LocationAttr fileLocation(const CheckpointTensor &tensor) {
    std::string file = std::filesystem::path(tensor.file->path()).filename();
    return FileLineColLoc::get(builder_.getStringAttr(file), 0, 0);
  }

  /// Row `indices[i]` of the checkpoint is row i in half-split order: of each head, the firsts of
  /// all rotated pairs, then the seconds, then what is not rotated.
  SmallVector<int32_t> halfSplitRows(int64_t heads) {
    SmallVector<int32_t> indices;
    for (int64_t head = 0; head < heads; ++head)
      for (int64_t i = 0; i < config_.headDim; ++i) {
        const int64_t half = config_.rope.dims / 2;
        const int64_t row = i < half ? 2 * i : i < config_.rope.dims ? 2 * (i - half) + 1 : i;
        indices.push_back(static_cast<int32_t>(head * config_.headDim + row));
      }
    return indices;
  }

  void refuseUnusedTensors() {
    for (const CheckpointTensor &tensor : checkpoint_.tensors())
      if (!used_.contains(tensor.name) && !names_.mayBeUnused(tensor.name))
        fail(ExitCode::Unsupported,
             checkpoint_.path() + ": tensor " + quote(tensor.name) + " has no place in a " +
                 std::string(config_.family->name) +
                 " model: this variant of the architecture is not supported");
  }

  //===- Computation --------------------------------------------------------===//

  RankedTensorType rows(int64_t features) { return lm::rowsType(&context_, features); }

  Value linear(Value input, const std::string &name, int64_t outputs, bool bias,
               int64_t heads = 0) {
    FlatSymbolRefAttr weight =
        reference(param(name + ".weight", {outputs, lm::features(input)}, heads));
    FlatSymbolRefAttr biasRef;
    if (bias)
      biasRef = reference(param(name + ".bias", {outputs}, heads));
    return builder_.create<lm::LinearOp>(rows(outputs), input, weight, biasRef);
  }

  /// The norm of rows called `name`.
  Value norm(Value input, const std::string &name) {
    if (!config_.family->layerNorms)
      return rmsNorm(input, name, 1);
    FlatSymbolRefAttr gain = reference(param(name + ".weight", {lm::features(input)}));
    FlatSymbolRefAttr bias = reference(param(name + ".bias", {lm::features(input)}));
    return builder_.create<lm::LayerNormOp>(input.getType(), input, gain, bias,
                                            builder_.getF64FloatAttr(config_.normEps));
  }

  Value rmsNorm(Value input, const std::string &name, int64_t groups) {
    FlatSymbolRefAttr gain = reference(param(name + ".weight", {lm::features(input) / groups}));
    return builder_.create<lm::NormOp>(input.getType(), input, gain,
                                       builder_.getF64FloatAttr(config_.normEps),
                                       builder_.getI64IntegerAttr(groups),
                                       config_.normOffset ? builder_.getUnitAttr() : UnitAttr());
  }

  lm::RopeScalingAttr scaling(const RopeConfig &rope) {
    using Scaling = RopeConfig::Scaling;
    SmallVector<std::pair<StringRef, double>> numbers{{"factor", rope.factor}};
    switch (rope.scaling) {
    case Scaling::None:
      return {};
    case Scaling::Linear:
      return lm::RopeScalingAttr::get(&context_, lm::RopeScalingKind::Linear, numbers);
    case Scaling::Factors:
      return lm::RopeScalingAttr::getTable(&context_, rope.factors);
    case Scaling::Llama3:
      numbers.push_back({"original_context", rope.originalContext});
      numbers.push_back({"low_freq_factor", rope.lowFreqFactor});
      numbers.push_back({"high_freq_factor", rope.highFreqFactor});
      return lm::RopeScalingAttr::get(&context_, lm::RopeScalingKind::Llama3, numbers);
    case Scaling::Yarn:
      return yarn(rope, numbers);
    }
    llvm_unreachable("every scaling has its attribute");
  }

  lm::RopeScalingAttr yarn(const RopeConfig &rope, ArrayRef<std::pair<StringRef, double>> numbers) {
    NamedAttrList fields;
    auto set = [&](StringRef name, double number) {
      fields.set(name, builder_.getF64FloatAttr(number));
    };
    for (auto [name, number] : numbers)
      set(name, number);
    set("original_context", rope.originalContext);
    set("beta_fast", rope.betaFast);
    set("beta_slow", rope.betaSlow);
    if (rope.mscale != 0)
      set("mscale", rope.mscale);
    if (rope.mscaleAllDim != 0)
      set("mscale_all_dim", rope.mscaleAllDim);
    if (rope.attentionFactor)
      set("attention_factor", *rope.attentionFactor);
    if (!rope.truncate)
      fields.set("truncate", builder_.getBoolAttr(false));
    return lm::RopeScalingAttr::get(&context_, lm::RopeScalingKind::YaRN,
                                    fields.getDictionary(&context_));
  }

  Value rope(Value input, int64_t heads, const RopeConfig &config) {
    return builder_.create<lm::RopeOp>(input.getType(), input, builder_.getI64IntegerAttr(heads),
                                       builder_.getI64IntegerAttr(config.dims),
                                       builder_.getF64FloatAttr(config.base), scaling(config));
  }

  FloatAttr optionalNumber(const std::optional<double> &number) {
    return number ? builder_.getF64FloatAttr(*number) : FloatAttr();
  }

  Value attention(Value input, const std::string &block, const Layer &layer) {
    const RopeConfig &positions = layer.localRope ? config_.ropeLocal : config_.rope;
    const int64_t heads = layer.heads, kvHeads = layer.kvHeads, dim = config_.headDim;
    Value q = linear(input, block + "attn_q", heads * dim, config_.qkvBias, heads);
    Value k = linear(input, block + "attn_k", kvHeads * dim, config_.qkvBias, kvHeads);
    Value v = linear(input, block + "attn_v", kvHeads * dim, config_.qkvBias);
    if (config_.family->qkNorm) {
      q = rmsNorm(q, block + "attn_q_norm", heads);
      k = rmsNorm(k, block + "attn_k_norm", kvHeads);
    }
    q = rope(q, heads, positions);
    k = rope(k, kvHeads, positions);
    Value o = builder_.create<lm::AttentionOp>(
        q.getType(), q, k, v, builder_.getI64IntegerAttr(heads),
        builder_.getI64IntegerAttr(kvHeads), builder_.getF64FloatAttr(config_.attentionScale),
        layer.window != 0 ? builder_.getI64IntegerAttr(layer.window) : IntegerAttr(),
        optionalNumber(config_.attentionSoftCap),
        lm::CacheFormatAttr::get(&context_, CacheFormat::F32));
    return linear(o, block + "attn_output", config_.hidden, config_.outputBias);
  }

  Value feedForward(Value input, const std::string &block, const Layer &layer) {
    Value gate = linear(input, block + "ffn_gate", layer.ffn, config_.ffnBias);
    Value up = linear(input, block + "ffn_up", layer.ffn, config_.ffnBias);
    Value gated = builder_.create<lm::GluOp>(gate.getType(), gate, up, config_.activation);
    return linear(gated, block + "ffn_down", config_.hidden, config_.ffnBias);
  }

  Value residual(Value stream, Value output) {
    return builder_.create<lm::ResidualOp>(stream.getType(), stream, output);
  }

  Value transformerBlock(Value input, size_t number) {
    const Layer &layer = config_.layers[number];
    const std::string label = "blk." + std::to_string(number), prefix = label + ".";
    auto block = builder_.create<lm::BlockOp>(StringRef(label), input);
    OpBuilder::InsertionGuard guard(builder_);
    builder_.setInsertionPointToEnd(block.getBody());
    Value stream = block.getEntry();
    Value output = attention(norm(stream, prefix + "attn_norm"), prefix, layer);
    if (config_.family->postNorms)
      output = norm(output, prefix + "post_attention_norm");
    stream = residual(stream, output);
    output = feedForward(norm(stream, prefix + "ffn_norm"), prefix, layer);
    if (config_.family->postNorms)
      output = norm(output, prefix + "post_ffw_norm");
    builder_.create<lm::YieldOp>(residual(stream, output));
    return block.getResult();
  }

  void buildForward() {
    builder_.setInsertionPointToEnd(forward_.getBody());
    FlatSymbolRefAttr table =
        reference(param("token_embd.weight", {config_.vocab, config_.hidden}));
    Value stream = builder_.create<lm::EmbedOp>(rows(config_.hidden), forward_.getTokens(), table,
                                                builder_.getF64FloatAttr(config_.embedScale));
    for (size_t i = 0; i < config_.layers.size(); ++i)
      stream = transformerBlock(stream, i);
    Value last = norm(stream, "output_norm");
    if (!config_.tiedEmbeddings)
      table = reference(param("output.weight", {config_.vocab, config_.hidden}));
    Value logits = builder_.create<lm::LogitsOp>(rows(config_.vocab), last, table,
                                                 optionalNumber(config_.logitSoftCap));
    builder_.create<lm::ReturnOp>(logits);
  }

  /// Everything was checked before: a complaint here is a mistake in this file.
  void verifyModule(ModuleOp module) {
    std::string complaint;
    ScopedDiagnosticHandler handler(&context_, [&](Diagnostic &diagnostic) {
      complaint = diagnostic.str();
      return success();
    });
    if (failed(verify(module)))
      fail(ExitCode::Internal,
           checkpoint_.path() + ": importing made an invalid module: " + complaint);
  }

  MLIRContext &context_;
  const Checkpoint &checkpoint_;
  const ModelConfig &config_;
  TensorNames names_;
  ImplicitLocOpBuilder builder_;
  lm::ModelOp model_;
  lm::ForwardOp forward_;
  std::unordered_set<std::string_view> used_;
};

} // namespace

OwningOpRef<ModuleOp> importModel(MLIRContext &context, const Checkpoint &checkpoint,
                                  llvm::StringRef symbol) {
  const ModelConfig config = readModelConfig(checkpoint);
  context.loadDialect<lm::LMDialect, weight::WeightDialect>();
  return ModelBuilder(context, checkpoint, config).build(symbol);
}

} // namespace retort
