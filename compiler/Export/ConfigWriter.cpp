//===- ConfigWriter.cpp - config.json and GGUF metadata of a model --------===//
// SPDX-License-Identifier: Apache-2.0
//
// Keys: configuration_<family>.py of transformers; src/llama-arch.cpp and src/llama-model.cpp of llama.cpp.
//
//===----------------------------------------------------------------------===//
#include "compiler/Export/ConfigWriter.h"
#include "compiler/Export/GgufWriter.h"
#include "compiler/Import/ConfigKeys.h"
#include "compiler/Import/Family.h"
#include "compiler/Tokenizer/GgufTokenizer.h"
#include "runtime/base/Error.h"
#include "runtime/base/Json.h"
#include <algorithm>
#include <cmath>

namespace retort {
namespace {

using nlohmann::json;
using Scaling = RopeConfig::Scaling;

/// The families that are written, and transformers' classes.
constexpr std::pair<std::string_view, const char *> kClasses[] = {
    {"llama", "LlamaForCausalLM"},     {"mistral", "MistralForCausalLM"},
    {"qwen2", "Qwen2ForCausalLM"},     {"qwen3", "Qwen3ForCausalLM"},
    {"gemma", "GemmaForCausalLM"},     {"gemma2", "Gemma2ForCausalLM"},
    {"gemma3", "Gemma3ForCausalLM"},   {"granite", "GraniteForCausalLM"},
    {"smollm3", "SmolLM3ForCausalLM"}, {"olmo2", "Olmo2ForCausalLM"},
    {"seed_oss", "SeedOssForCausalLM"}};

const char *classOf(const Family &family) {
  const auto *known =
      std::ranges::find(kClasses, family.name, [](const auto &row) { return row.first; });
  if (known != std::end(kClasses))
    return known->second;
  std::string names;
  for (const auto &[name, unused] : kClasses)
    names += (names.empty() ? "" : ", ") + std::string(name);
  fail(ExitCode::Unsupported,
       "its family is " + std::string(family.name) + ", and export writes " + names);
}

/// What a tokenizer calls an id; null for none.
json tokenOf(const TokenizerSpec &tokenizer, int32_t id) {
  return id < 0 ? json() : json(tokenizer.tokens.at(static_cast<size_t>(id)));
}

json idOf(int32_t id) { return id < 0 ? json() : json(id); }

class HuggingFaceWriter {
public:
  HuggingFaceWriter(const ExportedModel &model, DType type)
      : config_(model.config), family_(*model.config.family), type_(type) {}

  json write() {
    out_["architectures"] = {classOf(family_)};
    out_["model_type"] = family_.isWithinMultimodal() ? family_.textModelType : family_.name;
    const ModelConfig::Layer &layer = config_.layers.front();
    set(kHidden, config_.hidden);
    set(kContext, config_.context);
    set(kLayers, config_.layers.size());
    set(kHeads, layer.heads);
    set(kKvHeads, layer.kvHeads);
    set(kHeadDim, config_.headDim);
    set(kFfn, layer.ffn);
    set(kNormEps, config_.normEps);
    out_["vocab_size"] = config_.vocab;
    out_["tie_word_embeddings"] = config_.tiedEmbeddings;
    out_["dtype"] = type_ == DType::F16 ? "float16" : type_ == DType::BF16 ? "bfloat16" : "float32";
    out_[family_.activationKey] = config_.activation == Activation::Silu   ? "silu"
                                  : config_.activation == Activation::Gelu ? "gelu"
                                                                           : "gelu_pytorch_tanh";
    writeBiases();
    writeRopes();
    writeWindows();
    writeScales();
    return std::move(out_);
  }

private:
  template <typename T> void set(const ConfigKey &key, T value) { out_[key.huggingFace] = value; }

  void writeBiases() {
    // One key may stand for two of them.
    auto write = [&](const char *key, bool flag) {
      if (key)
        out_[key] = out_.value(key, false) || flag;
    };
    write(family_.qkvBiasKey, config_.qkvBias);
    write(family_.outputBiasKey, config_.outputBias);
    write(family_.ffnBiasKey, config_.ffnBias);
  }

