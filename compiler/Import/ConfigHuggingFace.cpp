//===- ConfigHuggingFace.cpp - A model's numbers from config.json ---------===//
// SPDX-License-Identifier: Apache-2.0
//
// What transformers computes for these families, from config.json as versions 4 (rope_theta,
// rope_scaling, sliding_window_pattern) and 5 (rope_parameters, layer_types) write it. Keys that
// transformers leaves out of a file because they are its defaults have the same defaults here.
//
//===----------------------------------------------------------------------===//
#include "compiler/Checkpoint/Cursor.h"
#include "compiler/Import/ConfigReaders.h"
#include "runtime/base/Json.h"
#include "runtime/base/SmallFloat.h"
#include <algorithm>
#include <cmath>

namespace retort {
namespace {

using nlohmann::json;

constexpr int64_t kMaxLayers = 1 << 10; // before anything is made for each layer

/// Typed access to a JSON object; a null is as good as nothing.
class Keys {
public:
  Keys(const json &object, const std::string &path, std::string prefix = "")
      : object_(object), path_(path), prefix_(std::move(prefix)) {
    if (!object.is_object())
      fail(ExitCode::BadInput, path + ": " + (prefix_.empty() ? "the document" : prefix_) +
                                   " is not a JSON object: the file is damaged");
  }

  bool has(const char *key) const { return find(key) != nullptr; }
  bool isNull(const char *key) const {
    auto it = object_.find(key);
    return it != object_.end() && it->is_null();
  }
  const json *find(const char *key) const {
    auto it = object_.find(key);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }

  int64_t integer(const char *key) const {
    const json &value = require(key);
    bool fits = value.is_number_integer() &&
                (!value.is_number_unsigned() || value.get<uint64_t>() <= uint64_t(INT64_MAX));
    if (!fits)
      wrong(key, "an integer");
    return value.get<int64_t>();
  }
  int64_t integer(const char *key, int64_t otherwise) const {
    return has(key) ? integer(key) : otherwise;
  }
  double number(const char *key) const {
    const json &value = require(key);
    if (!value.is_number())
      wrong(key, "a number");
    return value.get<double>();
  }
  double number(const char *key, double otherwise) const {
    return has(key) ? number(key) : otherwise;
  }
  bool boolean(const char *key, bool otherwise) const {
    const json *value = find(key);
    if (value && !value->is_boolean())
      wrong(key, "a boolean");
    return value ? value->get<bool>() : otherwise;
  }
  std::string string(const char *key, const std::string &otherwise) const {
    const json *value = find(key);
    if (value && !value->is_string())
      wrong(key, "a string");
    return value ? value->get<std::string>() : otherwise;
  }
  Keys object(const char *key) const { return {require(key), path_, prefix_ + key + "."}; }
  const std::string &path() const { return path_; }

  [[noreturn]] void unsupported(const std::string &what) const {
    fail(ExitCode::Unsupported, path_ + ": " + what);
  }
  [[noreturn]] void wrong(const char *key, const std::string &wanted) const {
    fail(ExitCode::BadInput, path_ + ": key '" + prefix_ + key + "' is not " + wanted +
                                 ": the file is damaged or not this model's");
  }

private:
  const json &require(const char *key) const {
    const json *value = find(key);
    if (!value)
      fail(ExitCode::BadInput,
           path_ + ": has no key '" + prefix_ + key + "': the file is damaged or not this model's");
    return *value;
  }
  const json &object_;
  const std::string &path_;
  std::string prefix_;
};

class Reader {
public:
  Reader(const Keys &keys, std::string family, ModelConfig &config)
      : keys_(keys), family_(std::move(family)), config_(config),
        gemma_(family_.starts_with("gemma")), qwen_(family_.starts_with("qwen")) {}

