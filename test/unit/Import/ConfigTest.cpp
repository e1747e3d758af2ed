//===- ConfigTest.cpp - What checkpoints say of their models --------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Import/Config.h"
#include "compiler/Checkpoint/Gguf.h"
#include "compiler/Import/Family.h"
#include "runtime/base/Error.h"
#include "runtime/base/Json.h"
#include "test/unit/Checkpoint/GgufBytes.h"
#include <cmath>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace retort;
using retort::test::Bytes;
using testing::HasSubstr;

namespace {

std::string errorOf(const std::function<void()> &action, ExitCode code) {
  try {
    action();
  } catch (const Error &error) {
    EXPECT_EQ(error.code, code) << error.message;
    EXPECT_EQ(error.message.find('\n'), std::string::npos) << error.message;
    return error.message;
  }
  ADD_FAILURE() << "was accepted";
  return "";
}

ModelConfig read(const std::string &fields) {
  ModelConfig config = readHuggingFaceConfig("{" + fields + "}", "config.json");
  checkModelConfig(config, "config.json");
  return config;
}
std::string unsupported(const std::string &fields) {
  return errorOf([&] { read(fields); }, ExitCode::Unsupported);
}
std::string refused(const std::string &fields) {
  return errorOf([&] { read(fields); }, ExitCode::BadInput);
}

std::string fields(const std::string &type, const std::string &more = "") {
  return R"("model_type":")" + type +
         R"(","hidden_size":64,"num_hidden_layers":4,"num_attention_heads":4,)"
         R"("num_key_value_heads":2,"intermediate_size":96,"vocab_size":100)" +
         (more.empty() ? "" : "," + more);
}

TEST(HuggingFaceConfig, Llama) {
  ModelConfig config = read(fields("llama", R"("rms_norm_eps":1e-5,"rope_theta":5e5)"));
  EXPECT_EQ(config.family->name, "llama");
  EXPECT_EQ(config.headDim, 16);
  EXPECT_EQ(config.layers.size(), 4u);
  EXPECT_EQ(config.layers[3].kvHeads, 2);
  EXPECT_EQ(config.layers[0].window, 0);
  EXPECT_EQ(config.rope.base, 5e5);
  EXPECT_EQ(config.rope.dims, 16);
  EXPECT_DOUBLE_EQ(config.attentionScale, 0.25);
  EXPECT_FALSE(config.tiedEmbeddings);
  EXPECT_FALSE(config.qkvBias);
}

TEST(HuggingFaceConfig, RopeScalingsOfBothGenerations) {
  ModelConfig old = read(
      fields("llama",
             R"("rope_theta":5e5,"rope_scaling":{"rope_type":"llama3","factor":8,)"
             R"("low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":32})"));
  ModelConfig now = read(
      fields("llama",
             R"("rope_parameters":{"rope_theta":5e5,"rope_type":"llama3","factor":8,)"
             R"("low_freq_factor":1,"high_freq_factor":4,"original_max_position_embeddings":32})"));
  for (const ModelConfig &config : {old, now}) {
    EXPECT_EQ(config.rope.scaling, RopeConfig::Scaling::Llama3);
    EXPECT_EQ(config.rope.base, 5e5);
    EXPECT_EQ(config.rope.originalContext, 32);
  }
  EXPECT_THAT(unsupported(fields("llama", R"("rope_scaling":{"type":"dynamic","factor":2})")),
              HasSubstr("rope scaling 'dynamic' is not supported: use a model with linear, llama3 "
                        "or yarn scaling"));
  EXPECT_THAT(refused(fields("llama", R"("rope_scaling":{"type":"linear"})")),
              HasSubstr("no key 'rope_scaling.factor'"));
  EXPECT_THAT(refused(fields("llama", R"("rope_scaling":{"type":"linear","factor":0})")),
              HasSubstr("rope scaling factor is 0.000000, not a number above 0"));
}

