//===- ConfigGguf.cpp - A model's numbers from GGUF metadata --------------===//
// SPDX-License-Identifier: Apache-2.0
//
// What llama.cpp computes for these architectures (src/llama-model.cpp), with its defaults for keys
// that older files lack.
//
//===----------------------------------------------------------------------===//
#include "compiler/Checkpoint/Cursor.h"
#include "compiler/Checkpoint/Gguf.h"
#include "compiler/Import/ConfigReaders.h"
#include <algorithm>
#include <cmath>

namespace retort {
namespace {

constexpr int64_t kMaxLayers = 1 << 10; // before anything is made for each layer

class Reader {
public:
  Reader(const Checkpoint &checkpoint)
      : checkpoint_(checkpoint), file_(*checkpoint.gguf()), path_(file_.path()) {}

  ModelConfig read() {
    readFamily();
    config_.hidden = integer("embedding_length");
    config_.context = integer("context_length");
    int64_t layers = integer("block_count");
    if (layers < 1 || layers > kMaxLayers)
      fail(ExitCode::BadInput, path_ + ": key '" + key("block_count") + "' is " +
                                   std::to_string(layers) + ", not between 1 and " +
                                   std::to_string(kMaxLayers) + ": the file is damaged");
    config_.layers.resize(static_cast<size_t>(layers));
    config_.normEps = number("attention.layer_norm_rms_epsilon");
    readVocab();
    readSizes();
    readRope();
    readWindows();
    readScales();
    readStructure();
    return std::move(config_);
  }

private:
  std::string key(std::string_view name) const { return arch_ + "." + std::string(name); }

  [[noreturn]] void unsupported(const std::string &what) const {
    fail(ExitCode::Unsupported, path_ + ": " + what);
  }
  [[noreturn]] void missing(const std::string &key) const {
    fail(ExitCode::BadInput,
         path_ + ": has no key " + quote(key) + ": the file was converted wrongly");
  }
  int64_t integer(std::string_view name) const {
    std::optional<int64_t> value = file_.integer(key(name));
    if (!value)
      missing(key(name));
    return *value;
  }
  double number(std::string_view name) const {
    std::optional<double> value = file_.number(key(name));
    if (!value)
      missing(key(name));
    return *value;
  }
  double number(std::string_view name, double otherwise) const {
    return file_.number(key(name)).value_or(otherwise);
  }

  void readFamily() {
    std::optional<std::string_view> arch = file_.string("general.architecture");
    if (!arch)
      missing("general.architecture");
    constexpr std::string_view known[] = {"llama", "qwen2", "qwen3", "gemma2", "gemma3"};
    if (std::ranges::find(known, *arch) == std::end(known))
      unsupported("architecture " + quote(*arch) +
                  " is not supported: use a model of llama (Llama, Mistral), qwen2, qwen3, gemma2 "
                  "or gemma3");
    arch_ = config_.family = std::string(*arch);
    config_.name = std::string(file_.string("general.name").value_or(""));
    gemma_ = arch_.starts_with("gemma");
    if (file_.integer(key("expert_count")).value_or(0) > 0)
      unsupported("a mixture of experts ('" + key("expert_count") +
                  "') is not supported: use a dense model");
  }

  void readVocab() {
    const CheckpointTensor *table = checkpoint_.find("token_embd.weight");
    if (!table || table->shape.size() != 2)
      fail(ExitCode::BadInput,
           path_ + ": has no matrix 'token_embd.weight': the file is damaged or no language model");
    config_.vocab = table->rows();
    config_.tiedEmbeddings = !checkpoint_.find("output.weight");
  }

  /// A number for each layer: the file has one for all, or a list.
  template <typename Set>
  void perLayer(std::string_view name, std::optional<int64_t> otherwise, Set set) {
    const GgufFile::Value *value = file_.find(key(name));
    if (!value && !otherwise)
      missing(key(name));
    if (!value || !value->isArray) {
      int64_t number = value ? integer(name) : *otherwise;
      for (ModelConfig::Layer &layer : config_.layers)
        set(layer, number);
      return;
    }
    std::vector<int64_t> numbers = *file_.integers(key(name));
    if (numbers.size() != config_.layers.size())
      fail(ExitCode::BadInput, path_ + ": key '" + key(name) + "' has " +
                                   std::to_string(numbers.size()) + " entries for " +
                                   std::to_string(config_.layers.size()) +
                                   " layers: the file is damaged");
    for (size_t i = 0; i < numbers.size(); ++i)
      set(config_.layers[i], numbers[i]);
  }

