//===- ConfigHuggingFace.cpp - A model's numbers from config.json ---------===//
// SPDX-License-Identifier: Apache-2.0
//
// What transformers computes for these families, from config.json as versions 4 (rope_theta,
// rope_scaling, sliding_window_pattern) and 5 (rope_parameters, layer_types) write it.
//
//===----------------------------------------------------------------------===//
#include "compiler/Checkpoint/Cursor.h"
#include "compiler/Import/Config.h"
#include "compiler/Import/ConfigReader.h"
#include "runtime/base/Json.h"
#include "runtime/base/SmallFloat.h"
#include <algorithm>
#include <charconv>
#include <cmath>

namespace retort {
namespace {

using nlohmann::json;

constexpr int64_t kMaxPairs = 1 << 12; ///< of a head, before a factor is made for each

/// Typed access to a JSON object: nothing for a key that is missing or null, an Error for a value of
/// another kind.
class JsonObject {
public:
  JsonObject(const json &object, const std::string &path, std::string prefix = "")
      : object_(object), path_(path), prefix_(std::move(prefix)) {
    if (!object.is_object())
      fail(ExitCode::BadInput, path + ": " + (prefix_.empty() ? "the document" : prefix_) +
                                   " is not a JSON object: the file is damaged");
  }

  const json *find(const char *key) const {
    auto it = object_.find(key);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }
  bool isNull(const char *key) const { return object_.contains(key) && !find(key); }

  std::optional<int64_t> integer(const char *key) const {
    const json *value = find(key);
    if (value && (!value->is_number_integer() ||
                  (value->is_number_unsigned() && value->get<uint64_t>() > uint64_t(INT64_MAX))))
      wrong(key, "an integer");
    return value ? std::optional(value->get<int64_t>()) : std::nullopt;
  }
  std::optional<double> number(const char *key) const {
    return get<double>(key, &json::is_number, "a number");
  }
  std::optional<bool> boolean(const char *key) const {
    return get<bool>(key, &json::is_boolean, "a boolean");
  }
  std::optional<std::string> string(const char *key) const {
    return get<std::string>(key, &json::is_string, "a string");
  }
  std::optional<JsonObject> object(const char *key) const {
    const json *value = find(key);
    return value ? std::optional(JsonObject(*value, path_, name(key) + ".")) : std::nullopt;
  }
  double requiredNumber(const char *key) const {
    const std::optional<double> value = number(key);
    if (!value)
      missing(key);
    return *value;
  }

  std::string name(const char *key) const { return prefix_ + key; }
  const std::string &path() const { return path_; }

  [[noreturn]] void missing(const char *key) const {
    fail(ExitCode::BadInput,
         path_ + ": has no key '" + name(key) + "': the file is damaged or not this model's");
  }
  [[noreturn]] void wrong(const char *key, const std::string &wanted) const {
    fail(ExitCode::BadInput, path_ + ": key '" + name(key) + "' is not " + wanted +
                                 ": the file is damaged or not this model's");
  }

private:
  template <typename T>
  std::optional<T> get(const char *key, bool (json::*isKind)() const noexcept,
                       const char *kind) const {
    const json *value = find(key);
    if (value && !(value->*isKind)())
      wrong(key, kind);
    return value ? std::optional(value->get<T>()) : std::nullopt;
  }

  const json &object_;
  const std::string &path_;
  std::string prefix_;
};

class HuggingFaceReader final : public ConfigReader {
public:
  /// `keys` are the text model's, `top` those of the model around it or the same.
  HuggingFaceReader(const Family &family, const JsonObject &keys, const JsonObject &top)
      : ConfigReader(family, family.defaults, keys.path()), keys_(keys), top_(top) {
    refuseUnsupported();
    const std::optional<int64_t> vocab = keys_.integer("vocab_size");
    if (!vocab && defaults_.vocab == 0)
      keys_.missing("vocab_size");
    config_.vocab = vocab.value_or(defaults_.vocab);
  }

private:
  std::string name(const ConfigKey &key) const override { return keys_.name(key.huggingFace); }
  std::optional<int64_t> integer(const ConfigKey &key) const override {
    return keys_.integer(key.huggingFace);
  }
  std::optional<double> number(const ConfigKey &key) const override {
    return keys_.number(key.huggingFace);
  }
  bool isNone(const ConfigKey &key) const override { return keys_.isNull(key.huggingFace); }
  void missing(const ConfigKey &key) const override { keys_.missing(key.huggingFace); }
  std::vector<int64_t> perLayer(const ConfigKey &key) const override {
    const std::optional<int64_t> value = integer(key);
    return value ? std::vector<int64_t>(config_.layers.size(), *value) : std::vector<int64_t>();
  }