TEST(HuggingFaceConfig, Windows) {
  EXPECT_EQ(read(fields("mistral", R"("sliding_window":8)")).layers[3].window, 8);
  EXPECT_EQ(read(fields("mistral", R"("sliding_window":null)")).layers[0].window, 0);
  EXPECT_EQ(read(fields("qwen2", R"("sliding_window":8)")).layers[3].window, 0);
  ModelConfig qwen = read(
      fields("qwen2", R"("use_sliding_window":true,"sliding_window":8,"max_window_layers":2)"));
  EXPECT_EQ(qwen.layers[1].window, 0);
  EXPECT_EQ(qwen.layers[2].window, 8);
  EXPECT_TRUE(qwen.qkvBias);
  EXPECT_FALSE(qwen.outputBias);
  EXPECT_THAT(unsupported(fields("qwen3", R"("use_sliding_window":true,"sliding_window":8,)"
                                          R"("layer_types":["x","x","x","x"])")),
              HasSubstr("layer type 'x'"));
  EXPECT_THAT(
      refused(fields("qwen3", R"("use_sliding_window":true,"sliding_window":8,"layer_types":[])")),
      HasSubstr("key 'layer_types' is not a list with an entry for each layer"));
  EXPECT_THAT(
      refused(fields("qwen3",
                     R"("use_sliding_window":true,"sliding_window":8,"layer_types":[1,2,3,4])")),
      HasSubstr("key 'layer_types' is not a list of strings"));
}

TEST(HuggingFaceConfig, OtherTasks) {
  for (const char *name : {"LlamaForSequenceClassification", "Qwen2ForRewardModel"})
    EXPECT_THAT(unsupported(fields("llama", "\"architectures\":[\"" + std::string(name) + "\"]")),
                HasSubstr("a classifier or reward model ('" + std::string(name) + "')"));
}

TEST(HuggingFaceConfig, TextWithinAnotherModel) {
  const std::string text =
      "\"text_config\":{" + fields("mistral", R"("tie_word_embeddings":false)") + "}";
  ModelConfig config = read(R"("model_type":"mistral3",)" + text);
  EXPECT_EQ(config.family->name, "mistral");
  EXPECT_EQ(config.hidden, 64);
  // The flag beside the text model's keys is the one that counts.
  EXPECT_TRUE(read(R"("model_type":"mistral3","tie_word_embeddings":true,)" + text).tiedEmbeddings);
  EXPECT_THAT(unsupported(R"("model_type":"other","text_config":{"model_type":"also"})"),
              HasSubstr("model_type 'other'"));
}

TEST(HuggingFaceConfig, LayersThatDoNotRotate) {
  auto rotates = [](const ModelConfig &config) {
    std::string marks;
    for (const ModelConfig::Layer &layer : config.layers)
      marks += layer.rotates ? 'r' : '-';
    return marks;
  };
  EXPECT_EQ(rotates(read(fields("llama"))), "rrrr");
  EXPECT_EQ(rotates(read(fields("smollm3"))), "rrr-");
  EXPECT_EQ(rotates(read(fields("smollm3", R"("no_rope_layers":[0,1,0,1])"))), "-r-r");
  EXPECT_EQ(rotates(read(fields("smollm3", R"("no_rope_layer_interval":2)"))), "r-r-");
  EXPECT_EQ(rotates(read(fields("cohere2", R"("sliding_window":8)"))), "rrr-");
  EXPECT_EQ(rotates(read(fields("exaone4", R"("sliding_window":8)"))), "rrr-");
  EXPECT_EQ(rotates(read(fields("exaone4", R"("sliding_window":null)"))), "rrrr");
  EXPECT_THAT(refused(fields("smollm3", R"("no_rope_layers":[1,0])")),
              HasSubstr("'no_rope_layers' is not a list with an integer for each layer"));
}

