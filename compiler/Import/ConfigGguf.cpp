//===- ConfigGguf.cpp - A model's numbers from GGUF metadata --------------===//
// SPDX-License-Identifier: Apache-2.0
//
// What llama.cpp computes for these architectures (src/llama-model.cpp), with its defaults for keys
// that older files lack.
//
//===----------------------------------------------------------------------===//
#include "compiler/Checkpoint/Cursor.h"
#include "compiler/Checkpoint/Gguf.h"
#include "compiler/Import/Config.h"
#include "compiler/Import/ConfigReader.h"
#include <algorithm>
#include <cmath>

namespace retort {
namespace {

constexpr int64_t kMaxRopeFactors = 1 << 12;

class GgufReader final : public ConfigReader {
public:
  /// Converters write every key but the window's.
  GgufReader(const Family &family, const Checkpoint &checkpoint)
      : ConfigReader(family,
                     {.window = family.ggufWindow,
                      .normEps = 0,
                      .localRopeBase = static_cast<double>(family.ggufLocalRopeBase)},
                     checkpoint.path()),
        checkpoint_(checkpoint), file_(*checkpoint.gguf()) {
    refuseUnsupported();
    const CheckpointTensor *table = checkpoint_.find("token_embd.weight");
    if (!table || table->shape.size() != 2)
      fail(ExitCode::BadInput,
           path_ + ": has no matrix 'token_embd.weight': the file is damaged or no language model");
    config_.vocab = table->rows();
  }

private:
  std::string name(std::string_view key) const {
    return std::string(family_.architecture) + "." + std::string(key);
  }
  std::optional<int64_t> integer(std::string_view key) const { return file_.integer(name(key)); }
  std::optional<double> number(std::string_view key) const { return file_.number(name(key)); }

  std::string name(const ConfigKey &key) const override { return name(key.gguf); }
  std::optional<int64_t> integer(const ConfigKey &key) const override { return integer(key.gguf); }
  std::optional<double> number(const ConfigKey &key) const override { return number(key.gguf); }
  bool isNone(const ConfigKey &key) const override { return number(key) == 0.0; }
  void missing(const ConfigKey &key) const override {
    fail(ExitCode::BadInput,
         path_ + ": has no key " + quote(name(key)) + ": the file was converted wrongly");
  }

  std::vector<int64_t> perLayer(const ConfigKey &key) const override {
    const size_t layers = config_.layers.size();
    const GgufFile::Value *value = file_.find(name(key));
    if (!value)
      return {};
    if (!value->isArray)
      return std::vector<int64_t>(layers, *integer(key));
    std::vector<int64_t> numbers = *file_.integers(value->key);
    if (numbers.size() != layers)
      fail(ExitCode::BadInput, path_ + ": key " + quote(value->key) + " has " +
                                   std::to_string(numbers.size()) + " entries for " +
                                   std::to_string(layers) + " layers: the file is damaged");
    return numbers;
  }

  void refuseUnsupported() const {
    if (integer("expert_count").value_or(0) > 0)
      unsupported("a mixture of experts (" + quote(name("expert_count")) +
                  ") is not supported: use a dense model");
    refuseParallelResidual(file_.boolean(name("use_parallel_residual")).value_or(false));
    if (!file_.boolean(name("attention.causal")).value_or(true))
      unsupported("attention in both directions (" + quote(name("attention.causal")) +
                  " is false) is not supported: use a causal model");
    if (integer("pooling_type").value_or(0) > 0)
      unsupported("an embedding model (" + quote(name("pooling_type")) +
                  ") is not supported: use a language model");
    if (family_.multipliers && !file_.boolean(name("rope.scaling.finetuned")).value_or(true))
      unsupported("a model without rotary positions (" + quote(name("rope.scaling.finetuned")) +
                  " is false) is not supported");
    refusePerLayerInputs(integer("embedding_length_per_layer_input").value_or(0));
    refuseSharedCaches(integer("attention.shared_kv_layers").value_or(0));
    if (checkpoint_.find("cls.output.weight") || checkpoint_.find("cls.weight"))
      unsupported("a classifier (tensor 'cls.*') is not supported: use a language model");
  }

