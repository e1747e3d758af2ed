//===- Import.cpp - From a checkpoint to the lm dialect -------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Import/Import.h"
#include "compiler/Checkpoint/Adapter.h"
#include "compiler/Checkpoint/Cursor.h"
#include "compiler/Import/Config.h"
#include "compiler/Import/TensorNames.h"
#include "dialects/LM/LMOps.h"
#include "dialects/Weight/WeightUpdateOps.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Verifier.h"
#include "llvm/Support/FormatVariadic.h"
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

/// How a parameter is made of a tensor of the checkpoint.
struct Making {
  int64_t heads = 0; ///< its rows are those of so many heads, whose rotated pairs the checkpoint
                     ///< may store side by side
  double scale = 1;  ///< multiplies it
  std::string tensor = ""; ///< whose rows it is some of; empty: a tensor of its own
  int64_t begin = 0, rows = 0;
};

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
    refuseUnusedUpdates();
    verifyModule(*module);
    return module;
  }

private:
  using Layer = ModelConfig::Layer;

  //===- Parameters ---------------------------------------------------------===//

  const CheckpointTensor &tensorOf(const std::string &stored, ArrayRef<int64_t> shape) {
    const CheckpointTensor *tensor = checkpoint_.find(stored);
    if (!tensor)
      fail(ExitCode::BadInput, checkpoint_.path() + ": has no tensor " + quote(stored) + " (" +
                                   shapeText(shape) + "), which a " +
                                   std::string(config_.family->name) +
                                   " model has: the checkpoint is not a whole one, or is named "
                                   "otherwise than transformers names it");
    if (ArrayRef<int64_t>(tensor->shape) != shape)
      fail(ExitCode::BadInput, checkpoint_.path() + ": tensor " + quote(stored) + " is " +
                                   shapeText(tensor->shape) + ", but the model needs " +
                                   shapeText(shape) + ": the file does not match its metadata");
    if (!tensor->isOfWeights())
      fail(ExitCode::Unsupported, checkpoint_.path() + ": tensor " + quote(stored) +
                                      " is stored as " + std::string(tensor->format()) +
                                      ", which is no format of weights");
    used_.insert(tensor->name);
    return *tensor;
  }

  /// Makes the parameter and returns its name.
  StringRef param(const std::string &name, ArrayRef<int64_t> shape, const Making &making = {}) {
    const bool isPart = !making.tensor.empty();
    const std::string whole = isPart ? making.tensor : name;
    SmallVector<int64_t> storedShape(shape);
    if (isPart)
      storedShape[0] = making.rows;
    const std::string place = placeOf(whole, isPart);
    // A head that only an adapter parts from the embedding is made of the same tensor.
    const std::string own = names_.inCheckpoint(
        whole == "output.weight" && names_.isTied() ? "token_embd.weight" : whole);
    const CheckpointTensor *replacement = replacementOf(place, own, storedShape);
    const std::string stored = replacement ? std::string(replacement->name) : own;
    const CheckpointTensor &tensor = replacement ? *replacement : tensorOf(stored, storedShape);
    Location loc = NameLoc::get(builder_.getStringAttr(stored), fileLocation(tensor));
    auto type = RankedTensorType::get(shape, builder_.getF32Type());
    auto op = newParam(loc, name, type);
    ImplicitLocOpBuilder program = op.getProgramBuilder();
    Value value = program.create<weight::LoadOp>(type.clone(storedShape), stored, tensor.format(),
                                                 StringAttr());
    if (isPart)
      value =
          program.create<weight::SliceOp>(type, value, weight::Axis::Rows, making.begin, shape[0]);
    // Replacements come in the order of Hugging Face's checkpoints.
    if (making.heads != 0 &&
        (replacement ? config_.family->interleavedHuggingFace : config_.interleavedRope))
      value = program.create<weight::TakeOp>(type, value, weight::Axis::Rows,
                                             halfSplitRows(making.heads));
    value = updated(value, place, storedShape, making, program);
    if (making.scale != 1)
      value = program.create<weight::ScaleOp>(type, value, program.getF64FloatAttr(making.scale));
    program.create<weight::YieldOp>(value);
    return op.getSymName();
  }

  //===- The adapter --------------------------------------------------------===//

  /// Where transformers has the parameter. GGUF calls a gate and up projection in one "ffn_up".
  std::string placeOf(const std::string &name, bool isPart) const {
    constexpr StringRef up = ".ffn_up.";
    const size_t at = name.find(up);
    if (!isPart || at == std::string::npos)
      return names_.inTransformers(name);
    return names_.inTransformers(name.substr(0, at) + ".ffn_gate_up." +
                                 name.substr(at + up.size()));
  }

  [[noreturn]] void refuseUpdate(const CheckpointTensor &tensor, ArrayRef<int64_t> given,
                                 const std::string &place, ArrayRef<int64_t> base) const {
    fail(ExitCode::BadInput, checkpoint_.adapter()->path() + ": tensor " + quote(tensor.name) +
                                 " is for a weight of " + shapeText(given) + ", but " +
                                 quote(place) + " of " + checkpoint_.path() + " is " +
                                 shapeText(base) + ": the adapter is for another base");
  }

  /// The tensor that the adapter has in the place of the base's, `stored`; null if it has none.
  const CheckpointTensor *replacementOf(const std::string &place, const std::string &stored,
                                        ArrayRef<int64_t> shape) {
    if (!checkpoint_.adapter())
      return nullptr;
    const auto &all = checkpoint_.adapter()->replacements();
    const auto it = all.find(place);
    if (it == all.end())
      return nullptr;
    const CheckpointTensor &tensor = *it->second;
    if (ArrayRef<int64_t>(tensor.shape) != shape)
      refuseUpdate(tensor, tensor.shape, place, shape);
    // GGUF stores 1 + w where the family's gains are w.
    if (config_.family->normOffset != config_.normOffset && shape.size() == 1)
      fail(ExitCode::Unsupported, checkpoint_.adapter()->path() + ": tensor " + quote(tensor.name) +
                                      " is a norm of a base as GGUF: give the base's Hugging Face "
                                      "folder");
    used_.insert(tensor.name);
    if (const CheckpointTensor *base = checkpoint_.find(stored))
      used_.insert(base->name);
    return &tensor;
  }

  /// The weight, or part of one that `making` takes, as the adapter changes it. `whole`: the shape
  /// of the weight at `place`.
  Value updated(Value value, const std::string &place, ArrayRef<int64_t> whole,
                const Making &making, ImplicitLocOpBuilder &program) {
    if (!checkpoint_.adapter())
      return value;
    const auto &all = checkpoint_.adapter()->updates();
    const auto it = all.find(place);
    if (it == all.end())
      return value;
    const Adapter::Update &update = it->second;
    const SmallVector<int64_t> given{update.up->shape[0], update.down->shape[1]};
    if (ArrayRef<int64_t>(given) != whole)
      refuseUpdate(*update.up, given, place, whole);
    if (update.norms && ArrayRef<int64_t>(update.norms->shape) != whole.take_front())
      refuseUpdate(*update.norms, update.norms->shape, place, whole.take_front());
    auto load = [&](const CheckpointTensor &tensor) -> Value {
      if (!tensor.isOfWeights())
        fail(ExitCode::Unsupported,
             checkpoint_.adapter()->path() + ": tensor " + quote(tensor.name) + " is stored as " +
                 std::string(tensor.format()) + ", which is no format of weights");
      used_.insert(tensor.name);
      auto type = RankedTensorType::get(tensor.shape, builder_.getF32Type());
      return program.create<weight::LoadOp>(type, tensor.name, tensor.format(), StringAttr());
    };
    const auto type = cast<RankedTensorType>(value.getType());
    // The rows that the part has, in its order.
    auto rowsOf = [&](Value rows) -> Value {
      SmallVector<int64_t> shape(cast<RankedTensorType>(rows.getType()).getShape());
      shape[0] = type.getDimSize(0);
      const auto part = type.clone(shape);
      if (!making.tensor.empty())
        rows =
            program.create<weight::SliceOp>(part, rows, weight::Axis::Rows, making.begin, shape[0]);
      if (making.heads != 0 && config_.family->interleavedHuggingFace)
        rows = program.create<weight::TakeOp>(part, rows, weight::Axis::Rows,
                                              halfSplitRows(making.heads));
      return rows;
    };
    Value product =
        program.create<weight::ProductOp>(type, rowsOf(load(*update.up)), load(*update.down));
    Value change =
        program.create<weight::ScaleOp>(type, product, program.getF64FloatAttr(update.scale));
    Value sum = program.create<weight::AddOp>(type, value, change);
    return update.norms ? program.create<weight::SetNormsOp>(type, sum, rowsOf(load(*update.norms)))
                        : sum;
  }

  void refuseUnusedUpdates() {
    if (!checkpoint_.adapter())
      return;
    auto refuse = [&](const CheckpointTensor &tensor) {
      // "base_model.model.", and then as in a checkpoint: the same layer of a tower is another one.
      const StringRef name = StringRef(tensor.name).substr(StringRef("base_model.model.").size());
      if (!used_.contains(tensor.name) || names_.unusedKind(name) != Unused::Unknown)
        fail(ExitCode::BadInput, checkpoint_.adapter()->path() + ": tensor " + quote(tensor.name) +
                                     " has no place in the " + std::string(config_.family->name) +
                                     " model of " + checkpoint_.path() +
                                     ": the adapter is for another base");
    };
    for (const auto &[place, update] : checkpoint_.adapter()->updates())
      refuse(*update.down);
    for (const auto &[place, tensor] : checkpoint_.adapter()->replacements())
      refuse(*tensor);
  }

  /// Whether logits are made by the embedding's table. An adapter of either parts them, as PEFT keeps
  /// them apart when it trains.
  bool isTied() const {
    const Adapter *adapter = checkpoint_.adapter();
    return names_.isTied() && !(adapter && (adapter->changes("lm_head.weight") ||
                                            adapter->changes("embed_tokens.weight")));
  }

  /// A vector of one number, for what an op reads and the family does without.
  StringRef constant(const std::string &name, int64_t size, double number) {
    auto type = RankedTensorType::get({size}, builder_.getF32Type());
    auto op = newParam(NameLoc::get(builder_.getStringAttr(name)), name, type);
    ImplicitLocOpBuilder program = op.getProgramBuilder();
    Value value = program.create<weight::ConstantOp>(
        DenseFPElementsAttr::get(type, static_cast<float>(number)));
    program.create<weight::YieldOp>(value);
    return op.getSymName();
  }

  lm::ParamOp newParam(Location loc, const std::string &name, RankedTensorType type) {
    OpBuilder::InsertionGuard guard(builder_);
    builder_.setInsertionPoint(forward_);
    return builder_.create<lm::ParamOp>(loc, StringRef(name), type);
  }

  FlatSymbolRefAttr reference(StringRef name) { return FlatSymbolRefAttr::get(&context_, name); }

  LocationAttr fileLocation(const CheckpointTensor &tensor) {
    std::string file = std::filesystem::path(tensor.file->path()).filename();
    return FileLineColLoc::get(builder_.getStringAttr(file), 0, 0);
  }

  /// Row `indices[i]` of the checkpoint is row i in half-split order.
  SmallVector<int32_t> halfSplitRows(int64_t heads) {
    SmallVector<int32_t> indices;
    for (int64_t head = 0; head < heads; ++head)
      for (int64_t i = 0; i < config_.headDim; ++i) {
        const int64_t row = pairedRow(i, config_.rope.dims);
        indices.push_back(static_cast<int32_t>(head * config_.headDim + row));
      }
    return indices;
  }

  /// GPTQ's files may have a bias of zeros beside every matrix.
  bool isZeroBias(const CheckpointTensor &tensor) const {
    if (!tensor.name.ends_with(".bias"))
      return false;
    const std::string stem(tensor.name.substr(0, tensor.name.size() - 4));
    const CheckpointTensor *matrix = checkpoint_.find(stem + "weight");
    return matrix && matrix->coded &&
           llvm::all_of(tensor.bytes, [](uint8_t byte) { return byte == 0; });
  }

  void refuseUnusedTensors() {
    for (const CheckpointTensor &tensor : checkpoint_.tensors())
      if (!used_.contains(tensor.name) && names_.unusedKind(tensor.name) == Unused::Unknown &&
          !isZeroBias(tensor))
        fail(ExitCode::Unsupported,
             checkpoint_.path() + ": tensor " + quote(tensor.name) + " has no place in a " +
                 std::string(config_.family->name) +
                 " model: this variant of the architecture is not supported");
  }

  //===- Computation --------------------------------------------------------===//

  RankedTensorType rows(int64_t features) { return lm::rowsType(&context_, features); }

  Value linear(Value input, const std::string &name, int64_t outputs, bool bias,
               const Making &making = {}) {
    auto part = [&](const char *suffix) {
      Making result = making;
      if (!result.tensor.empty())
        result.tensor += suffix;
      return result;
    };
    FlatSymbolRefAttr weight =
        reference(param(name + ".weight", {outputs, lm::features(input)}, part(".weight")));
    FlatSymbolRefAttr biasRef;
    if (bias)
      biasRef = reference(param(name + ".bias", {outputs}, part(".bias")));
    return builder_.create<lm::LinearOp>(rows(outputs), input, weight, biasRef);
  }

  /// A norm of rows: what its result is multiplied by, and what it differs in from the others.
  struct NormKind {
    double scale = 1, eps = 0;
    bool offset = false;
  };
  NormKind usual() const { return {1, config_.normEps, config_.normOffset}; }
  /// Of the stream, which is `streamScale_` times smaller than the checkpoint's.
  NormKind ofStream() const { return {1, streamEps(), config_.normOffset}; }
  NormKind post() const { return {1 / streamScale_, config_.postNormEps, config_.normOffset}; }
  NormKind last() const {
    return {config_.logitScale, streamEps(), config_.normOffset && !config_.family->plainLastNorm};
  }
  double streamEps() const { return config_.normEps / (streamScale_ * streamScale_); }

  Value norm(Value input, const std::string &name, const NormKind &kind) {
    if (!config_.family->layerNorms)
      return rmsNorm(input, param(name + ".weight", {lm::features(input)}, {.scale = kind.scale}),
                     1, kind);
    const int64_t size = lm::features(input);
    FlatSymbolRefAttr gain = reference(param(name + ".weight", {size}, {.scale = kind.scale}));
    FlatSymbolRefAttr bias = reference(config_.family->layerNormBias
                                           ? param(name + ".bias", {size}, {.scale = kind.scale})
                                           : constant(name + ".bias", size, 0));
    return builder_.create<lm::LayerNormOp>(input.getType(), input, gain, bias,
                                            builder_.getF64FloatAttr(kind.eps));
  }

  Value rmsNorm(Value input, StringRef gain, int64_t groups, const NormKind &kind) {
    return builder_.create<lm::NormOp>(
        input.getType(), input, reference(gain), builder_.getF64FloatAttr(kind.eps),
        builder_.getI64IntegerAttr(groups), kind.offset ? builder_.getUnitAttr() : UnitAttr());
  }

  /// The norm of each of `groups` runs of query or key features, `scale` in the place of a gain if
  /// the checkpoint has none.
  Value headNorm(Value input, const std::string &name, int64_t groups, double scale) {
    const std::string gain = name + ".weight";
    const int64_t size = lm::features(input) / groups;
    if (config_.family->queryFactor == 0 || checkpoint_.gguf())
      return rmsNorm(input, param(gain, {size}), groups, usual());
    return rmsNorm(input, constant(gain, size, scale), groups, {.eps = config_.normEps});
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
      return lm::RopeScalingAttr::getTable(&context_, rope.factors,
                                           rope.attentionFactor.value_or(1));
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

  Value rope(Value input, int64_t heads, const RopeConfig &config,
             const std::optional<LengthScale> &growth = std::nullopt) {
    return builder_.create<lm::RopeOp>(
        input.getType(), input, builder_.getI64IntegerAttr(heads),
        builder_.getI64IntegerAttr(config.dims), builder_.getF64FloatAttr(config.base),
        scaling(config), growth ? builder_.getF64FloatAttr(growth->factor) : FloatAttr(),
        growth ? builder_.getI64IntegerAttr(static_cast<int64_t>(growth->every)) : IntegerAttr());
  }

  FloatAttr optionalNumber(const std::optional<double> &number) {
    return number ? builder_.getF64FloatAttr(*number) : FloatAttr();
  }

  Value attention(Value input, const std::string &block, const Layer &layer) {
    RopeConfig positions = layer.localRope ? config_.ropeLocal : config_.rope;
    if (layer.ropeBase != 0)
      positions.base = layer.ropeBase;
    const int64_t heads = layer.heads, kvHeads = layer.kvHeads, dim = layer.headDim;
    const int64_t all = (heads + 2 * kvHeads) * dim;
    // One tensor may hold the three.
    const std::string fused =
        checkpoint_.find(names_.inCheckpoint(block + "attn_qkv.weight")) ? block + "attn_qkv" : "";
    Value q = linear(input, block + "attn_q", heads * dim, config_.qkvBias,
                     {.heads = heads, .tensor = fused, .rows = all});
    Value k = linear(input, block + "attn_k", kvHeads * dim, config_.qkvBias,
                     {.heads = kvHeads, .tensor = fused, .begin = heads * dim, .rows = all});
    Value v = linear(input, block + "attn_v", kvHeads * dim, config_.qkvBias,
                     layer.keysAreValues
                         ? Making{.tensor = block + "attn_k", .rows = kvHeads * dim}
                         : Making{.tensor = fused, .begin = (heads + kvHeads) * dim, .rows = all});
    if (config_.family->valueNorms)
      v = rmsNorm(v, constant(block + "attn_v_norm.weight", dim, 1), kvHeads,
                  {.eps = config_.normEps});
    auto normed = [&] {
      const bool byHead = config_.family->qkNorms == QueryKeyNorms::Heads;
      if (config_.family->qkNorms == QueryKeyNorms::None)
        return;
      q = headNorm(q, block + "attn_q_norm", byHead ? heads : 1, config_.queryFactor);
      k = headNorm(k, block + "attn_k_norm", byHead ? kvHeads : 1, 1);
    };
    if (!config_.family->rotatesBeforeNorms)
      normed();
    if (layer.rotates) {
      q = rope(q, heads, positions, config_.lengthScale);
      k = rope(k, kvHeads, positions);
    }
    if (config_.family->rotatesBeforeNorms)
      normed();
    Value o = builder_.create<lm::AttentionOp>(
        q.getType(), q, k, v, builder_.getI64IntegerAttr(heads),
        builder_.getI64IntegerAttr(kvHeads), builder_.getF64FloatAttr(config_.attentionScale),
        layer.window != 0 ? builder_.getI64IntegerAttr(layer.window) : IntegerAttr(),
        optionalNumber(config_.attentionSoftCap),
        config_.family->sinks ? reference(param(block + "attn_sinks.weight", {heads}))
                              : FlatSymbolRefAttr(),
        lm::CacheFormatAttr::get(&context_, CacheFormat::F32));
    if (config_.family->outputGate) {
      Value gate = linear(input, block + "attn_gate", heads * dim, false);
      o = builder_.create<lm::GateOp>(o.getType(), o, gate, Activation::Sigmoid);
    }
    return linear(o, block + "attn_output", config_.hidden, config_.outputBias,
                  {.scale = addedScale()});
  }

  /// The tensor that holds gate and up projections, if one holds both.
  std::string fusedGate(const std::string &block, int64_t channels) {
    if (!checkpoint_.gguf())
      return checkpoint_.find(names_.inCheckpoint(block + "ffn_gate_up.weight"))
                 ? block + "ffn_gate_up"
                 : "";
    const CheckpointTensor *up = checkpoint_.find(block + "ffn_up.weight");
    return up && up->rows() == 2 * channels && !checkpoint_.find(block + "ffn_gate.weight")
               ? block + "ffn_up"
               : "";
  }

  Value feedForward(Value input, const std::string &block, const Layer &layer) {
    const std::string fused = fusedGate(block, layer.ffn);
    Value gate = linear(input, block + "ffn_gate", layer.ffn, config_.ffnBias,
                        {.tensor = fused, .rows = 2 * layer.ffn});
    Value up = linear(input, block + "ffn_up", layer.ffn, config_.ffnBias,
                      {.tensor = fused, .begin = layer.ffn, .rows = 2 * layer.ffn});
    Value gated = builder_.create<lm::GluOp>(gate.getType(), gate, up, config_.activation);
    return linear(gated, block + "ffn_down", config_.hidden, config_.ffnBias,
                  {.scale = addedScale()});
  }

  bool normsAfter() const {
    return config_.family->norms == BlockNorms::After ||
           config_.family->norms == BlockNorms::Around;
  }
  /// What multiplies the weights that make what is added to the stream, where no norm follows them.
  double addedScale() const { return config_.residualScale / (normsAfter() ? 1 : streamScale_); }

  /// The stream is kept as it would be without the numbers by which layers multiply it: all that is
  /// added to it is divided by their product so far, and norms that read it have another epsilon. So
  /// it costs nothing, and a layer that is pruned away takes its number with it.
  void scaleStream(const std::string &block) {
    if (!config_.family->layerScales)
      return;
    const std::string stored = names_.inCheckpoint(block + "layer_output_scale.weight");
    if (!checkpoint_.find(stored))
      return;
    const CheckpointTensor &tensor = tensorOf(stored, {1});
    float scale = 0;
    dequantize(tensor.type, tensor.bytes.data(), 1, &scale);
    streamScale_ *= scale;
    // So that squares of the stream are numbers of f32.
    if (!(scale > 0 && streamScale_ > 1e-10 && streamScale_ < 1e10))
      fail(ExitCode::Unsupported, checkpoint_.path() + ": tensor " + quote(stored) + " is " +
                                      std::to_string(scale) +
                                      ", by which the layers have multiplied by " +
                                      llvm::formatv("{0:e}", streamScale_).str() +
                                      ": between 1e-10 and 1e10 is supported");
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
    const BlockNorms norms = config_.family->norms;
    const bool before = norms != BlockNorms::After, after = normsAfter();
    Value stream = block.getEntry();
    Value read = before ? norm(stream, prefix + "attn_norm", ofStream()) : stream;
    Value output = attention(read, prefix, layer);
    if (after)
      output = norm(output, prefix + "post_attention_norm", post());
    stream = residual(stream, output);
    if (norms != BlockNorms::Shared)
      read = before ? norm(stream, prefix + "ffn_norm", ofStream()) : stream;
    output = feedForward(read, prefix, layer);
    if (after)
      output = norm(output, prefix + "post_ffw_norm", post());
    builder_.create<lm::YieldOp>(residual(stream, output));
    scaleStream(prefix);
    return block.getResult();
  }

  void buildForward() {
    builder_.setInsertionPointToEnd(forward_.getBody());
    FlatSymbolRefAttr table =
        reference(param("token_embd.weight", {config_.vocab, config_.hidden}));
    Value stream = builder_.create<lm::EmbedOp>(rows(config_.hidden), forward_.getTokens(), table,
                                                builder_.getF64FloatAttr(config_.embedScale));
    if (config_.family->embeddingNorm)
      stream = rmsNorm(stream, constant("token_embd_norm.weight", config_.hidden, 1), 1,
                       {.eps = config_.normEps});
    for (size_t i = 0; i < config_.layers.size(); ++i)
      stream = transformerBlock(stream, i);
    Value normed = norm(stream, "output_norm", last());
    if (!isTied())
      table = reference(param("output.weight", {config_.vocab, config_.hidden}));
    Value logits = builder_.create<lm::LogitsOp>(rows(config_.vocab), normed, table,
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
  double streamScale_ = 1; ///< the product of the layers' numbers so far
};

} // namespace

OwningOpRef<ModuleOp> importModel(MLIRContext &context, const Checkpoint &checkpoint,
                                  llvm::StringRef symbol) {
  const ModelConfig config = readModelConfig(checkpoint);
  context.loadDialect<lm::LMDialect, weight::WeightDialect>();
  return ModelBuilder(context, checkpoint, config).build(symbol);
}

std::vector<std::string> leftOut(const Checkpoint &checkpoint) {
  const TensorNames names(checkpoint, readModelConfig(checkpoint));
  struct Part {
    Unused kind;
    const char *words;
  };
  std::vector<std::string> lines;
  for (const Part part : {Part{Unused::Vision, "for images"}, Part{Unused::Audio, "for sound"},
                          Part{Unused::NextTokens, "that guess tokens after the next"}}) {
    size_t count = 0;
    std::string_view first;
    for (const CheckpointTensor &tensor : checkpoint.tensors())
      if (names.unusedKind(tensor.name) == part.kind && count++ == 0)
        first = tensor.name;
    if (count > 0)
      lines.push_back("left out " + std::to_string(count) +
                      (count == 1 ? " tensor " : " tensors ") + part.words + ", the first " +
                      quote(first));
  }
  return lines;
}

} // namespace retort