  void read() {
    refuseUnknownStructure();
    readSizes();
    readRopes();
    readWindows();
    readScales();
    readStructure();
  }

private:
  void refuseUnknownStructure() {
    if (keys_.has("quantization_config"))
      keys_.unsupported("a quantised checkpoint ('quantization_config') is not supported: use the "
                        "model's F32, F16 or BF16 checkpoint, or a GGUF file");
    if (keys_.boolean("use_bidirectional_attention", false))
      keys_.unsupported("attention in both directions ('use_bidirectional_attention') is not "
                        "supported: use a causal model");
    if (keys_.integer("num_local_experts", 0) > 1 || keys_.integer("num_experts", 0) > 1)
      keys_.unsupported("a mixture of experts is not supported: use a dense model");
  }

  void readSizes() {
    config_.hidden = keys_.integer("hidden_size");
    config_.vocab = !gemma_ ? keys_.integer("vocab_size")
                            : keys_.integer("vocab_size", family_ == "gemma2" ? 256000 : 262208);
    config_.context = keys_.integer("max_position_embeddings", defaultContext());
    int64_t layers = keys_.integer("num_hidden_layers");
    if (layers < 1 || layers > kMaxLayers)
      keys_.wrong("num_hidden_layers", "between 1 and " + std::to_string(kMaxLayers));
    int64_t heads =
        gemma_ ? keys_.integer("num_attention_heads", 8) : keys_.integer("num_attention_heads");
    int64_t kvHeads = keys_.integer("num_key_value_heads", gemma_                 ? 4
                                                           : family_ == "mistral" ? 8
                                                                                  : heads);
    config_.layers.assign(
        static_cast<size_t>(layers),
        {.heads = heads, .kvHeads = kvHeads, .ffn = keys_.integer("intermediate_size")});
    if (keys_.has("head_dim") || gemma_ || family_ == "qwen3") {
      config_.headDim = keys_.integer("head_dim", gemma_ ? 256 : 128);
    } else {
      if (heads < 1 || config_.hidden % heads != 0)
        fail(ExitCode::BadInput, keys_.path() + ": hidden_size " + std::to_string(config_.hidden) +
                                     " is not a multiple of num_attention_heads " +
                                     std::to_string(heads) + ": the file is damaged");
      config_.headDim = config_.hidden / heads;
    }
    config_.normEps = keys_.number("rms_norm_eps", 1e-6);
  }

  int64_t defaultContext() const {
    return family_ == "llama"                            ? 2048
           : family_ == "mistral" || family_ == "gemma3" ? 131072
           : family_ == "gemma2"                         ? 8192
                                                         : 32768;
  }

  void readRopes() {
    const double base = keys_.number("rope_theta", family_ == "gemma3" ? 1e6 : 10000);
    const double localBase = keys_.number("rope_local_base_freq", 10000);
    RopeConfig plain{.base = base, .dims = rotated(keys_.number("partial_rotary_factor", 1))};
    config_.rope = config_.ropeLocal = plain;
    config_.ropeLocal.base = localBase;
    if (keys_.has("rope_scaling"))
      readScaling(keys_.object("rope_scaling"), config_.rope);
    if (!keys_.has("rope_parameters"))
      return;
    Keys parameters = keys_.object("rope_parameters");
    bool nested = false;
    for (auto [type, rope] : {std::pair{"full_attention", &config_.rope},
                              std::pair{"sliding_attention", &config_.ropeLocal}}) {
      if (!parameters.has(type))
        continue;
      nested = true;
      readScaling(parameters.object(type), *rope);
    }
    if (!nested)
      readScaling(parameters, config_.rope);
  }

  int64_t rotated(double fraction) const {
    if (!std::isfinite(fraction) || fraction <= 0 || fraction > 1)
      keys_.wrong("partial_rotary_factor", "above 0 and at most 1");
    const double features = static_cast<double>(config_.headDim) * fraction;
    // checkConfig refuses heads of that size; until then they are just not to overflow.
    return features < 1e9 ? static_cast<int64_t>(features) : config_.headDim;
  }