  void refuseUnsupported() const {
    // "vision": only where an image is.
    const json *both = keys_.find("use_bidirectional_attention");
    if (both && *both != false && *both != "vision")
      unsupported("attention in both directions ('use_bidirectional_attention') is not supported: "
                  "use a causal model");
    refuseParallelResidual(keys_.boolean("use_parallel_residual").value_or(false));
    bool isMixture = keys_.boolean("enable_moe_block").value_or(false);
    for (const char *key : {"num_local_experts", "num_experts"})
      isMixture |= keys_.integer(key).value_or(0) > 1;
    if (isMixture)
      unsupported("a mixture of experts is not supported: use a dense model");
    refusePerLayerInputs(
        keys_.integer("hidden_size_per_layer_input").value_or(defaults_.perLayerInputs));
    refuseSharedCaches(keys_.integer("num_kv_shared_layers").value_or(0));
  }

  /// Of a head of `headDim` features.
  int64_t rotated(double fraction, int64_t headDim) const {
    if (!std::isfinite(fraction) || fraction <= 0 || fraction > 1)
      keys_.wrong("partial_rotary_factor", "above 0 and at most 1");
    const double features = static_cast<double>(headDim) * fraction;
    // checkModelConfig refuses heads that large; here the conversion must only not overflow.
    return features < 1e9 ? static_cast<int64_t>(features) : headDim;
  }

  void readRopes() override {
    const double fraction = keys_.number("partial_rotary_factor").value_or(defaults_.rotated);
    config_.rope.dims = rotated(fraction, headDimOf(config_.rope));
    config_.ropeLocal.dims = rotated(fraction, headDimOf(config_.ropeLocal));
    // Where both generations' keys are there, the old one counts.
    const auto scaling = keys_.object("rope_scaling");
    const auto parameters = keys_.object("rope_parameters");
    if (family_.lengthScale)
      return readLengthScale(scaling ? scaling : parameters);
    if (family_.wideHeads && !(parameters && parameters->find("full_attention")))
      rotateSome(0.25, 1, config_.rope);
    if (scaling && !family_.localRope)
      return readScaling(*scaling, config_.rope);
    if (!parameters) {
      if (scaling)
        readScaling(*scaling, config_.rope);
      return;
    }
    const auto full = parameters->object("full_attention"),
               sliding = parameters->object("sliding_attention");
    if (full)
      readScaling(*full, config_.rope);
    if (sliding)
      readScaling(*sliding, config_.ropeLocal);
    if (scaling)
      readScaling(*scaling, config_.rope);
    // A family with a base of its own for windows reads only what is said for each kind of layer.
    if (!full && !sliding && !family_.localRope)
      readScaling(*parameters, config_.rope);
  }

  /// What scales queries by their position stands among the numbers of the rotation.
  void readLengthScale(const std::optional<JsonObject> &scaling) {
    if (!scaling)
      keys_.missing("rope_parameters");
    readScaling(*scaling, config_.rope);
    const bool isScaled = config_.rope.scaling != RopeConfig::Scaling::None;
    config_.lengthScale = {scaling->requiredNumber("llama_4_scaling_beta"),
                           isScaled ? config_.rope.originalContext
                                    : scaling->requiredNumber("original_max_position_embeddings")};
  }

  /// The frequencies of the whole head, of which the first pairs turn and the others do not.
  void rotateSome(double fraction, double factor, RopeConfig &rope) const {
    constexpr float never = 1e30f; // as GGUF files say it
    const int64_t headDim = headDimOf(rope);
    rope.dims = headDim;
    rope.scaling = RopeConfig::Scaling::Factors;
    const auto pairs = static_cast<size_t>(std::clamp<int64_t>(headDim / 2, 0, kMaxPairs));
    rope.factors.assign(pairs, never);
    std::fill_n(rope.factors.begin(), rotated(fraction, headDim) / 2, factor);
  }

