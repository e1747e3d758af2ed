//===- Structure.h - A model's IR as a family's numbers ---------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// The inverse of compiler/Import: the configuration whose import gives a model, for formats that hold a
// configuration and not a computation. That it does so is not promised here: firstDifference() of the
// model and of what an export is imported as proves it.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "compiler/Import/ModelConfig.h"
#include "dialects/LM/LMOps.h"
#include <map>
#include <string>
#include <vector>

namespace retort {

/// Rows of a parameter of a bundle, under a name that checkpoints have.
struct ExportedTensor {
  std::string name;  ///< the IR's, which is GGUF's: "blk.0.attn_q.weight"
  std::string param; ///< the bundle's: "blk.0.attn_qkv.weight"
  int64_t begin = 0; ///< first row of it
  std::vector<int64_t> shape;
  /// Of norms, by which rows are multiplied: stored whole, or less one. Other tensors: NoGain.
  enum Gain { NoGain, Whole, LessOne } gain = NoGain;
  int64_t heads = 0; ///< its rows are those of so many heads, which rotary embeddings may turn
};

struct ExportedModel {
  ModelConfig config;
  std::vector<ExportedTensor> tensors; ///< the embedding first, then block by block
  /// What each rotated pair's frequency is divided by; empty: 1.
  std::vector<double> ropeFactors;
};

/// Products that a pass fused are parted again, under the names that import gives them. Returns where the
/// parts' parameters come from; `model` has no such parameters, so it verifies no more.
std::map<std::string, ExportedTensor> unfuse(lm::ModelOp model);

/// The numbers of a model after unfuse(). Throws Error (Unsupported): the first thing in which it differs
/// from every model of its family, such as layers of several widths.
ExportedModel structureOf(lm::ModelOp model, const std::map<std::string, ExportedTensor> &parts);

/// The first difference between two computations, for people ("blk.3: lm.attention: window is 8, not
/// none"); empty: they are the same up to the format of keys and values, to whether gains are stored less
/// one, and to a millionth in each number.
std::string firstDifference(lm::ForwardOp a, lm::ForwardOp b);

} // namespace retort