  /// One rope_scaling or rope_parameters object.
  void readScaling(const Keys &scaling, RopeConfig &rope) {
    rope.base = scaling.number("rope_theta", rope.base);
    if (scaling.has("partial_rotary_factor"))
      rope.dims = rotated(scaling.number("partial_rotary_factor"));
    const std::string type = scaling.string("rope_type", scaling.string("type", "default"));
    if (type == "default")
      return;
    if (type != "linear" && type != "llama3" && type != "yarn")
      keys_.unsupported("rope scaling " + quote(type) +
                        " is not supported: use a model with linear, llama3 or yarn scaling");
    if (type == "linear") {
      rope.scaling = RopeConfig::Scaling::Linear;
      rope.factor = scaling.number("factor");
      return;
    }
    double original =
        scaling.number("original_max_position_embeddings", static_cast<double>(config_.context));
    rope.originalContext = keys_.number("original_max_position_embeddings", original);
    if (type == "llama3") {
      rope.scaling = RopeConfig::Scaling::Llama3;
      rope.factor = scaling.number("factor");
      rope.lowFreqFactor = scaling.number("low_freq_factor");
      rope.highFreqFactor = scaling.number("high_freq_factor");
      return;
    }
    rope.scaling = RopeConfig::Scaling::Yarn;
    rope.factor =
        scaling.number("factor", static_cast<double>(config_.context) / rope.originalContext);
    // transformers takes 0 for its default here
    auto orDefault = [&](const char *key, double otherwise) {
      double value = scaling.number(key, otherwise);
      return value == 0 ? otherwise : value;
    };
    rope.betaFast = orDefault("beta_fast", 32);
    rope.betaSlow = orDefault("beta_slow", 1);
    rope.mscale = scaling.number("mscale", 0);
    rope.mscaleAllDim = scaling.number("mscale_all_dim", 0);
    rope.truncate = scaling.boolean("truncate", true);
    if (scaling.has("attention_factor"))
      rope.attentionFactor = scaling.number("attention_factor");
  }

  void readWindows() {
    if (family_ == "llama" || (qwen_ && !keys_.boolean("use_sliding_window", false)))
      return;
    // Mistral's default of 4096 stands where the key is absent; a null there means none.
    const bool present = keys_.has("sliding_window");
    const int64_t window = present ? keys_.integer("sliding_window") : defaultWindow();
    if (window == 0)
      return;
    const std::vector<bool> sliding = slidingLayers();
    for (size_t i = 0; i < sliding.size(); ++i)
      if (sliding[i]) {
        config_.layers[i].window = window;
        config_.layers[i].localRope = family_ == "gemma3";
      }
  }

  int64_t defaultWindow() const { return keys_.isNull("sliding_window") ? 0 : 4096; }

  std::vector<bool> slidingLayers() {
    const size_t count = config_.layers.size();
    std::vector<bool> sliding(count, family_ == "mistral");
    if (family_ == "mistral") // transformers ignores layer_types here
      return sliding;
    if (const json *types = keys_.find("layer_types")) {
      if (!types->is_array() || types->size() != count)
        keys_.wrong("layer_types", "a list with an entry for each layer");
      for (size_t i = 0; i < count; ++i) {
        if (!(*types)[i].is_string())
          keys_.wrong("layer_types", "a list of strings");
        const std::string type = (*types)[i].get<std::string>();
        if (type != "sliding_attention" && type != "full_attention")
          keys_.unsupported("layer type " + quote(type) + " is not supported: use a model of " +
                            "full_attention and sliding_attention layers");
        sliding[i] = type == "sliding_attention";
      }
      return sliding;
    }
    const int64_t pattern = keys_.integer("sliding_window_pattern", family_ == "gemma2" ? 2 : 6);
    const int64_t firstSliding = keys_.integer("max_window_layers", 28);
    if (pattern < 1)
      keys_.wrong("sliding_window_pattern", "at least 1");
    for (size_t i = 0; i < count; ++i)
      sliding[i] = qwen_ ? static_cast<int64_t>(i) >= firstSliding
                         : (static_cast<int64_t>(i) + 1) % pattern != 0;
    return sliding;
  }