  /// One rope_scaling or rope_parameters object.
  void readScaling(const JsonObject &scaling, RopeConfig &rope) const {
    rope.base = scaling.number("rope_theta").value_or(rope.base);
    if (auto fraction = scaling.number("partial_rotary_factor"))
      rope.dims = rotated(*fraction, headDimOf(rope));
    // transformers puts its own "rope_type" beside an older "type" where layers differ in base.
    const std::optional<std::string> older =
        family_.localRope ? std::nullopt : scaling.string("type");
    const std::string type = scaling.string("rope_type").value_or(older.value_or("default"));
    if (type == "default")
      return;
    const double context = static_cast<double>(config_.context);
    rope.originalContext =
        keys_.number("original_max_position_embeddings")
            .value_or(scaling.number("original_max_position_embeddings").value_or(context));
    if (type == "linear") {
      rope.scaling = RopeConfig::Scaling::Linear;
      rope.factor = scaling.requiredNumber("factor");
    } else if (type == "llama3") {
      rope.scaling = RopeConfig::Scaling::Llama3;
      rope.factor = scaling.requiredNumber("factor");
      rope.lowFreqFactor = scaling.requiredNumber("low_freq_factor");
      rope.highFreqFactor = scaling.requiredNumber("high_freq_factor");
    } else if (type == "proportional" && family_.wideHeads) {
      rotateSome(scaling.number("partial_rotary_factor").value_or(1),
                 scaling.number("factor").value_or(1), rope);
    } else if (type == "longrope" || type == "su") {
      readLongRope(scaling, rope);
    } else if (type == "yarn") {
      rope.scaling = RopeConfig::Scaling::Yarn;
      rope.factor = scaling.number("factor").value_or(context / rope.originalContext);
      readYarn(scaling, rope);
    } else if (type == "dynamic" && family_.ropeAlpha && scaling.number("alpha").value_or(0) != 0) {
      const double dims = static_cast<double>(config_.headDim);
      rope.base *= std::pow(*scaling.number("alpha"), dims / (dims - 2));
    } else {
      unsupportedScaling(quote(type));
    }
  }

  /// One of two tables, by the context that the model is made for; transformers takes the first
  /// while a text is no longer than the original context.
  void readLongRope(const JsonObject &scaling, RopeConfig &rope) const {
    const double context = static_cast<double>(config_.context);
    const char *key = context > rope.originalContext ? "long_factor" : "short_factor";
    const json *factors = scaling.find(key);
    if (!factors || !factors->is_array() ||
        !std::ranges::all_of(*factors, [](const json &factor) { return factor.is_number(); }))
      scaling.wrong(key, "a list of numbers");
    rope.scaling = RopeConfig::Scaling::Factors;
    rope.factors = factors->get<std::vector<double>>();
    const double factor = scaling.number("factor").value_or(context / rope.originalContext);
    rope.attentionFactor =
        scaling.number("attention_factor")
            .value_or(
                factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(rope.originalContext)));
  }

  static void readYarn(const JsonObject &scaling, RopeConfig &rope) {
    // transformers takes a 0 for the default here.
    auto beta = [&](const char *key, double otherwise) {
      const double value = scaling.number(key).value_or(0);
      return value == 0 ? otherwise : value;
    };
    rope.betaFast = beta("beta_fast", 32);
    rope.betaSlow = beta("beta_slow", 1);
    rope.mscale = scaling.number("mscale").value_or(0);
    rope.mscaleAllDim = scaling.number("mscale_all_dim").value_or(0);
    rope.truncate = scaling.boolean("truncate").value_or(true);
    if (auto factor = scaling.number("attention_factor"))
      rope.attentionFactor = factor;
  }

  std::vector<bool> slidingLayers(int64_t) const override {
    const size_t count = config_.layers.size();
    const bool enabled = family_.windows == Windows::FromLayer
                             ? keys_.boolean("use_sliding_window").value_or(false)
                             : family_.windows != Windows::None;
    if (!enabled || family_.windows == Windows::Every) // transformers ignores layer_types here
      return std::vector<bool>(count, enabled);
    const json *types = keys_.find("layer_types");
    if (types || family_.windows == Windows::Pattern) {
      std::vector<bool> sliding = types ? layersOfType(*types) : patternLayers(family_.wideLayers);
      sliding.back() = sliding.back() && !family_.lastIsWide;
      return sliding;
    }
    if (family_.rotation == Rotation::Listed) { // the layers that see all are the ones that rotate
      std::vector<bool> sliding = rotatingLayers();
      sliding.flip();
      return sliding;
    }
    const int64_t first = keys_.integer("max_window_layers").value_or(28);
    std::vector<bool> sliding(count);
    for (size_t i = 0; i < count; ++i)
      sliding[i] = static_cast<int64_t>(i) >= first;
    return sliding;
  }