  void readSizes() {
    using Layer = ModelConfig::Layer;
    perLayer("attention.head_count", std::nullopt, [](Layer &l, int64_t n) { l.heads = n; });
    for (Layer &layer : config_.layers)
      layer.kvHeads = layer.heads;
    if (file_.has(key("attention.head_count_kv")))
      perLayer("attention.head_count_kv", std::nullopt, [](Layer &l, int64_t n) { l.kvHeads = n; });
    perLayer("feed_forward_length", std::nullopt, [](Layer &l, int64_t n) { l.ffn = n; });
    int64_t heads = config_.layers[0].heads;
    std::optional<int64_t> keys = file_.integer(key("attention.key_length")),
                           values = file_.integer(key("attention.value_length"));
    if (!keys && (heads < 1 || config_.hidden % heads != 0))
      fail(ExitCode::BadInput, path_ + ": hidden size " + std::to_string(config_.hidden) +
                                   " is not a multiple of its " + std::to_string(heads) +
                                   " heads: the file is damaged");
    config_.headDim = keys ? *keys : config_.hidden / heads;
    if (values.value_or(config_.headDim) != config_.headDim)
      unsupported("value heads of another size than key heads are not supported ('" +
                  key("attention.value_length") + "' is " + std::to_string(*values) + ", not " +
                  std::to_string(config_.headDim) + ")");
  }

  void readRope() {
    RopeConfig &rope = config_.rope;
    rope.base = number("rope.freq_base", 10000);
    rope.dims = file_.integer(key("rope.dimension_count")).value_or(config_.headDim);
    std::string type(file_.string(key("rope.scaling.type")).value_or("none"));
    double linear = number("rope.scale_linear", 1); // files before rope.scaling.type
    rope.factor = number("rope.scaling.factor", linear == 0 ? 1 : linear);
    if (type == "none" && !file_.has(key("rope.scaling.type")) && rope.factor != 1)
      type = "linear";
    if (type == "linear") {
      rope.scaling = RopeConfig::Scaling::Linear;
    } else if (type == "yarn") {
      readYarn(rope);
    } else if (type != "none") {
      unsupported("rope scaling " + quote(type) +
                  " is not supported: use a model with linear, llama3 or yarn scaling");
    }
    for (const char *name : {"rope_factors_long.weight", "rope_factors_short.weight"})
      if (checkpoint_.find(name))
        unsupported("rope scaling 'longrope' (tensor '" + std::string(name) +
                    "') is not supported: use a model with linear, llama3 or yarn scaling");
    readRopeFactors(rope);
    config_.ropeLocal = {.base = number("rope.freq_base_swa", 10000), .dims = rope.dims};
    config_.interleavedRope = arch_ == "llama";
  }

  void readYarn(RopeConfig &rope) {
    rope.scaling = RopeConfig::Scaling::Yarn;
    rope.originalContext =
        number("rope.scaling.original_context_length", static_cast<double>(config_.context));
    rope.betaFast = number("rope.scaling.yarn_beta_fast", 32);
    rope.betaSlow = number("rope.scaling.yarn_beta_slow", 1);
    if (number("rope.scaling.yarn_ext_factor", 1) != 1 ||
        number("rope.scaling.yarn_log_multiplier", 0) != 0)
      unsupported("yarn with an extrapolation factor or a log multiplier is not supported");
    double amplitude =
        number("rope.scaling.attn_factor", 1) * number("rope.scaling.yarn_attn_factor", 1);
    if (amplitude != 1)
      rope.attentionFactor = amplitude * (rope.factor > 1 ? 0.1 * std::log(rope.factor) + 1 : 1.0);
  }