TEST(HuggingFaceConfig, RotaryBaseOfEachLayer) {
  ModelConfig config = read(fields("granite_swa", R"("layer_rope_theta":[0,1e4,5e4,0])"));
  for (size_t i : {0, 3})
    EXPECT_FALSE(config.layers[i].rotates) << i;
  EXPECT_EQ(config.layers[1].ropeBase, 1e4);
  EXPECT_EQ(config.layers[2].ropeBase, 5e4);
  EXPECT_EQ(config.layers[0].window, 0); // of four layers the first sees all
  EXPECT_EQ(config.layers[3].window, 128);
  config = read(fields("granite_swa", R"("rope_theta":2e4)"));
  EXPECT_EQ(config.layers[3].ropeBase, 2e4);
  EXPECT_THAT(refused(fields("granite_swa", R"("layer_rope_theta":[1e4])")),
              HasSubstr("'layer_rope_theta' is not a list with a number for each layer"));
  EXPECT_THAT(refused(fields("granite_swa", R"("layer_rope_theta":[0,-1,0,0])")),
              HasSubstr("the rope base of layer 1 is -1"));
  // Muse Glimmer's numbers only say which layers rotate: all but those that see all.
  config = read(fields("muse_glimmer_text"));
  EXPECT_TRUE(config.layers[2].rotates);
  EXPECT_FALSE(config.layers[3].rotates);
  EXPECT_EQ(config.layers[2].ropeBase, 0);
  EXPECT_EQ(config.postNormEps, 1e-8);
  EXPECT_EQ(config.queryFactor, 3.87);
}

TEST(HuggingFaceConfig, QueriesThatGrow) {
  const std::string yarn = R"("rope_type":"yarn","factor":4,"original_max_position_embeddings":64)";
  auto with = [](const std::string &rope) {
    return fields("ministral3", R"("head_dim":16,"rope_parameters":{)" + rope + "}");
  };
  ModelConfig config = read(with(yarn + R"(,"llama_4_scaling_beta":0.1)"));
  ASSERT_TRUE(config.lengthScale);
  EXPECT_EQ(config.lengthScale->factor, 0.1);
  EXPECT_EQ(config.lengthScale->every, 64);
  EXPECT_THAT(refused(with(yarn)), HasSubstr("'rope_parameters.llama_4_scaling_beta'"));
  EXPECT_THAT(refused(fields("ministral3")), HasSubstr("has no key 'rope_parameters'"));
  EXPECT_THAT(refused(with(yarn + R"(,"llama_4_scaling_beta":-1)")),
              HasSubstr("the scale of queries grows by -1"));
  EXPECT_THAT(refused(with(R"("llama_4_scaling_beta":1,"original_max_position_embeddings":0.5)")),
              HasSubstr("the scale of queries grows every 0.5"));
  EXPECT_THAT(refused(with(yarn + R"(,"llama_4_scaling_beta":1,"partial_rotary_factor":0.5)")),
              HasSubstr("but rotates 8 of a head's 16 features"));
}

TEST(HuggingFaceConfig, AlphaOfTheRotaryBase) {
  const std::string dynamic =
      R"("head_dim":16,"rope_parameters":{"rope_type":"dynamic","factor":1)";
  EXPECT_DOUBLE_EQ(read(fields("hunyuan_v1_dense", dynamic + R"(,"alpha":50})")).rope.base,
                   10000 * std::pow(50.0, 16.0 / 14));
  EXPECT_THAT(unsupported(fields("hunyuan_v1_dense", dynamic + "}")), HasSubstr("'dynamic'"));
  EXPECT_THAT(unsupported(fields("llama", dynamic + R"(,"alpha":50})")), HasSubstr("'dynamic'"));
}