  void readRopes() override {
    RopeConfig &rope = config_.rope;
    rope.dims = integer("rope.dimension_count").value_or(headDimOf(rope));
    config_.ropeLocal.dims =
        family_.wideHeads
            ? integer("rope.dimension_count_swa").value_or(headDimOf(config_.ropeLocal))
            : rope.dims;
    std::optional<std::string_view> type = file_.string(name("rope.scaling.type"));
    const double linear = number("rope.scale_linear").value_or(1); // files before rope.scaling.type
    rope.factor = number("rope.scaling.factor").value_or(linear == 0 ? 1 : linear);
    if (type == "linear" || (!type && rope.factor != 1))
      rope.scaling = RopeConfig::Scaling::Linear;
    else if (type == "yarn")
      readYarn(rope);
    else if (type && type != "none" && type != "longrope")
      unsupportedScaling(quote(*type));
    if (checkpoint_.find("rope_freqs.weight"))
      rope.factors = factorsOf("rope_freqs.weight", rope);
    const double original = number("rope.scaling.original_context_length")
                                .value_or(static_cast<double>(config_.context));
    const bool isLong = static_cast<double>(config_.context) > original;
    if (checkpoint_.find("rope_factors_long.weight")) {
      rope.factors =
          factorsOf(isLong ? "rope_factors_long.weight" : "rope_factors_short.weight", rope);
      rope.attentionFactor = number("rope.scaling.attn_factor");
    } else if (type == "longrope") {
      unsupportedScaling("'longrope' without its tables ('rope_factors_long.weight')");
    }
    if (family_.lengthScale)
      readLengthScale();
  }

  void readYarn(RopeConfig &rope) const {
    rope.scaling = RopeConfig::Scaling::Yarn;
    rope.originalContext = number("rope.scaling.original_context_length")
                               .value_or(static_cast<double>(config_.context));
    rope.betaFast = number("rope.scaling.yarn_beta_fast").value_or(32);
    rope.betaSlow = number("rope.scaling.yarn_beta_slow").value_or(1);
    if (number("rope.scaling.yarn_ext_factor").value_or(1) != 1)
      unsupported("yarn with an extrapolation factor is not supported");
    const double growth = rope.factor > 1 ? 0.1 * std::log(rope.factor) : 0;
    double amplitude = number("rope.scaling.attn_factor").value_or(1) *
                       number("rope.scaling.yarn_attn_factor").value_or(1);
    // The log multiplier is transformers' mscale_all_dim where mscale is 1.
    if (const double all = number("rope.scaling.yarn_log_multiplier").value_or(0); all != 0)
      amplitude /= growth * all + 1;
    if (amplitude != 1)
      rope.attentionFactor = amplitude * (growth + 1);
  }

  /// llama.cpp counts in original contexts where the file does not say.
  void readLengthScale() {
    const double factor = number("attention.temperature_scale").value_or(0);
    if (factor == 0)
      return;
    const double original = number("rope.scaling.original_context_length")
                                .value_or(static_cast<double>(config_.context));
    config_.lengthScale = {factor, number("attention.temperature_length").value_or(original)};
  }

  /// Llama 3's scaling, and Phi's for short and for long contexts, are tables: what each pair's
  /// frequency is divided by.
  std::vector<double> factorsOf(const char *tensor, RopeConfig &rope) const {
    const CheckpointTensor *table = checkpoint_.find(tensor);
    if (rope.scaling != RopeConfig::Scaling::None)
      unsupported(quote(tensor) + " together with another rope scaling is not supported");
    if (!table || table->shape.size() != 1 || table->type != DType::F32 ||
        table->columns() > kMaxRopeFactors)
      fail(ExitCode::BadInput,
           path_ + ": tensor " + quote(tensor) + " is not a short F32 vector: the file is damaged");
    std::vector<float> factors(static_cast<size_t>(table->columns()));
    dequantize(table->type, table->bytes.data(), factors.size(), factors.data());
    rope.scaling = RopeConfig::Scaling::Factors;
    return {factors.begin(), factors.end()};
  }

  std::vector<bool> rotatingLayers() const override { return allButEvery(4); }

