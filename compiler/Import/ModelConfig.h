//===- ModelConfig.h - What a checkpoint says of its model ------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "runtime/base/Activation.h"
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace retort {

/// Rotary embeddings of some layers; fields as in lm.rope and #lm.rope_scaling.
struct RopeConfig {
  enum class Scaling { None, Linear, Llama3, Yarn, Factors };
  double base = 10000;
  int64_t dims = 0; ///< features of a head that are rotated
  Scaling scaling = Scaling::None;
  double factor = 1;
  double originalContext = 0;
  double lowFreqFactor = 1, highFreqFactor = 4;
  double betaFast = 32, betaSlow = 1;
  double mscale = 0, mscaleAllDim = 0;
  std::optional<double> attentionFactor = std::nullopt;
  bool truncate = true;
  std::vector<double> factors = {}; ///< Factors: dims / 2 of them; `attentionFactor` may be set
};

/// Queries grow with their position: lm.rope's length_scale.
struct LengthScale {
  double factor = 0;
  double every = 0; ///< positions
};

/// Of a head whose rotated pairs are stored side by side, the row that is row `row` in half-split order:
/// the firsts of all pairs, then the seconds, then what is not rotated. `dims` are rotated.
inline int64_t pairedRow(int64_t row, int64_t dims) {
  const int64_t half = dims / 2;
  return row < half ? 2 * row : row < dims ? 2 * (row - half) + 1 : row;
}

struct Family;

/// What a model's IR is built from: its family's row and the numbers of one checkpoint, all
/// range-checked.
struct ModelConfig {
  /// One layer; pruned models have layers of different sizes.
  struct Layer {
    int64_t heads = 0, kvHeads = 0, headDim = 0, ffn = 0;
    int64_t window = 0;         ///< latest rows seen by attention; 0: all
    bool localRope = false;     ///< rotates by `ropeLocal`
    bool rotates = true;        ///< query and key are rotated at all
    double ropeBase = 0;        ///< in place of the rope's; 0: as that
    bool keysAreValues = false; ///< before norms and rope: values have no weights of their own
  };

  const Family *family = nullptr; ///< never null once read
  std::string name;               ///< the model's own name; may be empty
  int64_t hidden = 0, vocab = 0, context = 0;
  int64_t headDim = 0; ///< of layers that have no other
  std::vector<Layer> layers;
  Activation activation = Activation::Silu;

  double normEps = 1e-6;
  double postNormEps = 1e-6; ///< of norms of what attention and FFN give
  bool normOffset = false;   ///< gains are stored as w, meaning 1 + w

  double embedScale = 1;
  double queryFactor = 1;    ///< multiplies queries, after a norm of heads without gains
  double residualScale = 1;  ///< multiplies what attention and FFN add to the stream
  double logitScale = 1;     ///< multiplies logits before the soft cap
  double attentionScale = 0; ///< multiplies scores before the soft cap
  std::optional<double> attentionSoftCap, logitSoftCap;
  RopeConfig rope, ropeLocal;
  std::optional<LengthScale> lengthScale;
  /// Query and key rows are stored with each rotated pair side by side.
  bool interleavedRope = false;

  bool tiedEmbeddings = false;
  bool qkvBias = false, outputBias = false, ffnBias = false;
};

} // namespace retort