TEST(HuggingFaceConfig, LongRope) {
  const std::string scaling =
      R"("original_max_position_embeddings":32,"rope_scaling":{"type":"longrope",)"
      R"("short_factor":[1,1,1,1,1,1,1,1],"long_factor":[2,2,2,2,2,2,2,4]})";
  ModelConfig longer = read(fields("phi3", R"("max_position_embeddings":128,)" + scaling));
  EXPECT_EQ(longer.rope.factors.back(), 4);
  EXPECT_DOUBLE_EQ(*longer.rope.attentionFactor, std::sqrt(1 + std::log(4.0) / std::log(32.0)));
  ModelConfig shorter = read(fields("phi3", R"("max_position_embeddings":32,)" + scaling));
  EXPECT_EQ(shorter.rope.factors.back(), 1);
  EXPECT_EQ(shorter.rope.attentionFactor, 1.0);
  EXPECT_THAT(refused(fields("phi3", R"("rope_scaling":{"type":"longrope"})")),
              HasSubstr("short_factor' is not a list of numbers"));
}

TEST(HuggingFaceConfig, Multipliers) {
  ModelConfig config =
      read(fields("granite", R"("embedding_multiplier":12,"residual_multiplier":0.25,)"
                             R"("attention_multiplier":0.5,"logits_scaling":8)"));
  EXPECT_EQ(config.embedScale, 12);
  EXPECT_EQ(config.residualScale, 0.25);
  EXPECT_EQ(config.attentionScale, 0.5);
  EXPECT_EQ(config.logitScale, 0.125);
  EXPECT_THAT(refused(fields("granite", R"("logits_scaling":0)")),
              HasSubstr("the logits' scale is inf"));
  EXPECT_EQ(read(fields("cohere2")).logitScale, 0.0625);
}

TEST(HuggingFaceConfig, Gemma) {
  ModelConfig two = read(fields("gemma2", R"("head_dim":16,"torch_dtype":"bfloat16")"));
  EXPECT_EQ(two.layers[0].window, 4096);
  EXPECT_EQ(two.layers[1].window, 0);
  EXPECT_EQ(two.attentionSoftCap, 50.0);
  EXPECT_EQ(two.logitSoftCap, 30.0);
  EXPECT_EQ(two.embedScale, 8.0);
  EXPECT_TRUE(two.normOffset && two.family->norms == BlockNorms::Around && two.tiedEmbeddings);
  EXPECT_EQ(two.activation, Activation::GeluTanh);
  EXPECT_DOUBLE_EQ(two.attentionScale, 1.0 / 16);
  ModelConfig three =
      read(fields("gemma3_text", R"("head_dim":16,"sliding_window":8,"sliding_window_pattern":2,)"
                                 R"("rope_scaling":{"rope_type":"linear","factor":8})"));
  EXPECT_TRUE(three.layers[0].localRope);
  EXPECT_FALSE(three.layers[1].localRope);
  EXPECT_EQ(three.rope.base, 1e6);
  EXPECT_EQ(three.ropeLocal.base, 1e4);
  EXPECT_EQ(three.rope.scaling, RopeConfig::Scaling::Linear);
  EXPECT_EQ(three.ropeLocal.scaling, RopeConfig::Scaling::None);
  EXPECT_EQ(three.attentionSoftCap, std::nullopt);
  EXPECT_EQ(three.family->qkNorms, QueryKeyNorms::Heads);
}

