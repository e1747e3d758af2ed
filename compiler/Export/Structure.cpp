//===- Structure.cpp - A model's IR as a family's numbers -----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Export/Structure.h"
#include "compiler/Import/Family.h"
#include "runtime/base/Error.h"
#include "llvm/ADT/StringExtras.h"
#include <cmath>

namespace retort {

using namespace mlir;

namespace {

[[noreturn]] void refuse(const std::string &what) { fail(ExitCode::Unsupported, what); }

std::string rowsText(int64_t a, int64_t b) {
  return std::to_string(std::min(a, b)) + " and " + std::to_string(std::max(a, b));
}

/// What import calls the parts of a fused product.
std::vector<StringRef> partNames(StringRef fused) {
  if (fused == "attn_qkv")
    return {"attn_q", "attn_k", "attn_v"};
  if (fused == "ffn_gate_up")
    return {"ffn_gate", "ffn_up"};
  return {};
}

/// "blk.0.", "attn_qkv" and ".weight".
struct ParamName {
  StringRef block, stem, suffix;
  explicit ParamName(StringRef name) {
    const size_t end = name.rfind('.'), begin = name.substr(0, end).rfind('.');
    suffix = name.substr(end);
    stem = name.slice(begin == StringRef::npos ? 0 : begin + 1, end);
    block = name.substr(0, begin == StringRef::npos ? 0 : begin + 1);
  }
};

/// Reads one model; every number that layers share is compared with the first layer's.
class StructureReader {
public:
  StructureReader(lm::ModelOp model, const std::map<std::string, ExportedTensor> &parts)
      : model_(model), forward_(*model.getBody()->getOps<lm::ForwardOp>().begin()), parts_(parts) {}

  ExportedModel read() {
    ModelConfig &config = result_.config;
    config.family = familyOfModelType(model_.getFamily());
    if (!config.family)
      refuse("its family '" + model_.getFamily().str() + "' has no checkpoints that Retort knows");
    config.vocab = static_cast<int64_t>(model_.getVocab());
    config.hidden = static_cast<int64_t>(model_.getHidden());
    config.context = static_cast<int64_t>(model_.getContext());
    lm::EmbedOp embed;
    for (Operation &op : forward_.getBody()->without_terminator())
      if (auto found = dyn_cast<lm::EmbedOp>(op))
        embed = found;
      else if (auto block = dyn_cast<lm::BlockOp>(op))
        readBlock(block);
      else if (auto norm = dyn_cast<lm::NormOp>(op))
        readNorm(norm);
      else if (auto logits = dyn_cast<lm::LogitsOp>(op))
        readLogits(logits, embed);
      else
        refuse(op.getName().getStringRef().str() + " stands outside of the layers");
    if (config.layers.empty() || !embed)
      refuse("it has no layers");
    return std::move(result_);
  }

private:
  std::string layerPrefix() const {
    return "blk." + std::to_string(result_.config.layers.size()) + ".";
  }

  ExportedTensor &add(StringRef name) {
    ExportedTensor tensor;
    if (auto part = parts_.find(name.str()); part != parts_.end()) {
      tensor = part->second;
    } else {
      lm::ParamOp param = model_.lookupParam(name);
      const ArrayRef<int64_t> shape = logicalShape(param);
      tensor.name = tensor.param = name.str();
      tensor.shape.assign(shape.begin(), shape.end());
    }
    // Layers are counted anew where some are gone.
    if (const ParamName parted(tensor.name); !parted.block.empty())
      tensor.name = layerPrefix() + (parted.stem + parted.suffix).str();
    result_.tensors.push_back(std::move(tensor));
    return result_.tensors.back();
  }

  /// Packed bytes have no rows and columns: what was packed has.
  static ArrayRef<int64_t> logicalShape(lm::ParamOp param) {
    Value value = param.getProgramValue();
    while (auto pack = value.getDefiningOp<weight::PackOp>())
      value = pack.getInput();
    return cast<RankedTensorType>(value.getType()).getShape();
  }

  void readLogits(lm::LogitsOp logits, lm::EmbedOp embed) {
    ModelConfig &config = result_.config;
    config.embedScale = embed.getScale();
    config.tiedEmbeddings = logits.getWeight() == embed.getWeight();
    add(embed.getWeight());
    std::rotate(result_.tensors.begin(), result_.tensors.end() - 1, result_.tensors.end());
    if (!config.tiedEmbeddings)
      add(logits.getWeight());
    if (auto cap = logits.getSoftCap())
      config.logitSoftCap = *cap;
  }