  void readScales() {
    readActivation();
    double width = static_cast<double>(config_.headDim);
    if (gemma_)
      width = keys_.number("query_pre_attn_scalar", 256);
    config_.attentionScale = 1 / std::sqrt(width);
    if (!gemma_)
      return;
    config_.embedScale = roundedToDtype(std::sqrt(static_cast<double>(config_.hidden)));
    const bool gemma2 = family_ == "gemma2";
    config_.attentionSoftCap = softCap("attn_logit_softcapping", gemma2 ? 50 : 0);
    config_.logitSoftCap = softCap("final_logit_softcapping", gemma2 ? 30 : 0);
  }

  std::optional<double> softCap(const char *key, double otherwise) const {
    if (!keys_.has(key) && (otherwise == 0 || keys_.isNull(key)))
      return std::nullopt;
    return keys_.number(key, otherwise);
  }

  /// transformers multiplies by a number of the model's dtype.
  double roundedToDtype(double value) const {
    const std::string dtype = keys_.string("dtype", keys_.string("torch_dtype", "float32"));
    if (dtype == "bfloat16")
      return fromBFloat16(toBFloat16(static_cast<float>(value)));
    if (dtype == "float16")
      return fromHalf(toHalf(static_cast<float>(value)));
    return static_cast<float>(value);
  }

  void readActivation() {
    std::string act = gemma_ ? keys_.string("hidden_activation", "gelu_pytorch_tanh")
                             : keys_.string("hidden_act", "silu");
    if (act == "silu" || act == "swish")
      config_.activation = Activation::Silu;
    else if (act == "gelu")
      config_.activation = Activation::Gelu;
    else if (act == "gelu_pytorch_tanh" || act == "gelu_new")
      config_.activation = Activation::GeluTanh;
    else
      keys_.unsupported("activation " + quote(act) +
                        " is not supported: use a model with silu, gelu or gelu_pytorch_tanh");
  }

  void readStructure() {
    config_.normOffset = config_.postNorms = gemma_;
    config_.qkNorm = family_ == "qwen3" || family_ == "gemma3";
    config_.tiedEmbeddings = keys_.boolean("tie_word_embeddings", gemma_);
    const bool attentionBias =
        family_ != "qwen2" && family_ != "mistral" && keys_.boolean("attention_bias", false);
    config_.qkvBias = family_ == "qwen2" || attentionBias;
    config_.outputBias = attentionBias;
    config_.ffnBias = family_ == "llama" && keys_.boolean("mlp_bias", false);
  }

  const Keys &keys_;
  std::string family_;
  ModelConfig &config_;
  bool gemma_, qwen_;
};

} // namespace

ModelConfig readHuggingFaceConfig(const std::string &text, const std::string &path) {
  const json document = parseJson(text, path);
  Keys keys(document, path);
  const std::string type = keys.string("model_type", "");
  ModelConfig config;
  config.name = keys.string("_name_or_path", "");
  for (const char *family : {"llama", "mistral", "qwen2", "qwen3", "gemma2"})
    if (type == family)
      config.family = family;
  if (type == "gemma3" || type == "gemma3_text")
    config.family = "gemma3";
  if (config.family.empty())
    keys.unsupported("model_type " + quote(type) +
                     " is not supported: use a model of llama, mistral, qwen2, qwen3, gemma2 or "
                     "gemma3 (text)");
  // Gemma 3's larger models are wrapped, with a vision tower that is not imported.
  if (type == "gemma3" && keys.has("text_config"))
    Reader(keys.object("text_config"), config.family, config).read();
  else
    Reader(keys, config.family, config).read();
  return config;
}

} // namespace retort