TEST(HuggingFaceConfig, Gemma4) {
  const std::string sizes = R"("head_dim":16,"sliding_window":8,"layer_types":["full_attention",)"
                            R"("sliding_attention","sliding_attention","sliding_attention"],)";
  const std::string own = sizes + R"("hidden_size_per_layer_input":0,)";
  const ModelConfig published =
      read(fields("gemma4_text", own + R"("global_head_dim":32,"num_global_key_value_heads":1,)"
                                       R"("attention_k_eq_v":true)"));
  const ModelConfig saved =
      read(fields("gemma4_text", own + R"("attention_k_eq_v":true,"per_layer_config":)"
                                       R"({"00":{"head_dim":32,"num_key_value_heads":1},)"
                                       R"("3":{"head_dim":32,"num_key_value_heads":1}})"));
  for (const ModelConfig &config : {published, saved}) {
    // The last layer has no window, whatever is said.
    for (size_t i : {0, 3}) {
      EXPECT_EQ(config.layers[i].headDim, 32);
      EXPECT_EQ(config.layers[i].kvHeads, 1);
      EXPECT_EQ(config.layers[i].window, 0);
      EXPECT_TRUE(config.layers[i].keysAreValues);
    }
    EXPECT_EQ(config.layers[1].headDim, 16);
    EXPECT_EQ(config.layers[1].window, 8);
    EXPECT_FALSE(config.layers[1].keysAreValues);
    EXPECT_EQ(config.attentionScale, 1);
    EXPECT_EQ(config.rope.dims, 32);
    EXPECT_EQ(config.ropeLocal.dims, 16);
    EXPECT_EQ(config.rope.base, 1e6);
    EXPECT_EQ(config.rope.factors[3], 1);
    EXPECT_EQ(config.rope.factors[4], 1e30f);
  }
  // Without attention_k_eq_v the number of heads is one.
  EXPECT_EQ(
      read(fields("gemma4_text", own + R"("num_global_key_value_heads":1)")).layers[0].kvHeads,
      read(fields("gemma4_text", own + R"("global_head_dim":32)")).layers[1].kvHeads);
  read(fields("gemma4_unified_text", sizes + R"("use_bidirectional_attention":"vision")"));
  const std::pair<const char *, const char *> refusals[] = {
      {R"("use_bidirectional_attention":"all")", "attention in both directions"},
      {R"("enable_moe_block":true)", "a mixture of experts"},
      {R"("hidden_size_per_layer_input":8)", "'hidden_size_per_layer_input'"},
      {R"("num_kv_shared_layers":1)", "'num_kv_shared_layers'"},
      {R"("per_layer_config":{"1":{"sliding_window":4}})",
       "a layer with another 'sliding_window' ('per_layer_config') is not supported"}};
  for (const auto &[keys, words] : refusals)
    EXPECT_THAT(unsupported(fields("gemma4_unified_text", sizes + keys)), HasSubstr(words));
  EXPECT_THAT(unsupported(fields("gemma4_text", R"("head_dim":16)")),
              HasSubstr("embeddings that each layer reads"));
  EXPECT_THAT(refused(fields("gemma4_unified_text", sizes + R"("per_layer_config":{"4":{}})")),
              HasSubstr("'per_layer_config' is not numbers for some of the layers"));
}

TEST(HuggingFaceConfig, StableLm) {
  const ModelConfig plain = read(fields("stablelm"));
  EXPECT_TRUE(plain.family->layerNorms);
  EXPECT_FALSE(plain.qkvBias || plain.outputBias);
  EXPECT_EQ(plain.normEps, 1e-5);
  EXPECT_EQ(plain.rope.dims, 4); // a quarter of 16
  const ModelConfig other = read(fields("stablelm", R"("use_qkv_bias":true,"layer_norm_eps":0.5,)"
                                                    R"("rms_norm_eps":0.25)"));
  EXPECT_TRUE(other.qkvBias);
  EXPECT_EQ(other.normEps, 0.5);
  EXPECT_THAT(
      unsupported(fields("stablelm", R"("use_parallel_residual":true)")),
      HasSubstr("attention and FFN that read the same norm ('use_parallel_residual') are not "
                "supported: use a model whose FFN follows the attention"));
}

TEST(HuggingFaceConfig, EmbeddingScaleIsRoundedLikeTheModel) {
  auto scale = [](const char *dtype) {
    return read(R"("model_type":"gemma2","hidden_size":3072,"num_hidden_layers":1,)"
                R"("intermediate_size":8,"dtype":")" +
                std::string(dtype) + "\"")
        .embedScale;
  };
  EXPECT_EQ(scale("bfloat16"), 55.5); // as transformers' comment says
  EXPECT_EQ(scale("float32"), static_cast<double>(std::sqrt(3072.0f)));
}