  /// All layers have one number where the format has room for one.
  template <typename T> void same(T &common, const T &own, bool isFirst, const std::string &what) {
    if (isFirst)
      common = own;
    else if (common != own)
      refuse("its layers differ in " + what);
  }
  void sameSize(int64_t common, int64_t own, const char *what, const char *advice) {
    if (common != own)
      refuse(std::string("its layers have ") + rowsText(common, own) + " " + what +
             ", and the format has room for one number: " + advice);
  }

  void readBlock(lm::BlockOp block) {
    ModelConfig &config = result_.config;
    const bool isFirst = config.layers.empty();
    ModelConfig::Layer layer;
    lm::RopeOp rope; // the key's and the query's turn alike
    int attentions = 0, units = 0;
    for (Operation &op : block.getBody()->without_terminator()) {
      if (auto norm = dyn_cast<lm::NormOp>(op)) {
        readNorm(norm);
      } else if (auto linear = dyn_cast<lm::LinearOp>(op)) {
        readLinear(linear);
      } else if (auto turn = dyn_cast<lm::RopeOp>(op)) {
        if (turn.getLengthScale())
          refuse("its queries grow with their position, which export does not write");
        rope = turn;
      } else if (auto attention = dyn_cast<lm::AttentionOp>(op)) {
        ++attentions;
        readAttention(attention, layer, isFirst);
      } else if (auto glu = dyn_cast<lm::GluOp>(op)) {
        ++units;
        layer.ffn = lm::features(glu.getGate());
        same(config.activation, glu.getAct(), isFirst, "their activation");
      } else if (!isa<lm::ResidualOp>(op)) {
        refuse(block.getLabel().str() + " has a " + op.getName().getStringRef().str() +
               ", which the format does not know");
      }
    }
    if (attentions != 1 || units != 1)
      refuse(block.getLabel().str() + " has " + std::to_string(attentions) + " attentions and " +
             std::to_string(units) +
             " gated units, and the format has one of each a layer: drop whole "
             "blocks where a part is pruned away");
    layer.rotates = bool(rope);
    if (rope)
      readRope(layer, rope);
    if (!isFirst) {
      const ModelConfig::Layer &first = config.layers.front();
      sameSize(first.heads, layer.heads, "query heads", "prune all layers alike");
      sameSize(first.kvHeads, layer.kvHeads, "key/value heads", "prune all layers alike");
      sameSize(first.ffn, layer.ffn, "FFN channels", "compile with --set uniform=true");
    }
    config.layers.push_back(layer);
  }

  void readNorm(lm::NormOp norm) {
    add(norm.getWeight()).gain = norm.getOffset() ? ExportedTensor::LessOne : ExportedTensor::Whole;
    const double eps = norm.getEps();
    if (eps_ && *eps_ != eps)
      refuse("its norms differ in epsilon");
    eps_ = result_.config.normEps = eps;
  }

  void readAttention(lm::AttentionOp attention, ModelConfig::Layer &layer, bool isFirst) {
    ModelConfig &config = result_.config;
    layer.heads = static_cast<int64_t>(attention.getHeads());
    layer.kvHeads = static_cast<int64_t>(attention.getKvHeads());
    layer.window = static_cast<int64_t>(attention.getWindow().value_or(0));
    same(config.headDim, lm::features(attention.getQuery()) / layer.heads, isFirst, "head size");
    same(config.attentionScale, attention.getScale(), isFirst, "the scale of attention");
    std::optional<double> cap;
    if (auto own = attention.getSoftCap())
      cap = *own;
    same(config.attentionSoftCap, cap, isFirst, "the soft cap of attention");
    if (attention.getSinks())
      refuse("it has attention sinks, which export does not write");
    // Their rows are those of heads.
    for (ExportedTensor &tensor : result_.tensors) {
      const StringRef stem = ParamName(tensor.name).stem;
      if (tensor.name.starts_with(layerPrefix()))
        tensor.heads = stem == "attn_q" ? layer.heads : stem == "attn_k" ? layer.kvHeads : 0;
    }
  }

  void readLinear(lm::LinearOp linear) {
    ModelConfig &config = result_.config;
    add(linear.getWeight());
    const StringRef stem = ParamName(linear.getWeight()).stem;
    const bool hasBias = linear.getBias().has_value();
    if (hasBias)
      add(*linear.getBias());
    bool &flag = stem.starts_with("ffn_") ? config.ffnBias
                 : stem == "attn_output"  ? config.outputBias
                                          : config.qkvBias;
    flag = flag || hasBias;
  }