  /// Llama 3's scaling is a table: what each pair's frequency is divided by.
  void readRopeFactors(RopeConfig &rope) {
    const CheckpointTensor *table = checkpoint_.find("rope_freqs.weight");
    if (!table)
      return;
    if (rope.scaling != RopeConfig::Scaling::None)
      unsupported("'rope_freqs.weight' together with another rope scaling is not supported");
    if (table->shape.size() != 1 || table->type != DType::F32 || table->columns() > kMaxLayers * 4)
      fail(ExitCode::BadInput,
           path_ + ": tensor 'rope_freqs.weight' is not a short F32 vector: the file is damaged");
    std::vector<float> factors(static_cast<size_t>(table->columns()));
    dequantize(table->type, table->bytes.data(), factors.size(), factors.data());
    rope.scaling = RopeConfig::Scaling::Factors;
    rope.factors.assign(factors.begin(), factors.end());
  }

  void readWindows() {
    int64_t window =
        file_.integer(key("attention.sliding_window")).value_or(arch_ == "gemma2" ? 4096 : 0);
    if (window == 0)
      return;
    if (arch_.starts_with("qwen") && window < config_.context)
      unsupported("sliding windows are not supported in a GGUF file of " + arch_ +
                  ": use the Hugging Face checkpoint");
    std::vector<bool> sliding(config_.layers.size(), true);
    if (gemma_)
      sliding = slidingLayers(arch_ == "gemma2" ? 2 : 6);
    for (size_t i = 0; i < sliding.size(); ++i)
      if (sliding[i]) {
        config_.layers[i].window = window;
        config_.layers[i].localRope = arch_ == "gemma3";
      }
  }

  /// Every `pattern`th layer sees everything; newer files say so, as a number or a list of
  /// booleans.
  std::vector<bool> slidingLayers(int64_t pattern) {
    const size_t count = config_.layers.size();
    const GgufFile::Value *value = file_.find(key("attention.sliding_window_pattern"));
    if (value && value->isArray) {
      if (value->type != GgufFile::Type::Bool || value->count != count)
        fail(ExitCode::BadInput, path_ + ": key " + quote(value->key) + " is not " +
                                     std::to_string(count) + " booleans: the file is damaged");
      return {value->bytes.begin(), value->bytes.end()};
    }
    if (value)
      pattern = *file_.integer(value->key);
    if (pattern < 1)
      fail(ExitCode::BadInput, path_ + ": key '" + key("attention.sliding_window_pattern") +
                                   "' is " + std::to_string(pattern) +
                                   ", not at least 1: the file is damaged");
    std::vector<bool> sliding(count);
    for (size_t i = 0; i < count; ++i)
      sliding[i] = static_cast<int64_t>(i) % pattern < pattern - 1;
    return sliding;
  }

  void readScales() {
    const int64_t heads = std::max<int64_t>(config_.layers[0].heads, 1);
    // llama.cpp knows the 27B models, whose scale is not the head's, by their number of layers.
    const bool is27B = (arch_ == "gemma2" && config_.layers.size() == 46) ||
                       (arch_ == "gemma3" && config_.layers.size() == 62);
    const double width = static_cast<double>(is27B ? config_.hidden / heads : config_.headDim);
    config_.attentionScale = number("attention.scale", 1 / std::sqrt(width));
    if (!gemma_)
      return;
    config_.activation = Activation::GeluTanh;
    config_.embedScale = std::sqrt(static_cast<float>(config_.hidden));
    const bool gemma2 = arch_ == "gemma2";
    double cap = number("attn_logit_softcapping", gemma2 ? 50 : 0);
    if (gemma2 && cap != 0)
      config_.attentionSoftCap = cap;
    cap = number("final_logit_softcapping", gemma2 ? 30 : 0);
    if (cap != 0)
      config_.logitSoftCap = cap;
  }

  void readStructure() {
    config_.postNorms = gemma_;
    config_.qkNorm = arch_ == "qwen3" || arch_ == "gemma3";
    config_.qkvBias = arch_ == "qwen2" || checkpoint_.find("blk.0.attn_q.bias");
    config_.outputBias = checkpoint_.find("blk.0.attn_output.bias");
    config_.ffnBias = checkpoint_.find("blk.0.ffn_up.bias");
  }

  const Checkpoint &checkpoint_;
  const GgufFile &file_;
  const std::string &path_;
  std::string arch_;
  bool gemma_ = false;
  ModelConfig config_;
};

} // namespace

ModelConfig readGgufConfig(const Checkpoint &checkpoint) { return Reader(checkpoint).read(); }

} // namespace retort