TEST(HuggingFaceConfig, RefusesByName) {
  EXPECT_THAT(unsupported(fields("mamba")), HasSubstr("model_type 'mamba' is not supported"));
  EXPECT_THAT(
      unsupported(fields("llama", R"("hidden_act":"relu")")),
      HasSubstr(
          "activation 'relu' is not supported: use a model with silu, gelu or gelu_pytorch_tanh"));
  EXPECT_THAT(unsupported(fields("gemma2", R"("use_bidirectional_attention":true)")),
              HasSubstr("attention in both directions ('use_bidirectional_attention') is not "
                        "supported: use a causal model"));
  EXPECT_THAT(unsupported(fields("qwen2", R"("num_experts":4)")),
              HasSubstr("a mixture of experts is not supported: use a dense model"));
}

// One number of a config that is whole.
TEST(ModelConfig, RefusesNumbersByName) {
  const auto llama3 = [](RopeConfig &rope) {
    rope.scaling = RopeConfig::Scaling::Llama3;
    rope.factor = 2;
    rope.originalContext = 32;
  };
  const std::pair<const char *, std::function<void(ModelConfig &)>> cases[] = {
      {"has 1 rope factors for 8 rotated pairs",
       [](auto &c) { c.rope.scaling = RopeConfig::Scaling::Factors, c.rope.factors = {1}; }},
      {"rope scaling's original context is below 1",
       [&](auto &c) { llama3(c.rope), c.rope.originalContext = 0.5; }},
      {"rope scaling's high_freq_factor is not above its low_freq_factor",
       [&](auto &c) { llama3(c.rope), c.rope.highFreqFactor = c.rope.lowFreqFactor = 2; }},
      {"rope scaling's beta_fast is below its beta_slow",
       [&](auto &c) { llama3(c.rope), c.rope.betaFast = 1, c.rope.betaSlow = 2; }},
      {"rope scaling's mscale is not a finite number",
       [&](auto &c) { llama3(c.rope), c.rope.mscale = NAN; }},
      {"the norms' epsilon is 2.000000, not between 0 and 1", [](auto &c) { c.normEps = 2; }},
      {"the epsilon of norms of what attention and FFN give is -1.000000, not between 0 and 1",
       [](auto &c) { c.postNormEps = -1; }},
      {"the embedding's scale is 0.000000, not a number above 0",
       [](auto &c) { c.embedScale = 0; }},
  };
  for (const auto &[words, change] : cases) {
    ModelConfig config = read(fields("llama"));
    change(config);
    EXPECT_THAT(errorOf([&] { checkModelConfig(config, "c"); }, ExitCode::BadInput),
                HasSubstr(words));
  }
}

TEST(HuggingFaceConfig, RefusesNumbersOutOfRange) {
  auto with = [](const char *key, const char *value) {
    std::string text = fields("llama", R"("x":0)");
    const std::string name = std::string("\"") + key + "\":";
    size_t at = text.find(name) + name.size();
    return text.replace(at, text.find(',', at) - at, value);
  };
  for (const char *key : {"hidden_size", "num_hidden_layers", "num_attention_heads",
                          "num_key_value_heads", "intermediate_size", "vocab_size"})
    for (const char *value : {"0", "-1", "4000000000", "9223372036854775807",
                              "18446744073709551615", "1.5", "\"4\"", "[]", "{}", "true"})
      EXPECT_NE(refused(with(key, value)), "") << key << " " << value;
  EXPECT_THAT(refused(with("num_hidden_layers", "0")),
              HasSubstr("key 'num_hidden_layers' is 0, not between 1 and 1024"));
}

