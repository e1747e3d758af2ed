//===- Forward.h - Interprets a graph --------------------------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Torch/Ops.h"
#include <functional>
#include <map>

namespace retort::exec {

/// The value that an op makes, a Split's first.
ValueId outputOf(const Op &op);

/// Runs a model's ops, all but the last, Logits: losses make logits a few rows at a time.
class Forward {
public:
  /// Called with each op that was run and its (first) result.
  using Watch = std::function<void(const Op &, const at::Tensor &)>;

  /// Throws Unsupported if the graph does not end in its only Logits, or its blocks are not a chain
  /// through single values.
  Forward(const Graph &graph, Weights &weights);

  /// The whole model: what Logits reads, [rows, hidden] of the type of activations. `atBlock`, if
  /// set, may replace a block's output.
  at::Tensor run(const Rows &rows,
                 const std::function<at::Tensor(size_t block, at::Tensor out)> &atBlock = {});

  /// Its parts, for work that goes block by block.
  at::Tensor enter(const Rows &rows); ///< the first block's input, [rows, hidden] float
  at::Tensor block(size_t index, const Rows &rows, at::Tensor in, const Watch &watch = {});
  at::Tensor leave(const Rows &rows, at::Tensor in);

  /// A run's values by ValueId, those that are still to be read.
  using Values = std::vector<at::Tensor>;
  /// Runs one op on `values`, for work that goes op by op.
  void op(size_t index, const Rows &rows, Values &values);

  const Logits &logits() const { return std::get<Logits>(graph_.ops.back()); }
  /// The parameters that ops [first, first + count) read.
  std::vector<ParamId> paramsOf(size_t first, size_t count) const;

private:
  void runOps(size_t first, size_t count, const Rows &rows, Values &values, const Watch &watch);
  at::Tensor runOp(const Op &op, const Rows &rows, Values &values);
  at::Tensor runSpan(size_t first, size_t count, const Rows &rows, ValueId inId, at::Tensor in,
                     ValueId out, const Watch &watch);
  const RopeTable &table(const Rope &op, const Rows &rows);

  const Graph &graph_;
  Weights &weights_;
  at::Tensor anchor_;
  std::vector<int32_t> lastUse_; ///< of each value: the index of the last op that reads it
  std::map<const Rope *, RopeTable> tables_;
  std::map<std::vector<double>, RopeTable> shared_; ///< equal ropes have one table
};

} // namespace retort::exec
