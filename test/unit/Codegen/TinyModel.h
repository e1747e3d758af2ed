//===- TinyModel.h - Small random models for tests of emitted programs -*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Weights/Pack.h"
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace retort::test {

/// A layer: every one may have a shape and a format of its own.
struct LayerSpec {
  int64_t heads = 2, kvHeads = 1, ffn = 48;
  std::optional<int64_t> window;
  NumberFormat format;   ///< of the layer's matrices
  bool attention = true; ///< absent attention: only the feed-forward part
  bool feedForward = true;
};

struct ModelSpec {
  int64_t vocab = 70, hidden = 64, headDim = 32;
  std::vector<LayerSpec> layers;
  NumberFormat embedding; ///< of the token table, and the output matrix where it is another
  bool tied = true;
  bool bias = false;       ///< of q, k, v (Qwen2)
  bool headNorm = false;   ///< q/k norm (Qwen3, Gemma 3)
  bool postNorm = false;   ///< norms after attention and feed-forward (Gemma)
  bool normOffset = false; ///< gain is 1 + w (Gemma)
  bool layerNorm = false;  ///< layer norms instead of RMS norms (StableLM)
  std::string act = "silu";
  double embeddingScale = 1.0, ropeBase = 1e4;
  std::optional<double> attentionCap, logitsCap;
  std::string ropeScaling; ///< text after `scaling`, or empty
  int64_t ropeDims = 0;    ///< rotated features of a head; 0: all
  std::string cache = "f32";
  unsigned seed = 1;
};

/// A parameter: rows x cols (cols 0: a vector) of random values that its format stores exactly.
struct Tensor {
  int64_t rows = 0, cols = 0;
  NumberFormat format;
  std::vector<float> values;
};

using Tensors = std::map<std::string, Tensor>;

/// The parameters that `spec` has, filled from its seed.
Tensors makeTensors(const ModelSpec &spec);

/// The model as lm IR.
std::string modelText(const ModelSpec &spec, const Tensors &tensors);

/// What plain loops make of one sequence. Products with integer weights round their input to int8
/// as the kernels do.
struct Expected {
  std::vector<float> logits; ///< of every row, [tokens][vocab]
  /// How near an activation came to the middle between two int8 codes, in codes. Codes have 7
  /// bits before the point, so below 3e-5 another order of the same sums may round one the other
  /// way, which moves logits by hundredths.
  float nearestTie = 0.5f;
};
Expected expectedOf(const ModelSpec &spec, const Tensors &tensors,
                    const std::vector<int32_t> &tokens);

} // namespace retort::test