TEST(HuggingFaceConfig, RefusesDocuments) {
  auto document = [](const std::string &text) {
    return errorOf([&] { readHuggingFaceConfig(text, "config.json"); }, ExitCode::BadInput);
  };
  EXPECT_THAT(document(""), HasSubstr("config.json: byte 1: is not valid JSON"));
  EXPECT_THAT(document("[]"), HasSubstr("is not a JSON object"));
  EXPECT_THAT(document("{\"a\":" + std::string(100000, '[')), HasSubstr("nested deeper than 64"));
  EXPECT_THAT(document(R"({"a":1,"a":2})"), HasSubstr("key 'a' is there twice"));
  EXPECT_THAT(document(std::string("{}\0{}", 5)), HasSubstr("config.json: byte 3: is not valid"));
  EXPECT_THAT(document("{\"a\":1e999}"), HasSubstr("config.json"));
}

TEST(Json, LongListsTakeLinearTime) { // tokenizer.json has lists of 100,000 objects
  std::string text = "[";
  for (int i = 0; i < 50000; ++i)
    text += "{\"a\":[1]},";
  text.back() = ']';
  EXPECT_EQ(parseJson(text, "t.json").size(), 50000u); // minutes, with a parse callback
}

/// A GGUF file with these values and an embedding table of 100 x 64.
class GgufConfig : public testing::Test {
protected:
  GgufConfig() {
    set("llama.embedding_length", 64);
    set("llama.context_length", 128);
    set("llama.block_count", 3);
    set("llama.attention.head_count", 4);
    set("llama.feed_forward_length", 96);
  }
  void set(const std::string &key, uint32_t value) {
    values_.emplace_back([=](Bytes &b) { b.u32(key, value); });
  }
  void list(const std::string &key, std::vector<uint32_t> numbers) {
    values_.emplace_back([=](Bytes &b) {
      b.key(key, 9).put<uint32_t>(4).put<uint64_t>(numbers.size());
      for (uint32_t number : numbers)
        b.put(number);
    });
  }
  void text(const std::string &key, const std::string &value) {
    values_.emplace_back([=](Bytes &b) { b.key(key, 8).string(value); });
  }
  ModelConfig read(const std::string &arch = "llama") {
    bytes_ = Bytes();
    bytes_.header(table_ ? 2 : 1, values_.size() + 2).key("general.architecture", 8).string(arch);
    bytes_.key(arch + ".attention.layer_norm_rms_epsilon", 6).put(1e-5f);
    for (const auto &value : values_)
      value(bytes_);
    bytes_.tensor("token_embd.weight", {64, 100}, 1, 0);
    if (table_)
      bytes_.tensor(table_, {8}, 0, 64 * 100 * 2);
    bytes_.align().zeros(64 * 100 * 2 + 32);
    return readModelConfig(Checkpoint::of(GgufFile::parse(bytes_.data, "m.gguf")));
  }
  std::string refused(ExitCode code = ExitCode::BadInput, const std::string &arch = "llama") {
    return errorOf([&] { read(arch); }, code);
  }
  std::vector<std::function<void(Bytes &)>> values_;
  const char *table_ = nullptr; ///< another tensor, of 8 numbers

private:
  Bytes bytes_;
};

TEST_F(GgufConfig, Llama) {
  ModelConfig config = read();
  EXPECT_EQ(config.vocab, 100);
  EXPECT_EQ(config.headDim, 16);
  EXPECT_EQ(config.layers[2].kvHeads, 4);
  EXPECT_TRUE(config.tiedEmbeddings);
  EXPECT_TRUE(config.interleavedRope);
}

TEST_F(GgufConfig, NumbersPerLayer) {
  list("llama.attention.head_count_kv", {1, 2, 4});
  ModelConfig config = read();
  EXPECT_EQ(config.layers[0].kvHeads, 1);
  EXPECT_EQ(config.layers[2].kvHeads, 4);
}

TEST_F(GgufConfig, ListOfTheWrongLength) {
  list("llama.attention.head_count_kv", {1, 2});
  EXPECT_THAT(refused(), HasSubstr("has 2 entries for 3 layers"));
}

TEST_F(GgufConfig, HeadsThatDoNotDivide) {
  set("llama.attention.head_count_kv", 3);
  EXPECT_THAT(refused(), HasSubstr("4 heads, not a multiple of its 3"));
}