  json scaling(const RopeConfig &rope) const {
    json out = {{"rope_type", "default"}, {"rope_theta", rope.base}};
    if (rope.dims != config_.headDim)
      out["partial_rotary_factor"] =
          static_cast<double>(rope.dims) / static_cast<double>(config_.headDim);
    if (rope.attentionFactor)
      out["attention_factor"] = *rope.attentionFactor;
    if (rope.scaling == Scaling::None)
      return out;
    out["factor"] = rope.factor;
    if (rope.originalContext != 0)
      out["original_max_position_embeddings"] = static_cast<int64_t>(rope.originalContext);
    if (rope.scaling == Scaling::Linear) {
      out["rope_type"] = "linear";
    } else if (rope.scaling == Scaling::Llama3) {
      out["rope_type"] = "llama3";
      out["low_freq_factor"] = rope.lowFreqFactor;
      out["high_freq_factor"] = rope.highFreqFactor;
    } else if (rope.scaling == Scaling::Yarn) {
      out["rope_type"] = "yarn";
      out["beta_fast"] = rope.betaFast;
      out["beta_slow"] = rope.betaSlow;
      out["truncate"] = rope.truncate;
      if (rope.mscale != 0)
        out["mscale"] = rope.mscale;
      if (rope.mscaleAllDim != 0)
        out["mscale_all_dim"] = rope.mscaleAllDim;
    } else { // a table serves short and long texts alike
      out["rope_type"] = "longrope";
      out["short_factor"] = out["long_factor"] = rope.factors;
      out["original_max_position_embeddings"] = config_.context;
      out["attention_factor"] = rope.attentionFactor.value_or(1);
    }
    return out;
  }

  void writeRopes() {
    set(kRopeBase, config_.rope.base);
    if (family_.localRope) {
      set(kLocalRopeBase, config_.ropeLocal.base);
      out_["rope_parameters"] = {{"full_attention", scaling(config_.rope)},
                                 {"sliding_attention", scaling(config_.ropeLocal)}};
    } else {
      out_["rope_parameters"] = scaling(config_.rope);
      if (config_.rope.scaling != Scaling::None) // as transformers 4 reads it
        out_["rope_scaling"] = out_["rope_parameters"];
    }
    if (family_.rotation == Rotation::Listed)
      for (const ModelConfig::Layer &layer : config_.layers)
        out_["no_rope_layers"].push_back(layer.rotates ? 1 : 0);
  }

  void writeWindows() {
    if (family_.windows == Windows::None)
      return;
    int64_t window = 0;
    json types;
    for (const ModelConfig::Layer &layer : config_.layers) {
      types.push_back(layer.window != 0 ? "sliding_attention" : "full_attention");
      window = std::max(window, layer.window);
    }
    out_[kWindow.huggingFace] = window != 0 ? json(window) : json();
    if (family_.windows == Windows::FromLayer) {
      out_["use_sliding_window"] = window != 0;
      out_["max_window_layers"] = std::ranges::count(types, "full_attention");
    }
    if (family_.windows != Windows::Every)
      out_["layer_types"] = types;
  }

  void writeScales() {
    if (family_.queryScale != 0)
      out_["query_pre_attn_scalar"] = whole(1 / (config_.attentionScale * config_.attentionScale));
    if (family_.attentionSoftCapKey)
      set(kAttentionSoftCap, config_.attentionSoftCap ? json(*config_.attentionSoftCap) : json());
    if (family_.logitSoftCapKey)
      set(kLogitSoftCap, config_.logitSoftCap ? json(*config_.logitSoftCap) : json());
    if (family_.multipliers) { // those of residuals and logits are in the weights
      set(kEmbeddingScale, config_.embedScale);
      set(kResidualScale, 1.0);
      set(kLogitDivisor, 1.0);
      out_["attention_multiplier"] = config_.attentionScale;
    }
  }

  /// transformers wants an integer where it is one.
  static json whole(double number) {
    const double rounded = std::round(number);
    return std::abs(number - rounded) < 1e-9 * rounded ? json(static_cast<int64_t>(rounded))
                                                       : json(number);
  }

  const ModelConfig &config_;
  const Family &family_;
  DType type_;
  json out_ = json::object();
};

} // namespace

std::string huggingFaceConfig(const ExportedModel &model, const TokenizerSpec &tokenizer,
                              DType type) {
  json out = HuggingFaceWriter(model, type).write();
  out["bos_token_id"] = idOf(tokenizer.bos);
  out["eos_token_id"] = tokenizer.stop.size() > 1 ? json(tokenizer.stop) : idOf(tokenizer.eos);
  out["pad_token_id"] = idOf(tokenizer.pad);
  return out.dump(2) + "\n";
}

std::string generationConfig(const TokenizerSpec &tokenizer) {
  const json out = {{"bos_token_id", idOf(tokenizer.bos)},
                    {"eos_token_id", json(tokenizer.stop)},
                    {"pad_token_id", idOf(tokenizer.pad)}};
  return out.dump(2) + "\n";
}

std::string tokenizerConfig(const TokenizerSpec &tokenizer, int64_t context) {
  const json out = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                    {"model_max_length", context},
                    {"clean_up_tokenization_spaces", false},
                    {"bos_token", tokenOf(tokenizer, tokenizer.bos)},
                    {"eos_token", tokenOf(tokenizer, tokenizer.eos)},
                    {"pad_token", tokenOf(tokenizer, tokenizer.pad)}};
  return out.dump(2) + "\n";
}

//===- GGUF -------------------------------------------------------------------===//

