//===- ConfigCheck.cpp - The ranges of a model's numbers ------------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Ranges are wide enough for any model of these families and small enough that no product of a few
// of them overflows 63 bits.
//
//===----------------------------------------------------------------------===//
#include "compiler/Checkpoint/Cursor.h"
#include "compiler/Import/Config.h"
#include <algorithm>
#include <cmath>
#include <filesystem>

namespace retort {
namespace {

constexpr int64_t kMaxHidden = 1 << 17, kMaxFfn = 1 << 20, kMaxVocab = 1 << 23;
constexpr int64_t kMaxHeads = 1 << 12, kMaxHeadDim = 1 << 12;
constexpr int64_t kMaxContext = int64_t(1) << 28;

class Checker {
public:
  explicit Checker(const std::string &where) : where_(where) {}

  [[noreturn]] void refuse(const std::string &what) const {
    fail(ExitCode::BadInput, where_ + ": " + what + ": the file is damaged or not a model's");
  }
  void range(const std::string &what, int64_t value, int64_t low, int64_t high) const {
    if (value < low || value > high)
      refuse(what + " is " + std::to_string(value) + ", not between " + std::to_string(low) +
             " and " + std::to_string(high));
  }
  void positive(const std::string &what, double value) const {
    if (!std::isfinite(value) || value <= 0)
      refuse(what + " is " + std::to_string(value) + ", not a number above 0");
  }

  void rope(const std::string &what, const RopeConfig &rope, int64_t headDim) const {
    positive(what + "rope base", rope.base);
    range(what + "rotated features of a head", rope.dims, 2, headDim);
    if (rope.dims % 2 != 0)
      refuse(what + "rotated features of a head are " + std::to_string(rope.dims) +
             ", an odd number");
    if (rope.scaling == RopeConfig::Scaling::None)
      return;
    if (rope.scaling == RopeConfig::Scaling::Factors) {
      if (static_cast<int64_t>(rope.factors.size()) != rope.dims / 2)
        refuse("has " + std::to_string(rope.factors.size()) + " rope factors for " +
               std::to_string(rope.dims / 2) + " rotated pairs");
      for (double factor : rope.factors)
        positive("a rope factor", factor);
      if (rope.attentionFactor)
        positive("the rope factors' attention factor", *rope.attentionFactor);
      return;
    }
    positive(what + "rope scaling factor", rope.factor);
    if (rope.scaling == RopeConfig::Scaling::Linear)
      return;
    positive(what + "rope scaling's original context", rope.originalContext);
    if (rope.originalContext < 1)
      refuse(what + "rope scaling's original context is below 1");
    positive(what + "rope scaling's low_freq_factor", rope.lowFreqFactor);
    positive(what + "rope scaling's high_freq_factor", rope.highFreqFactor);
    positive(what + "rope scaling's beta_fast", rope.betaFast);
    positive(what + "rope scaling's beta_slow", rope.betaSlow);
    if (rope.highFreqFactor <= rope.lowFreqFactor)
      refuse(what + "rope scaling's high_freq_factor is not above its low_freq_factor");
    if (rope.betaFast < rope.betaSlow)
      refuse(what + "rope scaling's beta_fast is below its beta_slow");
    if (!std::isfinite(rope.mscale) || !std::isfinite(rope.mscaleAllDim))
      refuse(what + "rope scaling's mscale is not a finite number");
    if (rope.attentionFactor)
      positive(what + "rope scaling's attention factor", *rope.attentionFactor);
  }

