//===- Forward.cpp - Interprets a graph -------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Forward.h"
#include "compiler/Torch/Checks.h"
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

namespace retort::exec {
using at::Tensor;

namespace {
/// A block of which autograd keeps the input only.
struct RecomputedBlock : torch::autograd::Function<RecomputedBlock> {
  static Tensor forward(torch::autograd::AutogradContext *ctx, const Tensor &in, Forward *forward,
                        int64_t block, const Rows *rows) {
    ctx->save_for_backward({in});
    ctx->saved_data["forward"] = reinterpret_cast<int64_t>(forward);
    ctx->saved_data["block"] = block;
    ctx->saved_data["rows"] = reinterpret_cast<int64_t>(rows);
    return forward->block(size_t(block), *rows, in);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *ctx,
                                                 torch::autograd::variable_list grads) {
    auto *forward = reinterpret_cast<Forward *>(ctx->saved_data["forward"].toInt());
    const auto *rows = reinterpret_cast<const Rows *>(ctx->saved_data["rows"].toInt());
    const at::AutoGradMode grad(true);
    const Tensor in = ctx->get_saved_variables()[0].detach().requires_grad_(true);
    forward->block(size_t(ctx->saved_data["block"].toInt()), *rows, in).backward(grads[0]);
    return {in.grad(), Tensor(), Tensor(), Tensor()};
  }
};
} // namespace

Forward::Forward(const Graph &graph, Weights &weights)
    : graph_(graph), weights_(weights), lastUse_(graph.features.size(), -1) {
  checkModel(graph);
  for (size_t i = 0; i < graph.nodes.size(); ++i)
    for (const ValueId value : graph.nodes[i].ins)
      lastUse_[size_t(value)] = int32_t(i);
}

void Forward::compute(size_t index, const Rows &rows, Values &values) {
  const Node &node = graph_.nodes[index];
  std::vector<Tensor> results = evaluate({node, rows, weights_, ropes_, values});
  for (size_t i = 0; i < results.size(); ++i)
    values[size_t(node.outs[i])] = std::move(results[i]);
}

void Forward::node(size_t index, const Rows &rows, Values &values, const Watch &watch) {
  compute(index, rows, values);
  if (watch)
    watch(graph_.nodes[index], values);
  for (const ValueId value : graph_.nodes[index].ins)
    if (lastUse_[size_t(value)] == int32_t(index))
      values[size_t(value)] = Tensor();
}

void Forward::runNodes(size_t first, size_t count, const Rows &rows, Values &values,
                       const Watch &watch) {
  for (size_t i = first; i < first + count; ++i)
    node(i, rows, values, watch);
}

Tensor Forward::runSpan(size_t first, size_t count, const Rows &rows, ValueId inId, Tensor in,
                        ValueId out, const Watch &watch) {
  Values values(graph_.features.size());
  if (inId != kNone)
    values[size_t(inId)] = std::move(in);
  runNodes(first, count, rows, values, watch);
  return values[size_t(out)];
}

Tensor Forward::enter(const Rows &rows) {
  const size_t end =
      graph_.blocks.empty() ? graph_.nodes.size() - 1 : size_t(graph_.blocks.front().firstNode);
  const ValueId out = graph_.blocks.empty() ? logits().ins[0] : graph_.blocks.front().in;
  return runSpan(0, end, rows, kNone, {}, out, {});
}

Tensor Forward::block(size_t index, const Rows &rows, Tensor in, const Watch &watch) {
  const Block &block = graph_.blocks[index];
  return runSpan(size_t(block.firstNode), size_t(block.numNodes), rows, block.in, std::move(in),
                 block.out, watch);
}

Tensor Forward::leave(const Rows &rows, Tensor in) {
  if (graph_.blocks.empty())
    return in;
  const Block &last = graph_.blocks.back();
  const size_t first = size_t(last.firstNode + last.numNodes);
  return runSpan(first, graph_.nodes.size() - 1 - first, rows, last.out, std::move(in),
                 logits().ins[0], {});
}

Tensor Forward::run(const Rows &rows,
                    const std::function<Tensor(size_t block, Tensor out)> &atBlock,
                    bool recompute) {
  Tensor x = enter(rows);
  for (size_t b = 0; b < graph_.blocks.size(); ++b) {
    x = recompute ? RecomputedBlock::apply(x, this, int64_t(b), &rows)
                  : block(b, rows, std::move(x));
    if (atBlock)
      x = atBlock(b, x);
  }
  return leave(rows, std::move(x)).to(weights_.type());
}

void Forward::every(const Rows &rows, const Watch &watch) {
  Values values(graph_.features.size());
  runNodes(0, graph_.nodes.size(), rows, values, watch);
}

Head Forward::head(const Tensor &hidden) {
  return {hidden, weights_.get(logits().param("weight")).value,
          float(logits().number("soft_cap", 0))};
}

} // namespace retort::exec
