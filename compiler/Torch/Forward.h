//===- Forward.h - Interprets a graph --------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Torch/Loss.h"
#include "compiler/Torch/Ops.h"
#include <functional>

namespace retort::exec {

/// Runs a model's nodes. The last, Logits, is left to losses, which make logits a few rows at a
/// time, but for every().
class Forward {
public:
  /// Called with each node that was run, and the values then.
  using Watch = std::function<void(const Node &, const Values &)>;

  /// Throws Unsupported if the graph does not end in its only Logits, or its blocks are not a chain
  /// through single values.
  Forward(const Graph &graph, Weights &weights);

  /// The whole model: what Logits reads, [rows, hidden] of the type of activations. `atBlock`, if
  /// set, may replace a block's output. With `recompute` the backward pass runs each block again.
  at::Tensor run(const Rows &rows,
                 const std::function<at::Tensor(size_t block, at::Tensor out)> &atBlock = {},
                 bool recompute = false);

  /// Its parts, for work that goes block by block.
  at::Tensor enter(const Rows &rows); ///< the first block's input, [rows, hidden] float
  at::Tensor block(size_t index, const Rows &rows, at::Tensor in, const Watch &watch = {});
  at::Tensor leave(const Rows &rows, at::Tensor in);

  /// All nodes, Logits too.
  void every(const Rows &rows, const Watch &watch);

  /// Runs one node on `values`, for work that goes node by node; node() also drops what no later
  /// node reads, once `watch` has seen it.
  void compute(size_t index, const Rows &rows, Values &values);
  void node(size_t index, const Rows &rows, Values &values, const Watch &watch = {});

  /// What makes logits of what run() gives.
  Head head(const at::Tensor &hidden);
  const Node &logits() const { return graph_.nodes.back(); }

private:
  void runNodes(size_t first, size_t count, const Rows &rows, Values &values, const Watch &watch);
  at::Tensor runSpan(size_t first, size_t count, const Rows &rows, ValueId inId, at::Tensor in,
                     ValueId out, const Watch &watch);

  const Graph &graph_;
  Weights &weights_;
  std::vector<int32_t> lastUse_; ///< of each value: the index of the last node that reads it
  RopeTables ropes_;
};

} // namespace retort::exec