  void lengthScale(const LengthScale &scale, const ModelConfig &config) const {
    if (!std::isfinite(scale.factor) || scale.factor < 0)
      refuse("the scale of queries grows by " + std::to_string(scale.factor) +
             ", not by a number of at least 0");
    if (scale.every != std::floor(scale.every) || scale.every < 1 ||
        scale.every > static_cast<double>(kMaxContext))
      refuse("the scale of queries grows every " + std::to_string(scale.every) +
             " positions, not every whole number of them");
    if (config.rope.dims != config.headDim)
      refuse("scales queries by their position but rotates " + std::to_string(config.rope.dims) +
             " of a head's " + std::to_string(config.headDim) + " features");
  }

private:
  const std::string &where_;
};

} // namespace

void checkModelConfig(const ModelConfig &config, const std::string &where) {
  Checker check(where);
  check.range("the hidden size", config.hidden, 1, kMaxHidden);
  check.range("the vocabulary's size", config.vocab, 1, kMaxVocab);
  check.range("the context length", config.context, 1, kMaxContext);
  bool anyLocal = false;
  int64_t headDim = kMaxHeadDim, localHeadDim = kMaxHeadDim; // the least that each rope turns
  for (size_t i = 0; i < config.layers.size(); ++i) {
    const ModelConfig::Layer &layer = config.layers[i];
    const std::string in = " of layer " + std::to_string(i);
    check.range("the number of heads" + in, layer.heads, 1, kMaxHeads);
    check.range("the number of key/value heads" + in, layer.kvHeads, 1, layer.heads);
    if (layer.heads % layer.kvHeads != 0)
      check.refuse("layer " + std::to_string(i) + " has " + std::to_string(layer.heads) +
                   " heads, not a multiple of its " + std::to_string(layer.kvHeads) +
                   " key/value heads");
    check.range("the head size" + in, layer.headDim, 2, kMaxHeadDim);
    int64_t &least = layer.localRope ? localHeadDim : headDim;
    least = std::min(least, layer.headDim);
    check.range("the FFN size" + in, layer.ffn, 1, kMaxFfn);
    check.range("the attention window" + in, layer.window, 0, kMaxContext);
    if (layer.ropeBase != 0)
      check.positive("the rope base" + in, layer.ropeBase);
    anyLocal |= layer.localRope;
  }
  if (!std::isfinite(config.normEps) || config.normEps < 0 || config.normEps > 1)
    check.refuse("the norms' epsilon is " + std::to_string(config.normEps) +
                 ", not between 0 and 1");
  if (!std::isfinite(config.postNormEps) || config.postNormEps < 0 || config.postNormEps > 1)
    check.refuse("the epsilon of norms of what attention and FFN give is " +
                 std::to_string(config.postNormEps) + ", not between 0 and 1");
  check.positive("the embedding's scale", config.embedScale);
  check.positive("the queries' scale", config.queryFactor);
  check.positive("the attention's scale", config.attentionScale);
  check.positive("the residuals' scale", config.residualScale);
  check.positive("the logits' scale", config.logitScale);
  if (config.attentionSoftCap)
    check.positive("the attention's soft cap", *config.attentionSoftCap);
  if (config.logitSoftCap)
    check.positive("the logits' soft cap", *config.logitSoftCap);
  check.rope("", config.rope, headDim);
  if (config.lengthScale)
    check.lengthScale(*config.lengthScale, config);
  if (anyLocal)
    check.rope("local ", config.ropeLocal, localHeadDim);
}

ModelConfig readModelConfig(const Checkpoint &checkpoint) {
  const std::string where =
      checkpoint.gguf() ? checkpoint.path() : checkpoint.path() + "/config.json";
  ModelConfig config = checkpoint.gguf() ? readGgufConfig(checkpoint)
                                         : readHuggingFaceConfig(checkpoint.configJson(), where);
  std::error_code ignored;
  if (!checkpoint.gguf() && std::filesystem::exists(checkpoint.path() + "/modules.json", ignored))
    fail(ExitCode::Unsupported, checkpoint.path() + ": is an embedding model ('modules.json'), not "
                                                    "a language model");
  // A window that reaches over the whole context is none.
  for (ModelConfig::Layer &layer : config.layers)
    if (layer.window >= config.context)
      layer.window = 0;
  checkModelConfig(config, where);
  return config;
}

} // namespace retort
