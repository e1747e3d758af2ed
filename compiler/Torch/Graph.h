//===- Graph.h - A model as plain data, for the executor --------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
//
// What lies between MLIR and libtorch, which share no header: FromIR.h makes a Graph of an
// lm.model, Executor.h runs it. Each struct is the lm op of its name (docs/reference/lm-dialect.md
// says what they compute); values are numbered, and an op's inputs come before it.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "runtime/base/Activation.h"
#include "runtime/base/NumberFormat.h"
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace retort::exec {

/// The number of a value: an activation of rows x features.
using ValueId = int32_t;
/// An index into Graph::params, or kNone.
using ParamId = int32_t;
constexpr int32_t kNone = -1;

/// A parameter: a matrix of rows x cols, or a vector (rows = 1).
struct Param {
  std::string name;
  int64_t rows = 1;
  int64_t cols = 0;
  bool isVector = false;
  NumberFormat format; ///< if quantised: its values are read as float all the same
  int64_t elements() const { return rows * cols; }
  bool operator==(const Param &) const = default;
};

struct Embed {
  ValueId out;
  ParamId weight;
  double scale = 1;
};
struct Norm {
  ValueId in, out;
  ParamId weight;
  double eps = 1e-5;
  int64_t groups = 1;
  bool offset = false;
};
struct Linear {
  ValueId in, out;
  ParamId weight, bias = kNone;
};
struct Split {
  ValueId in;
  std::vector<ValueId> outs;
  std::vector<int64_t> sizes; ///< features of each result
};
struct Rope {
  ValueId in, out;
  int64_t heads, dims;
  std::vector<double> inverseFrequencies; ///< [dims / 2] radians per position, scaling applied
  double amplitude = 1;
};
struct Attention {
  ValueId query, key, value, out;
  int64_t heads, kvHeads;
  double scale;
  std::optional<int64_t> window; ///< rows seen, the row itself included
  std::optional<double> softCap;
  /// How a compiled model keeps keys and values. What needs no gradient (logits, scores,
  /// observations) rounds them so; training does not.
  CacheFormat cache = CacheFormat::F32;
};
struct Glu {
  ValueId gate, up, out;
  Activation act = Activation::Silu;
};
struct Residual {
  ValueId stream, output, out;
};
struct Logits {
  ValueId in, out;
  ParamId weight;
  std::optional<double> softCap;
};

using Op = std::variant<Embed, Norm, Linear, Split, Rope, Attention, Glu, Residual, Logits>;

/// A transformer layer: ops[firstOp, firstOp + numOps), which read `in` and make `out`.
struct Block {
  std::string label; ///< "blk.N", N as in the teacher
  int32_t firstOp = 0, numOps = 0;
  ValueId in = kNone, out = kNone;
};

/// A model. Ops before the first block make its input, those after the last one end in Logits.
struct Graph {
  std::string name;   ///< the lm.model's symbol
  std::string family; ///< as in the checkpoint
  int64_t context = 0, vocab = 0, hidden = 0;
  /// After vocabulary pruning: this model's token i is the teacher's token vocabKept[i]. Else
  /// empty.
  std::vector<int32_t> vocabKept;
  std::vector<Param> params;
  std::vector<Op> ops;
  std::vector<Block> blocks;
  int32_t numValues = 0;
};

} // namespace retort::exec
