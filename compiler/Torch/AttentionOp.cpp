//===- AttentionOp.cpp - Causal attention within documents, with gradients --------===//
// SPDX-License-Identifier: Apache-2.0
//
// Runs of query rows against the keys that any of them sees: matrix products, softmax
// with each row's own range of keys between them. Documents and windows only change the ranges.
// The query heads of a key/value head are stacked, so the products are a batch of kv_heads.
// Nothing but log(sum(exp(score))) is kept of the scores: backward makes them again, as in
// FlashAttention (arXiv:2205.14135, section 3.1).
//
//===------------------------------------------------------------------------------===//
#include "compiler/Torch/Ops.h"
#include "compiler/Torch/Parallel.h"
#include "compiler/Torch/Products.h"
#include <algorithm>
#include <torch/csrc/autograd/custom_function.h>

namespace retort::exec {
namespace {
using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

/// Shapes of one attention, and the cut of its rows.
struct Plan {
  const Rows &rows;
  int64_t count, heads, kvHeads, group, headDim, step;
  int64_t window; ///< rows seen, the row itself included; 0: all
  ScoreRule rule;

  Plan(const Node &op, const Rows &rows, int64_t features)
      : rows(rows), count(rows.count()), heads(op.integer("heads")),
        kvHeads(op.integer("kv_heads")), group(heads / kvHeads), headDim(features / heads),
        step(std::clamp<int64_t>(384 / group, 64, 256)), window(int64_t(op.number("window", 0))),
        rule{float(op.number("scale")), float(op.number("soft_cap", 0)), kNoSink} {}

  /// The first key that a row sees.
  int64_t firstKey(int64_t row) const {
    const int64_t start = rows.documentStart(row);
    return window ? std::max(start, row - window + 1) : start;
  }
  /// The first key that one of rows [begin, ...) sees: first keys never decrease.
  int64_t firstKeyOf(int64_t begin) const { return firstKey(begin); }
};

/// [rows, heads * headDim] -> [kv_heads, rows, headDim], contiguous.
Tensor byHead(const Tensor &features, int64_t heads) {
  return features.view({features.size(0), heads, -1}).permute({1, 0, 2}).contiguous();
}

/// Rows [begin, end) of queries -> [kv_heads, group * n, headDim], a head's rows together.
Tensor stack(const Plan &plan, const Tensor &features, int64_t begin, int64_t end) {
  const int64_t n = end - begin;
  return features.narrow(0, begin, n)
      .view({n, plan.kvHeads, plan.group, plan.headDim})
      .permute({1, 2, 0, 3})
      .reshape({plan.kvHeads, plan.group * n, plan.headDim});
}
/// The inverse, into rows [begin, end) of `features`.
void unstack(const Plan &plan, const Tensor &stacked, const Tensor &features, int64_t begin,
             int64_t end) {
  const int64_t n = end - begin;
  features.narrow(0, begin, n)
      .view({n, plan.kvHeads, plan.group, plan.headDim})
      .copy_(stacked.view({plan.kvHeads, plan.group, n, plan.headDim}).permute({2, 0, 1, 3}));
}

/// Calls work(index of the score row, its query row, its head) for the rows of a stack.
template <typename Work>
void forScoreRows(const Plan &plan, int64_t begin, int64_t end, int64_t keys, const Work &work) {
  const int64_t n = end - begin;
  parallel(plan.heads * n, kGrain / keys + 1, [&](int64_t first, int64_t last) {
    for (int64_t r = first; r < last; ++r)
      work(r, begin + r % n, r / n);
  });
}

struct AttentionFunction : Function<AttentionFunction> {
  /// `sinks` [heads], or null.
  static Tensor forward(AutogradContext *ctx, const Tensor &query, const Tensor &key,
                        const Tensor &value, Weight *sinks, const Node *op, const Rows *rows) {
    const Plan plan(*op, *rows, query.size(1));
    const Tensor keys = byHead(key, plan.kvHeads), values = byHead(value, plan.kvHeads);
    Tensor out = at::empty_like(query);
    const Tensor logSums = at::empty({plan.heads, plan.count}, at::kFloat);
    for (int64_t begin = 0; begin < plan.count; begin += plan.step) {
      const int64_t end = std::min(plan.count, begin + plan.step), lo = plan.firstKeyOf(begin);
      const Tensor seen = keys.narrow(1, lo, end - lo);
      const Tensor scores = product(stack(plan, query, begin, end), seen.transpose(1, 2));
      softmax(plan, scores, sinks, logSums, begin, end, lo);
      unstack(plan, product(scores, values.narrow(1, lo, end - lo)), out, begin, end);
    }
    ctx->save_for_backward({query, key, value, out, logSums});
    ctx->saved_data["sinks"] = reinterpret_cast<int64_t>(sinks);
    ctx->saved_data["op"] = reinterpret_cast<int64_t>(op);
    ctx->saved_data["rows"] = reinterpret_cast<int64_t>(rows);
    return out;
  }