  std::vector<bool> rotatingLayers() const override {
    const json *list = keys_.find("no_rope_layers");
    const size_t count = config_.layers.size();
    if (!list) {
      const int64_t interval = keys_.integer("no_rope_layer_interval").value_or(4);
      if (interval < 1)
        keys_.wrong("no_rope_layer_interval", "at least 1");
      return allButEvery(interval);
    }
    if (!list->is_array() || list->size() != count ||
        !std::ranges::all_of(*list, [](const json &entry) { return entry.is_number_integer(); }))
      keys_.wrong("no_rope_layers", "a list with an integer for each layer");
    std::vector<bool> rotating;
    for (const json &entry : *list)
      rotating.push_back(entry != 0);
    return rotating;
  }

  void readWideHeads() override {
    const bool keysAreValues = keys_.boolean("attention_k_eq_v").value_or(false);
    const int64_t headDim = keys_.integer("global_head_dim").value_or(defaults_.wideHeadDim);
    const std::optional<int64_t> kvHeads = keys_.integer("num_global_key_value_heads");
    // transformers 5 saves what it makes of the keys above instead of them.
    const json *overrides = keys_.find("per_layer_config");
    for (ModelConfig::Layer &layer : config_.layers) {
      if (layer.window != 0)
        continue;
      layer.keysAreValues = keysAreValues;
      if (overrides)
        continue;
      layer.headDim = headDim;
      if (keysAreValues)
        layer.kvHeads = kvHeads.value_or(layer.kvHeads);
    }
    if (!overrides)
      return;
    if (!overrides->is_object())
      keys_.wrong("per_layer_config", "a JSON object");
    for (const auto &[number, numbers] : overrides->items())
      readOverrides(number, numbers);
  }

