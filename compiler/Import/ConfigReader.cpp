//===- ConfigReader.cpp - What the readers of both worlds share -----------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Import/ConfigReader.h"
#include "compiler/Checkpoint/Cursor.h"
#include <algorithm>
#include <cmath>

namespace retort {
namespace {

constexpr int64_t kMaxLayers = 1 << 10; // before anything is made for each layer

} // namespace

ConfigReader::ConfigReader(const Family &family, const FamilyDefaults &defaults,
                           const std::string &path)
    : family_(family), defaults_(defaults), path_(path) {}

ModelConfig ConfigReader::read() {
  config_.family = &family_;
  readSizes();
  config_.rope.base = number(kRopeBase).value_or(defaults_.ropeBase);
  config_.ropeLocal.base =
      number(kLocalRopeBase)
          .value_or(defaults_.localRopeBase != 0 ? defaults_.localRopeBase : config_.rope.base);
  readWindows();
  for (ModelConfig::Layer &layer : config_.layers)
    layer.headDim = config_.headDim;
  if (family_.wideHeads)
    readWideHeads();
  readRopes();
  readRotation();
  if (family_.scaledEmbedding)
    config_.embedScale = std::sqrt(static_cast<float>(config_.hidden));
  if (family_.attentionSoftCapKey)
    config_.attentionSoftCap = softCap(kAttentionSoftCap, family_.attentionSoftCap);
  if (family_.logitSoftCapKey)
    config_.logitSoftCap = softCap(kLogitSoftCap, family_.logitSoftCap);
  readStructure();
  readMultipliers();
  return std::move(config_);
}

void ConfigReader::readSizes() {
  config_.hidden = integerOr(kHidden, 0);
  config_.context = integerOr(kContext, defaults_.context);
  const int64_t layers = integerOr(kLayers, 0);
  if (layers < 1 || layers > kMaxLayers)
    refuse(kLayers, layers, "between 1 and " + std::to_string(kMaxLayers));

  config_.layers.resize(static_cast<size_t>(layers));
  auto read = [&](const ConfigKey &key, int64_t ModelConfig::Layer::*size) {
    const std::vector<int64_t> numbers = perLayer(key);
    for (size_t i = 0; i < numbers.size(); ++i)
      config_.layers[i].*size = numbers[i];
    return !numbers.empty();
  };
  for (ModelConfig::Layer &layer : config_.layers)
    layer.heads = defaults_.heads;
  if (!read(kHeads, &ModelConfig::Layer::heads) && defaults_.heads == 0)
    missing(kHeads);
  for (ModelConfig::Layer &layer : config_.layers)
    layer.kvHeads = defaults_.kvHeads != 0 ? defaults_.kvHeads : layer.heads;
  read(kKvHeads, &ModelConfig::Layer::kvHeads);
  if (!read(kFfn, &ModelConfig::Layer::ffn))
    missing(kFfn);

  std::optional<int64_t> headDim = integer(family_.wideHeads ? kWindowHeadDim : kHeadDim);
  if (!headDim && defaults_.headDim != 0)
    headDim = defaults_.headDim;
  const int64_t heads = config_.layers[0].heads;
  if (!headDim && (heads < 1 || config_.hidden % heads != 0))
    fail(ExitCode::BadInput, path_ + ": hidden size " + std::to_string(config_.hidden) +
                                 " is not a multiple of its " + std::to_string(heads) +
                                 " heads: the file is damaged");
  config_.headDim = headDim ? *headDim : config_.hidden / heads;

  const ConfigKey &epsKey = family_.layerNorms ? kLayerNormEps : kNormEps;
  const std::optional<double> normEps = number(epsKey);
  if (!normEps && defaults_.normEps == 0)
    missing(epsKey);
  config_.normEps = normEps.value_or(defaults_.normEps);
  config_.postNormEps = family_.postNormEps != 0 ? family_.postNormEps : config_.normEps;
}

void ConfigReader::readWindows() {
  const int64_t window = isNone(kWindow) ? 0 : integer(kWindow).value_or(defaults_.window);
  if (window == 0)
    return;
  const std::vector<bool> sliding = slidingLayers(window);
  for (size_t i = 0; i < sliding.size(); ++i)
    if (sliding[i]) {
      config_.layers[i].window = window;
      config_.layers[i].localRope = family_.localRope;
    }
}

void ConfigReader::readRotation() {
  std::vector<ModelConfig::Layer> &layers = config_.layers;
  if (family_.rotation == Rotation::InWindows) {
    const bool any = std::ranges::any_of(layers, [](auto &layer) { return layer.window != 0; });
    for (ModelConfig::Layer &layer : layers)
      layer.rotates = !any || layer.window != 0;
  } else if (family_.rotation == Rotation::Listed) {
    const std::vector<bool> rotates = rotatingLayers();
    for (size_t i = 0; i < layers.size(); ++i)
      layers[i].rotates = rotates[i];
  } else if (family_.rotation == Rotation::ByBase) {
    const std::vector<double> bases = layerBases();
    for (size_t i = 0; i < layers.size(); ++i) {
      layers[i].rotates = bases[i] != 0;
      layers[i].ropeBase = family_.layerBases ? bases[i] : 0;
    }
  }
}

void ConfigReader::readMultipliers() {
  if (family_.multipliers) {
    config_.embedScale = number(kEmbeddingScale).value_or(1);
    config_.residualScale = number(kResidualScale).value_or(1);
    config_.logitScale = 1 / number(kLogitDivisor).value_or(1);
  }
  if (family_.logitScale != 0)
    config_.logitScale =
        number(ConfigKey{family_.logitScaleKey, "logit_scale"}).value_or(family_.logitScale);
}

std::vector<bool> ConfigReader::patternLayers(WideLayers wide) const {
  const int64_t pattern = family_.windowPatternKey
                              ? integer(kWindowPattern).value_or(family_.windowPattern)
                              : family_.windowPattern;
  if (pattern < 1)
    refuse(kWindowPattern, pattern, "at least 1");
  const auto count = static_cast<int64_t>(config_.layers.size());
  std::vector<bool> sliding = allButEvery(pattern);
  for (int64_t i = 0; i < count && wide != WideLayers::Last; ++i)
    sliding[static_cast<size_t>(i)] =
        (wide == WideLayers::First ? i : count - 1 - i) % pattern != 0;
  return sliding;
}

std::vector<bool> ConfigReader::allButEvery(int64_t nth) const {
  std::vector<bool> chosen(config_.layers.size());
  for (size_t i = 0; i < chosen.size(); ++i)
    chosen[i] = (static_cast<int64_t>(i) + 1) % nth != 0;
  return chosen;
}

std::optional<double> ConfigReader::softCap(const ConfigKey &key, double otherwise) const {
  if (isNone(key))
    return std::nullopt;
  if (std::optional<double> cap = number(key))
    return cap;
  return otherwise != 0 ? std::optional(otherwise) : std::nullopt;
}

int64_t ConfigReader::integerOr(const ConfigKey &key, int64_t otherwise) const {
  std::optional<int64_t> value = integer(key);
  if (!value && otherwise == 0)
    missing(key);
  return value.value_or(otherwise);
}

void ConfigReader::refuse(const ConfigKey &key, int64_t value, const std::string &wanted) const {
  fail(ExitCode::BadInput, path_ + ": key " + quote(name(key)) + " is " + std::to_string(value) +
                               ", not " + wanted + ": the file is damaged");
}

void ConfigReader::unsupported(const std::string &what) const {
  fail(ExitCode::Unsupported, path_ + ": " + what);
}

void ConfigReader::refuseParallelResidual(bool isParallel) const {
  if (isParallel)
    unsupported("attention and FFN that read the same norm ('use_parallel_residual') are not "
                "supported: use a model whose FFN follows the attention");
}

void ConfigReader::refusePerLayerInputs(int64_t features) const {
  if (features != 0)
    unsupported("embeddings that each layer reads ('hidden_size_per_layer_input') are not "
                "supported: use a model without them, as Gemma 4 12B and 31B are");
}

void ConfigReader::refuseSharedCaches(int64_t layers) const {
  if (layers != 0)
    unsupported("layers that read the keys and values of others ('num_kv_shared_layers') are not "
                "supported: use a model without them, as Gemma 4 12B and 31B are");
}

int64_t ConfigReader::headDimOf(const RopeConfig &rope) const {
  for (const ModelConfig::Layer &layer : config_.layers)
    if (layer.localRope == (&rope == &config_.ropeLocal))
      return layer.headDim;
  return config_.headDim;
}

void ConfigReader::unsupportedScaling(const std::string &what) const {
  unsupported("rope scaling " + what +
              " is not supported: use a model with linear, llama3 or yarn scaling");
}

} // namespace retort
