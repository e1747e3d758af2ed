//===- Forward.cpp - Interprets a graph -------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Forward.h"
#include <ATen/Functions.h>
#include <algorithm>

namespace retort::exec {
namespace {
using at::Tensor;

template <typename... Cases> struct Match : Cases... {
  using Cases::operator()...;
};
template <typename... Cases> Match(Cases...) -> Match<Cases...>;

std::vector<ValueId> inputs(const Op &op) {
  return std::visit(
      Match{[](const Embed &) { return std::vector<ValueId>{}; },
            [](const Attention &o) { return std::vector<ValueId>{o.query, o.key, o.value}; },
            [](const Glu &o) { return std::vector<ValueId>{o.gate, o.up}; },
            [](const Residual &o) { return std::vector<ValueId>{o.stream, o.output}; },
            [](const auto &o) { return std::vector<ValueId>{o.in}; }},
      op);
}
} // namespace

ValueId outputOf(const Op &op) {
  return std::visit(Match{[](const Split &o) { return o.outs.empty() ? kNone : o.outs[0]; },
                          [](const auto &o) { return o.out; }},
                    op);
}

Forward::Forward(const Graph &graph, Weights &weights)
    : graph_(graph), weights_(weights), lastUse_(size_t(graph.numValues), -1) {
  const std::string name = "model '" + graph.name + "': ";
  size_t numLogits = 0;
  for (size_t i = 0; i < graph.ops.size(); ++i) {
    numLogits += std::holds_alternative<Logits>(graph.ops[i]);
    for (const ValueId value : inputs(graph.ops[i]))
      lastUse_[size_t(value)] = int32_t(i);
  }
  if (numLogits != 1 || !std::holds_alternative<Logits>(graph.ops.back()))
    fail(ExitCode::Unsupported, name + "it does not end in its only lm.logits");
  for (size_t b = 1; b < graph.blocks.size(); ++b)
    if (graph.blocks[b].in != graph.blocks[b - 1].out ||
        graph.blocks[b].firstOp != graph.blocks[b - 1].firstOp + graph.blocks[b - 1].numOps)
      fail(ExitCode::Unsupported,
           name + "block '" + graph.blocks[b].label + "' does not read the block before it");
  anchor_ = at::zeros({1}, at::kFloat).requires_grad_();
}

std::vector<ParamId> Forward::paramsOf(size_t first, size_t count) const {
  std::vector<ParamId> params;
  for (size_t i = first; i < first + count; ++i)
    std::visit(Match{[&](const Linear &o) {
                       params.push_back(o.weight);
                       if (o.bias != kNone)
                         params.push_back(o.bias);
                     },
                     [&](const Embed &o) { params.push_back(o.weight); },
                     [&](const Norm &o) { params.push_back(o.weight); },
                     [&](const Logits &o) { params.push_back(o.weight); }, [](const auto &) {}},
               graph_.ops[i]);
  return params;
}

const RopeTable &Forward::table(const Rope &op, const Rows &rows) {
  const int64_t need = rows.maxPosition() + 1;
  RopeTable &own = tables_[&op];
  if (own.cosines.defined() && own.cosines.size(0) >= need)
    return own;
  std::vector<double> key = op.inverseFrequencies;
  key.push_back(op.amplitude);
  RopeTable &common = shared_[key];
  if (!common.cosines.defined() || common.cosines.size(0) < need)
    common = ropeTable(op, need);
  return own = common;
}

Tensor Forward::runOp(const Op &op, const Rows &rows, Values &values) {
  auto at = [&](ValueId id) -> const Tensor & { return values[size_t(id)]; };
  return std::visit(
      Match{
          [&](const Embed &o) { return embed(o, rows, weights_.get(o.weight), anchor_); },
          [&](const Norm &o) { return norm(o, at(o.in), weights_.get(o.weight), weights_.type()); },
          [&](const Linear &o) {
            return linear(at(o.in), weights_.get(o.weight),
                          o.bias == kNone ? nullptr : &weights_.get(o.bias));
          },
          [&](const Split &o) {
            int64_t first = 0;
            for (size_t i = 0; i < o.outs.size(); ++i) {
              values[size_t(o.outs[i])] = at(o.in).narrow(1, first, o.sizes[i]).contiguous();
              first += o.sizes[i];
            }
            return values[size_t(o.outs[0])];
          },
          [&](const Rope &o) { return rope(o, at(o.in), rows, table(o, rows)); },
          [&](const Attention &o) {
            return attention(o, at(o.query), at(o.key), at(o.value), rows);
          },
          [&](const Glu &o) { return glu(o, at(o.gate), at(o.up)); },
          [&](const Residual &o) { return residual(at(o.stream), at(o.output)); },
          [&](const Logits &) { return Tensor(); }},
      op);
}

void Forward::op(size_t index, const Rows &rows, Values &values) {
  const Op &op = graph_.ops[index];
  values[size_t(outputOf(op))] = runOp(op, rows, values);
  for (const ValueId value : inputs(op))
    if (lastUse_[size_t(value)] == int32_t(index))
      values[size_t(value)] = Tensor();
}

void Forward::runOps(size_t first, size_t count, const Rows &rows, Values &values,
                     const Watch &watch) {
  for (size_t i = first; i < first + count; ++i) {
    op(i, rows, values);
    if (watch)
      watch(graph_.ops[i], values[size_t(outputOf(graph_.ops[i]))]);
  }
}

Tensor Forward::runSpan(size_t first, size_t count, const Rows &rows, ValueId inId, Tensor in,
                        ValueId out, const Watch &watch) {
  Values values(size_t(graph_.numValues));
  if (inId != kNone)
    values[size_t(inId)] = std::move(in);
  runOps(first, count, rows, values, watch);
  return values[size_t(out)];
}

Tensor Forward::enter(const Rows &rows) {
  const size_t end =
      graph_.blocks.empty() ? graph_.ops.size() - 1 : size_t(graph_.blocks.front().firstOp);
  const ValueId out = graph_.blocks.empty() ? logits().in : graph_.blocks.front().in;
  return runSpan(0, end, rows, kNone, {}, out, {});
}

Tensor Forward::block(size_t index, const Rows &rows, Tensor in, const Watch &watch) {
  const Block &block = graph_.blocks[index];
  return runSpan(size_t(block.firstOp), size_t(block.numOps), rows, block.in, std::move(in),
                 block.out, watch);
}

Tensor Forward::leave(const Rows &rows, Tensor in) {
  if (graph_.blocks.empty())
    return in;
  const Block &last = graph_.blocks.back();
  const size_t first = size_t(last.firstOp + last.numOps);
  return runSpan(first, graph_.ops.size() - 1 - first, rows, last.out, std::move(in), logits().in,
                 {});
}

Tensor Forward::run(const Rows &rows,
                    const std::function<Tensor(size_t block, Tensor out)> &atBlock) {
  Tensor x = enter(rows);
  for (size_t b = 0; b < graph_.blocks.size(); ++b) {
    x = block(b, rows, std::move(x));
    if (atBlock)
      x = atBlock(b, x);
  }
  return leave(rows, std::move(x)).to(weights_.type());
}

} // namespace retort::exec