TEST_F(GgufConfig, RopeBeyondTheHead) {
  set("llama.rope.dimension_count", 18);
  EXPECT_THAT(refused(), HasSubstr("rotated features of a head is 18"));
}

TEST_F(GgufConfig, UnknownNames) {
  EXPECT_THAT(refused(ExitCode::Unsupported, "mamba"), HasSubstr("architecture 'mamba'"));
  text("llama.rope.scaling.type", "longrope");
  EXPECT_THAT(refused(ExitCode::Unsupported),
              HasSubstr("rope scaling 'longrope' without its tables ('rope_factors_long.weight')"));
}

TEST_F(GgufConfig, Scalings) {
  text("llama.rope.scaling.type", "yarn");
  table_ = "rope_freqs.weight";
  EXPECT_THAT(refused(ExitCode::Unsupported),
              HasSubstr("'rope_freqs.weight' together with another rope scaling is not supported"));
  values_.emplace_back([](Bytes &b) { b.key("llama.rope.scaling.yarn_ext_factor", 6).put(0.5f); });
  EXPECT_THAT(refused(ExitCode::Unsupported),
              HasSubstr("yarn with an extrapolation factor is not supported"));
}

TEST_F(GgufConfig, Experts) {
  set("llama.expert_count", 8);
  EXPECT_THAT(refused(ExitCode::Unsupported), HasSubstr("mixture of experts"));
}

TEST_F(GgufConfig, OtherTasks) {
  set("llama.pooling_type", 3);
  EXPECT_THAT(refused(ExitCode::Unsupported), HasSubstr("an embedding model"));
  values_.pop_back();
  table_ = "cls.weight";
  EXPECT_THAT(refused(ExitCode::Unsupported),
              HasSubstr("a classifier (tensor 'cls.*') is not supported: use a language model"));
}

TEST_F(GgufConfig, BothDirections) {
  values_.emplace_back([](Bytes &b) { b.key("llama.attention.causal", 7).put<uint8_t>(0); });
  EXPECT_THAT(refused(ExitCode::Unsupported), HasSubstr("'llama.attention.causal' is false"));
}

TEST_F(GgufConfig, ParallelResidual) {
  values_.emplace_back([](Bytes &b) { b.key("llama.use_parallel_residual", 7).put<uint8_t>(1); });
  EXPECT_THAT(
      refused(ExitCode::Unsupported),
      HasSubstr("attention and FFN that read the same norm ('use_parallel_residual') are not "
                "supported: use a model whose FFN follows the attention"));
}

TEST_F(GgufConfig, OtherHeadsAndLayers) {
  set("llama.attention.value_length", 24);
  EXPECT_THAT(refused(ExitCode::Unsupported),
              HasSubstr("'llama.attention.value_length' is 24, not 16"));
  set("llama.attention.shared_kv_layers", 2);
  EXPECT_THAT(refused(ExitCode::Unsupported), HasSubstr("'num_kv_shared_layers'"));
  set("llama.embedding_length_per_layer_input", 8);
  EXPECT_THAT(refused(ExitCode::Unsupported), HasSubstr("'hidden_size_per_layer_input'"));
}

TEST_F(GgufConfig, WithoutPositions) {
  for (const char *key : {"embedding_length", "context_length", "block_count",
                          "attention.head_count", "feed_forward_length"})
    set(std::string("granite.") + key, 16);
  values_.emplace_back(
      [](Bytes &b) { b.key("granite.rope.scaling.finetuned", 7).put<uint8_t>(0); });
  EXPECT_THAT(refused(ExitCode::Unsupported, "granite"),
              HasSubstr("a model without rotary positions ('granite.rope.scaling.finetuned' is "
                        "false) is not supported"));
}

TEST_F(GgufConfig, MissingKey) {
  EXPECT_THAT(refused(ExitCode::BadInput, "qwen2"), HasSubstr("no key 'qwen2.embedding_length'"));
}

} // namespace