  void readRope(ModelConfig::Layer &layer, lm::RopeOp op) {
    ModelConfig &config = result_.config;
    layer.localRope = config.family->localRope && layer.window != 0;
    RopeConfig &common = layer.localRope ? config.ropeLocal : config.rope;
    const RopeConfig rope = ropeOf(op);
    if (common.dims == 0) {
      common = rope;
      if (!layer.localRope)
        result_.ropeFactors = factorsOf(op);
    } else if (common.base != rope.base || common.dims != rope.dims) {
      refuse("its layers differ in rotary embeddings");
    }
  }

  /// What the scaling divides each pair's frequency by.
  static std::vector<double> factorsOf(lm::RopeOp op) {
    std::vector<double> factors;
    const double dims = static_cast<double>(op.getDims());
    const SmallVector<double> frequencies = op.getInverseFrequencies();
    for (auto [i, frequency] : llvm::enumerate(frequencies))
      factors.push_back(std::pow(op.getBase(), -2.0 * static_cast<double>(i) / dims) / frequency);
    return factors;
  }

  static RopeConfig ropeOf(lm::RopeOp op) {
    RopeConfig rope;
    rope.base = op.getBase();
    rope.dims = static_cast<int64_t>(op.getDims());
    if (!op.getScaling())
      return rope;
    const lm::RopeScalingAttr scaling = *op.getScaling();
    rope.factor = scaling.getFactor();
    rope.originalContext = scaling.getOriginalContext();
    if (scaling.getFields().get("attention_factor"))
      rope.attentionFactor = scaling.getNumber("attention_factor", 1);
    switch (scaling.getKind()) {
    case lm::RopeScalingKind::Linear:
      rope.scaling = RopeConfig::Scaling::Linear;
      break;
    case lm::RopeScalingKind::Llama3:
      rope.scaling = RopeConfig::Scaling::Llama3;
      rope.lowFreqFactor = scaling.getLowFreqFactor();
      rope.highFreqFactor = scaling.getHighFreqFactor();
      break;
    case lm::RopeScalingKind::YaRN:
      rope.scaling = RopeConfig::Scaling::Yarn;
      rope.betaFast = scaling.getBetaFast();
      rope.betaSlow = scaling.getBetaSlow();
      rope.mscale = scaling.getNumber("mscale", 0);
      rope.mscaleAllDim = scaling.getNumber("mscale_all_dim", 0);
      rope.truncate = scaling.getTruncate();
      break;
    case lm::RopeScalingKind::Factors:
      rope.scaling = RopeConfig::Scaling::Factors;
      rope.factors.assign(scaling.getFactors().begin(), scaling.getFactors().end());
      break;
    }
    return rope;
  }

  lm::ModelOp model_;
  lm::ForwardOp forward_;
  const std::map<std::string, ExportedTensor> &parts_;
  std::optional<double> eps_;
  ExportedModel result_;
};

} // namespace

std::map<std::string, ExportedTensor> unfuse(lm::ModelOp model) {
  std::map<std::string, ExportedTensor> parts;
  SmallVector<lm::SplitOp> splits;
  model.walk([&](lm::SplitOp split) { splits.push_back(split); });
  for (lm::SplitOp split : splits) {
    auto product = split.getInput().getDefiningOp<lm::LinearOp>();
    const std::vector<StringRef> names =
        product ? partNames(ParamName(product.getWeight()).stem) : std::vector<StringRef>();
    if (names.size() != split->getNumResults() || !product->hasOneUse())
      refuse("it has a split that is no fused product");
    OpBuilder builder(product);
    auto cut = [&](StringRef whole, size_t part, int64_t begin, SmallVector<int64_t> shape) {
      const ParamName name(whole);
      ExportedTensor tensor;
      tensor.name = (name.block + names[part] + name.suffix).str();
      tensor.param = whole.str();
      tensor.begin = begin;
      tensor.shape.assign(shape.begin(), shape.end());
      auto reference = FlatSymbolRefAttr::get(builder.getContext(), tensor.name);
      parts.emplace(tensor.name, std::move(tensor));
      return reference;
    };
    int64_t begin = 0;
    for (auto [i, result] : llvm::enumerate(split->getResults())) {
      const int64_t rows = lm::features(result);
      auto weight = cut(product.getWeight(), i, begin, {rows, lm::features(product.getInput())});
      FlatSymbolRefAttr bias;
      if (product.getBias())
        bias = cut(*product.getBias(), i, begin, {rows});
      result.replaceAllUsesWith(builder.create<lm::LinearOp>(product.getLoc(), result.getType(),
                                                             product.getInput(), weight, bias));
      begin += rows;
    }
    split.erase();
    product.erase();
  }
  return parts;
}

ExportedModel structureOf(lm::ModelOp model, const std::map<std::string, ExportedTensor> &parts) {
  return StructureReader(model, parts).read();
}

} // namespace retort