  /// One layer's numbers in the place of the model's.
  void readOverrides(const std::string &number, const json &numbers) {
    size_t index = 0;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), index);
    if (error != std::errc() || end != number.data() + number.size() ||
        index >= config_.layers.size() || !numbers.is_object())
      keys_.wrong("per_layer_config", "numbers for some of the layers");
    for (const auto &[key, value] : numbers.items())
      if (key != "head_dim" && key != "num_key_value_heads")
        unsupported("a layer with another " + quote(key) +
                    " ('per_layer_config') is not supported");
    const JsonObject layerKeys(numbers, path_, "per_layer_config." + number + ".");
    ModelConfig::Layer &layer = config_.layers[index];
    layer.headDim = layerKeys.integer("head_dim").value_or(layer.headDim);
    layer.kvHeads = layerKeys.integer("num_key_value_heads").value_or(layer.kvHeads);
  }

  std::vector<double> layerBases() const override {
    const size_t count = config_.layers.size();
    std::vector<double> bases(count, config_.rope.base);
    const json *list = keys_.find("layer_rope_theta");
    if (!list) { // the layers that see all do not rotate, where the bases are all one
      const std::vector<bool> sliding = patternLayers(family_.wideLayers);
      for (size_t i = 0; i < count && !family_.layerBases; ++i)
        bases[i] = sliding[i] ? bases[i] : 0;
      return bases;
    }
    if (!list->is_array() || list->size() != count ||
        !std::ranges::all_of(*list, [](const json &entry) { return entry.is_number(); }))
      keys_.wrong("layer_rope_theta", "a list with a number for each layer");
    return list->get<std::vector<double>>();
  }

  std::vector<bool> layersOfType(const json &types) const {
    const size_t count = config_.layers.size();
    if (!types.is_array() || types.size() != count)
      keys_.wrong("layer_types", "a list with an entry for each layer");
    std::vector<bool> sliding;
    for (const json &type : types) {
      if (!type.is_string())
        keys_.wrong("layer_types", "a list of strings");
      const std::string name = type.get<std::string>();
      if (name != "sliding_attention" && name != "full_attention")
        unsupported("layer type " + quote(name) + " is not supported: use a model of " +
                    "full_attention and sliding_attention layers");
      sliding.push_back(name == "sliding_attention");
    }
    return sliding;
  }

  void readStructure() override {
    const double headDim = static_cast<double>(config_.headDim);
    config_.attentionScale =
        family_.attentionScale != 0 ? family_.attentionScale
        : family_.multipliers
            ? keys_.number("attention_multiplier").value_or(1)
            : 1 / std::sqrt(
                      family_.queryScale == 0
                          ? headDim
                          : keys_.number("query_pre_attn_scalar").value_or(family_.queryScale));
    if (family_.queryFactor != 0)
      config_.queryFactor = keys_.number("qk_scale_factor").value_or(family_.queryFactor);
    if (family_.postNormEps != 0)
      config_.postNormEps = keys_.number("post_norm_eps").value_or(family_.postNormEps);
    config_.embedScale = rounded(config_.embedScale);
    config_.activation = activation();
    config_.normOffset = family_.normOffset;
    config_.interleavedRope = family_.interleavedHuggingFace;
    config_.tiedEmbeddings =
        top_.boolean("tie_word_embeddings")
            .value_or(keys_.boolean("tie_word_embeddings").value_or(family_.tiedEmbeddings));
    auto bias = [&](const char *key, bool otherwise) {
      return key ? keys_.boolean(key).value_or(otherwise) : otherwise;
    };
    config_.qkvBias = bias(family_.qkvBiasKey, family_.qkvBias);
    config_.outputBias = bias(family_.outputBiasKey, false);
    config_.ffnBias = bias(family_.ffnBiasKey, false);
  }

  /// The factor as a number of the model's dtype, by which transformers multiplies.
  double rounded(double factor) const {
    const std::string dtype =
        keys_.string("dtype").value_or(keys_.string("torch_dtype").value_or("float32"));
    const float single = static_cast<float>(factor);
    return dtype == "bfloat16"  ? fromBFloat16(toBFloat16(single))
           : dtype == "float16" ? fromHalf(toHalf(single))
                                : single;
  }

  Activation activation() const {
    const std::optional<std::string> name = keys_.string(family_.activationKey);
    if (!name)
      return family_.activation;
    if (name == "silu" || name == "swish")
      return Activation::Silu;
    if (name == "gelu")
      return family_.geluIsTanh ? Activation::GeluTanh : Activation::Gelu;
    if (name == "gelu_pytorch_tanh" || name == "gelu_new")
      return Activation::GeluTanh;
    unsupported("activation " + quote(*name) +
                " is not supported: use a model with silu, gelu or gelu_pytorch_tanh");
  }

  const JsonObject &keys_, &top_;
};

/// Refuses a model that has no head over tokens, by what it is.
void refuseOtherTasks(const JsonObject &keys) {
  const json *architectures = keys.find("architectures");
  if (!architectures || !architectures->is_array())
    return;
  for (const json &entry : *architectures) {
    const std::string name = entry.is_string() ? entry.get<std::string>() : "";
    for (const char *ending : {"ForSequenceClassification", "ForTokenClassification",
                               "ForQuestionAnswering", "ForRewardModel", "RewardModel"})
      if (name.ends_with(ending))
        fail(ExitCode::Unsupported, keys.path() + ": a classifier or reward model (" + quote(name) +
                                        ") is not supported: use a language model");
  }
}

} // namespace

ModelConfig readHuggingFaceConfig(const std::string &text, const std::string &path) {
  const json document = parseJson(text, path);
  const JsonObject keys(document, path);
  refuseOtherTasks(keys);
  const std::string type = keys.string("model_type").value_or("");
  const Family *family = familyOfModelType(type);
  // A model of text and images has the text model's keys under "text_config". A small one may have
  // no tower, and then its keys at the top.
  const std::optional<JsonObject> inner =
      !family || (family->isWithinMultimodal() && type == family->name) ? keys.object("text_config")
                                                                        : std::nullopt;
  if (inner && !family)
    family = familyOfModelType(inner->string("model_type").value_or(""));
  if (!family)
    fail(ExitCode::Unsupported, path + ": model_type " + quote(type) +
                                    " is not supported: use a model of " + familyList());
  ModelConfig config = HuggingFaceReader(*family, inner ? *inner : keys, keys).read();
  config.name = keys.string("_name_or_path").value_or("");
  return config;
}

} // namespace retort