  static void softmax(const Plan &plan, const Tensor &scores, const Weight *sinks,
                      const Tensor &logSums, int64_t begin, int64_t end, int64_t lo) {
    const int64_t width = end - lo;
    float *sums = data<float>(logSums);
    const float *sink = sinks ? data<float>(sinks->value) : nullptr;
    withType(scores.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      T *score = data<T>(scores);
      forScoreRows(plan, begin, end, width, [&](int64_t r, int64_t row, int64_t head) {
        ScoreRule rule = plan.rule;
        rule.sink = sink ? sink[head] : kNoSink;
        sums[head * plan.count + row] = kernels<T>().softmaxRow(
            score + r * width, width, plan.firstKey(row) - lo, row + 1 - lo, rule);
      });
    });
  }

  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Node &op = *reinterpret_cast<const Node *>(ctx->saved_data["op"].toInt());
    const Rows &rows = *reinterpret_cast<const Rows *>(ctx->saved_data["rows"].toInt());
    const Tensor &query = saved[0], gradOut = grads[0].contiguous();
    const Plan plan(op, rows, query.size(1));
    const Tensor keys = byHead(saved[1], plan.kvHeads), values = byHead(saved[2], plan.kvHeads);
    // Per row and head: the sum over features of output times its gradient.
    const Tensor delta = (saved[3].to(at::kFloat) * gradOut)
                             .view({plan.count, plan.heads, plan.headDim})
                             .sum(2)
                             .t()
                             .contiguous();
    // A sink's share of a row is exp(sink - log(sum)); it takes from all keys alike, which delta sums.
    if (auto *sinks = reinterpret_cast<Weight *>(ctx->saved_data["sinks"].toInt()); sinks)
      sinks->accumulate((sinks->value.view({-1, 1}) - saved[4]).exp_().mul_(delta).sum(1).neg_());
    Tensor gradQuery = at::empty_like(query);
    Tensor gradKeys = at::zeros(keys.sizes(), at::kFloat), gradValues = at::zeros_like(gradKeys);
    for (int64_t begin = 0; begin < plan.count; begin += plan.step) {
      const int64_t end = std::min(plan.count, begin + plan.step), lo = plan.firstKeyOf(begin);
      const int64_t width = end - lo;
      const Tensor seen = keys.narrow(1, lo, width), queries = stack(plan, query, begin, end);
      const Tensor gradRows = stack(plan, gradOut, begin, end);
      const Tensor scores = product(queries, seen.transpose(1, 2));
      const Tensor gradScores = product(gradRows, values.narrow(1, lo, width).transpose(1, 2));
      softmaxBackward(plan, scores, gradScores, saved[4], delta, begin, end, lo);
      unstack(plan, product(gradScores, seen), gradQuery, begin, end);
      gradKeys.narrow(1, lo, width).add_(product(gradScores.transpose(1, 2), queries));
      gradValues.narrow(1, lo, width).add_(product(scores.transpose(1, 2), gradRows));
    }
    auto back = [&](const Tensor &grad) {
      return grad.permute({1, 0, 2}).to(query.scalar_type()).reshape({plan.count, -1});
    };
    return {gradQuery, back(gradKeys), back(gradValues), Tensor(), Tensor(), Tensor()};
  }

  static void softmaxBackward(const Plan &plan, const Tensor &scores, const Tensor &gradScores,
                              const Tensor &logSums, const Tensor &delta, int64_t begin,
                              int64_t end, int64_t lo) {
    const int64_t width = end - lo;
    const float *sums = data<float>(logSums), *deltas = data<float>(delta);
    withType(scores.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      T *score = data<T>(scores), *grad = data<T>(gradScores);
      forScoreRows(plan, begin, end, width, [&](int64_t r, int64_t row, int64_t head) {
        const int64_t at = head * plan.count + row;
        kernels<T>().softmaxRowBackward(score + r * width, grad + r * width, width,
                                        plan.firstKey(row) - lo, row + 1 - lo, sums[at], deltas[at],
                                        plan.rule);
      });
    });
  }
};

/// As a cache of the format gives it back. f8e4m3 saturates, where libtorch's cast gives a NaN.
Tensor cached(const Tensor &features, CacheFormat format) {
  switch (format) {
  case CacheFormat::F32:
    return features;
  case CacheFormat::F16:
    return features.to(at::kHalf).to(features.scalar_type());
  case CacheFormat::BF16:
    return features.to(at::kBFloat16).to(features.scalar_type());
  case CacheFormat::F8E4M3:
    return features.clamp(-448, 448).to(at::kFloat8_e4m3fn).to(features.scalar_type());
  }
  TORCH_INTERNAL_ASSERT(false);
}
} // namespace

/// Without gradients keys and values are rounded as the cache does; training keeps them as they are.
std::vector<Tensor> ops::attention(const Call &call) {
  const auto format = CacheFormat(call.node.integer("cache"));
  const bool rounds = !at::GradMode::is_enabled();
  const Tensor key = rounds ? cached(call.in(1), format) : call.in(1);
  const Tensor value = rounds ? cached(call.in(2), format) : call.in(2);
  return {AttentionFunction::apply(call.in(0), key, value, call.weight("sinks"), &call.node,
                                   &call.rows)};
}

} // namespace retort::exec