bool hasRopeTable(const ExportedModel &model) {
  return model.config.rope.scaling == Scaling::Llama3 ||
         model.config.rope.scaling == Scaling::Factors;
}

namespace {

void addTokenizer(const TokenizerSpec &tokenizer, int64_t rows, GgufWriter &writer) {
  const WrittenGgufTokenizer written = ggufTokenizerOf(tokenizer, rows);
  writer.add("tokenizer.ggml.model", written.model);
  writer.add("tokenizer.ggml.pre", written.pre);
  writer.add("tokenizer.ggml.tokens", written.tokens);
  writer.add("tokenizer.ggml.token_type", written.types);
  writer.add("tokenizer.ggml.merges", written.merges);
  for (const auto &[key, id] :
       {std::pair("bos_token_id", tokenizer.bos), std::pair("eos_token_id", tokenizer.eos),
        std::pair("padding_token_id", tokenizer.pad)})
    if (id >= 0)
      writer.add(std::string("tokenizer.ggml.") + key, static_cast<uint32_t>(id));
  // llama.cpp knows one more token that ends a turn.
  for (const int32_t id : tokenizer.stop)
    if (id != tokenizer.eos) {
      writer.add("tokenizer.ggml.eot_token_id", static_cast<uint32_t>(id));
      break;
    }
  writer.add("tokenizer.ggml.add_bos_token", !tokenizer.prefix.empty());
  writer.add("tokenizer.ggml.add_eos_token", !tokenizer.suffix.empty());
}

void addRope(const ModelConfig &config, const std::function<std::string(const char *)> &key,
             GgufWriter &writer) {
  const RopeConfig &rope = config.rope;
  writer.add(key("rope.dimension_count"), static_cast<uint32_t>(rope.dims));
  writer.add(key(kRopeBase.gguf), static_cast<float>(rope.base));
  if (config.family->localRope)
    writer.add(key(kLocalRopeBase.gguf), static_cast<float>(config.ropeLocal.base));
  if (rope.scaling != Scaling::Linear && rope.scaling != Scaling::Yarn)
    return;
  writer.add(key("rope.scaling.type"),
             std::string(rope.scaling == Scaling::Linear ? "linear" : "yarn"));
  writer.add(key("rope.scaling.factor"), static_cast<float>(rope.factor));
  if (rope.scaling == Scaling::Linear)
    return;
  writer.add(key("rope.scaling.original_context_length"),
             static_cast<uint32_t>(rope.originalContext));
  writer.add(key("rope.scaling.yarn_beta_fast"), static_cast<float>(rope.betaFast));
  writer.add(key("rope.scaling.yarn_beta_slow"), static_cast<float>(rope.betaSlow));
}

} // namespace

void addGgufMetadata(const ExportedModel &model, const TokenizerSpec &tokenizer,
                     const std::string &name, DType type, GgufWriter &writer) {
  const ModelConfig &config = model.config;
  const Family &family = *config.family;
  classOf(family);
  auto key = [&](const char *number) { return std::string(family.architecture) + "." + number; };
  auto add = [&](const ConfigKey &number, int64_t value) {
    writer.add(key(number.gguf), static_cast<uint32_t>(value));
  };
  writer.add("general.architecture", std::string(family.architecture));
  writer.add("general.name", name);
  writer.add("general.file_type", uint32_t(type == DType::F16 ? 1 : type == DType::BF16 ? 32 : 0));
  const ModelConfig::Layer &layer = config.layers.front();
  add(kHidden, config.hidden);
  add(kContext, config.context);
  add(kLayers, static_cast<int64_t>(config.layers.size()));
  add(kHeads, layer.heads);
  add(kKvHeads, layer.kvHeads);
  add(kHeadDim, config.headDim);
  writer.add(key("attention.value_length"), static_cast<uint32_t>(config.headDim));
  add(kFfn, layer.ffn);
  writer.add(key("vocab_size"), static_cast<uint32_t>(config.vocab));
  writer.add(key(kNormEps.gguf), static_cast<float>(config.normEps));
  addRope(config, key, writer);
  int64_t window = 0;
  for (const ModelConfig::Layer &each : config.layers)
    window = std::max(window, each.window);
  if (window != 0)
    add(kWindow, window);
  if (config.attentionSoftCap)
    writer.add(key(kAttentionSoftCap.gguf), static_cast<float>(*config.attentionSoftCap));
  if (config.logitSoftCap)
    writer.add(key(kLogitSoftCap.gguf), static_cast<float>(*config.logitSoftCap));
  if (family.multipliers) {
    writer.add(key(kEmbeddingScale.gguf), static_cast<float>(config.embedScale));
    writer.add(key(kResidualScale.gguf), 1.0f);
    writer.add(key(kLogitDivisor.gguf), 1.0f);
    writer.add(key("attention.scale"), static_cast<float>(config.attentionScale));
  }
  addTokenizer(tokenizer, config.vocab, writer);
}

} // namespace retort