  std::vector<bool> slidingLayers(int64_t window) const override {
    const size_t count = config_.layers.size();
    if (family_.windows == Windows::FromLayer && window < config_.context)
      unsupported("sliding windows are not supported in a GGUF file of " +
                  std::string(family_.architecture) + ": use the Hugging Face checkpoint");
    // A file of llama with a window is of Mistral, which has it in every layer.
    if (family_.windows != Windows::Pattern)
      return std::vector<bool>(count, true);
    // Newer files say which layers they are, by a number or a list.
    const GgufFile::Value *value = file_.find(name("attention.sliding_window_pattern"));
    if (!value || !value->isArray)
      return patternLayers(WideLayers::Last);
    return flags(*value);
  }

  /// A boolean for each layer.
  std::vector<bool> flags(const GgufFile::Value &value) const {
    const size_t count = config_.layers.size();
    if (!value.isArray || value.type != GgufFile::Type::Bool || value.count != count)
      fail(ExitCode::BadInput, path_ + ": key " + quote(value.key) + " is not " +
                                   std::to_string(count) + " booleans: the file is damaged");
    return {value.bytes.begin(), value.bytes.end()};
  }

  void readWideHeads() override {
    const int64_t headDim = integer("attention.key_length").value_or(config_.headDim);
    for (size_t i = 0; i < config_.layers.size(); ++i)
      if (ModelConfig::Layer &layer = config_.layers[i]; layer.window == 0) {
        layer.headDim = headDim;
        layer.keysAreValues = !checkpoint_.find("blk." + std::to_string(i) + ".attn_v.weight");
      }
  }

  std::vector<double> layerBases() const override {
    std::vector<double> bases(config_.layers.size(), config_.rope.base);
    const GgufFile::Value *pattern = file_.find(name("attention.rope_pattern"));
    const std::vector<bool> rotates =
        pattern ? flags(*pattern) : std::vector<bool>(bases.size(), true);
    for (size_t i = 0; i < bases.size(); ++i)
      if (family_.ggufRotatesInWindows ? config_.layers[i].window == 0 : !rotates[i])
        bases[i] = 0;
    return bases;
  }

  void readStructure() override {
    refuseOtherValues("attention.key_length", "attention.value_length");
    if (family_.wideHeads)
      refuseOtherValues("attention.key_length_swa", "attention.value_length_swa");
    const int64_t heads = std::max<int64_t>(config_.layers[0].heads, 1);
    const bool wide = config_.layers.size() == family_.ggufWideLayers;
    const double width = static_cast<double>(wide ? config_.hidden / heads : config_.headDim);
    config_.attentionScale = family_.attentionScale != 0
                                 ? family_.attentionScale
                                 : number("attention.scale").value_or(1 / std::sqrt(width));
    config_.activation = family_.activation;
    config_.interleavedRope = family_.interleavedRows;
    config_.tiedEmbeddings = !checkpoint_.find("output.weight");
    config_.qkvBias = family_.qkvBias || checkpoint_.find("blk.0.attn_q.bias");
    config_.outputBias = checkpoint_.find("blk.0.attn_output.bias");
    config_.ffnBias = checkpoint_.find("blk.0.ffn_up.bias");
  }

  void refuseOtherValues(const char *keys, const char *values) const {
    const int64_t headDim = integer(keys).value_or(config_.headDim);
    const int64_t valueDim = integer(values).value_or(headDim);
    if (valueDim != headDim)
      unsupported("value heads of another size than key heads are not supported (" +
                  quote(name(values)) + " is " + std::to_string(valueDim) + ", not " +
                  std::to_string(headDim) + ")");
  }

  const Checkpoint &checkpoint_;
  const GgufFile &file_;
};

} // namespace

ModelConfig readGgufConfig(const Checkpoint &checkpoint) {
  const GgufFile &file = *checkpoint.gguf();
  const std::optional<std::string_view> architecture = file.string("general.architecture");
  if (!architecture)
    fail(ExitCode::BadInput,
         file.path() + ": has no key 'general.architecture': the file was converted wrongly");
  const Family *family = familyOfArchitecture(*architecture);
  if (!family)
    fail(ExitCode::Unsupported, file.path() + ": architecture " + quote(*architecture) +
                                    " is not supported: use a model of " + familyList());
  ModelConfig config = GgufReader(*family, checkpoint).read();
  config.name = file.string("general.name").value_or("");
  return config;
}

} // namespace retort
