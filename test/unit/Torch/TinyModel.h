//===- TinyModel.h - Small graphs with random weights, for tests ---*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Torch/Executor.h"
#include <algorithm>
#include <cmath>
#include <random>

namespace retort::exec {

/// A model of two blocks that has every op and most options: grouped attention with a window and a
/// soft cap in the second block, q/k norms, a layer norm, biases, a fused and split QKV, offset norms, a scaled
/// embedding that is also the output matrix, and a soft cap of the logits.
struct TinyModel {
  static constexpr int64_t kHidden = 16, kHeads = 4, kKvHeads = 2, kHeadDim = 6, kFfn = 20;
  Graph graph;
  std::vector<std::vector<float>> values;

  explicit TinyModel(int64_t vocab = 37, unsigned seed = 1) : random(seed) {
    graph.name = "tiny";
    graph.vocab = vocab;
    graph.hidden = kHidden;
    graph.context = 64;
    const ParamId table = matrix("token_embd.weight", vocab, kHidden);
    ValueId x = node({OpKind::Embed, {}, {}, {{"weight", table}}, {{"scale", {2.0}}}}, kHidden);
    x = block(x, 0);
    x = block(x, 1);
    x = norm(x, "output_norm.weight", kHidden, 1, false);
    node({OpKind::Logits, {x}, {}, {{"weight", table}}, {{"soft_cap", {8.0}}}}, vocab);
  }

  Model model() const {
    return {&graph, [this](ParamId param, int64_t begin, int64_t end, float *out) {
              const int64_t cols = graph.params[size_t(param)].cols;
              std::copy_n(values[size_t(param)].data() + begin * cols, (end - begin) * cols, out);
              return Status{};
            }};
  }

  ParamId find(const std::string &name) const {
    for (size_t i = 0; i < graph.params.size(); ++i)
      if (graph.params[i].name == name)
        return ParamId(i);
    return kNone;
  }

private:
  ParamId add(const std::string &name, int64_t rows, int64_t cols, bool isVector) {
    graph.params.push_back({name, rows, cols, isVector, {}});
    std::normal_distribution<float> normal(0, isVector ? 0.3f : 1.0f / std::sqrt(float(cols)));
    std::vector<float> &made = values.emplace_back(size_t(rows * cols));
    for (float &value : made)
      value = normal(random) + (isVector ? 1.0f : 0.0f);
    return ParamId(graph.params.size()) - 1;
  }
  ParamId matrix(const std::string &name, int64_t rows, int64_t cols) {
    return add(name, rows, cols, false);
  }
  /// Appends a node of one result, and returns that.
  ValueId node(Node made, int64_t features) {
    const ValueId out = graph.addValue(features);
    made.outs = {out};
    graph.nodes.push_back(std::move(made));
    return out;
  }
  ValueId norm(ValueId in, const std::string &name, int64_t width, int64_t groups, bool offset) {
    const ParamId gain = add(name, 1, width, true);
    Node norm{OpKind::Norm, {in}, {}, {{"weight", gain}}};
    norm.attributes = {{"eps", {1e-5}}, {"groups", {double(groups)}}};
    if (offset)
      norm.attributes["offset"] = {1};
    return node(norm, width * groups);
  }
  ValueId layerNorm(ValueId in, const std::string &name) {
    Node norm{OpKind::LayerNorm, {in}};
    norm.params["weight"] = add(name + ".weight", 1, kHidden, true);
    norm.params["bias"] = add(name + ".bias", 1, kHidden, true);
    norm.attributes = {{"eps", {1e-5}}};
    return node(norm, kHidden);
  }
  ValueId linear(ValueId in, const std::string &name, int64_t rows, int64_t cols, bool bias) {
    Node linear{OpKind::Linear, {in}};
    linear.params["weight"] = matrix(name + ".weight", rows, cols);
    if (bias)
      linear.params["bias"] = add(name + ".bias", 1, rows, true);
    return node(linear, rows);
  }
  ValueId rope(ValueId in, int64_t heads, bool grows) {
    Node rope{OpKind::Rope, {in}};
    rope.attributes = {{"heads", {double(heads)}},
                       {"dims", {4}},
                       {"inverse_frequencies", {1.0, 0.1}},
                       {"amplitude", {1.1}}};
    if (grows)
      rope.attributes.insert({{"length_scale", {0.5}}, {"every", {3}}});
    return node(rope, heads * kHeadDim);
  }
  ValueId residual(ValueId stream, ValueId output) {
    return node({OpKind::Residual, {stream, output}}, kHidden);
  }
  ValueId attention(ValueId query, ValueId key, ValueId value, ParamId sinks, bool capped) {
    Node attention{OpKind::Attention, {query, key, value}};
    attention.attributes = {{"heads", {kHeads}},
                            {"kv_heads", {kKvHeads}},
                            {"scale", {0.4}},
                            {"cache", {double(CacheFormat::F32)}}};
    if (sinks != kNone)
      attention.params["sinks"] = sinks;
    if (capped)
      attention.attributes.insert({{"window", {5}}, {"soft_cap", {3.0}}});
    return node(attention, kHeads * kHeadDim);
  }

  ValueId block(ValueId in, int index) {
    const std::string name = "blk." + std::to_string(index);
    const int64_t q = kHeads * kHeadDim, kv = kKvHeads * kHeadDim;
    Block block{name, int32_t(graph.nodes.size()), 0, in, kNone};
    const ValueId n = norm(in, name + ".attn_norm.weight", kHidden, 1, index == 1);
    const ValueId qkv = linear(n, name + ".attn_qkv", q + 2 * kv, kHidden, index == 0);
    ValueId query = graph.addValue(q), key = graph.addValue(kv);
    const ValueId value = graph.addValue(kv);
    graph.nodes.push_back({OpKind::Split, {qkv}, {query, key, value}});
    if (index == 1) {
      query = norm(query, name + ".attn_q_norm.weight", kHeadDim, kHeads, false);
      key = norm(key, name + ".attn_k_norm.weight", kHeadDim, kKvHeads, true);
    }
    query = rope(query, kHeads, index == 1);
    key = rope(key, kKvHeads, false);
    const ParamId sinks =
        index == 1 ? add(name + ".attn_sinks.weight", 1, kHeads, true) : ParamId(kNone);
    ValueId attended = attention(query, key, value, sinks, index == 1);
    if (index == 1) {
      const ValueId gate = linear(n, name + ".attn_gate", q, kHidden, false);
      attended = node(
          {OpKind::Gate, {attended, gate}, {}, {}, {{"act", {double(Activation::Sigmoid)}}}}, q);
    }
    const ValueId output = linear(attended, name + ".attn_output", kHidden, q, false);
    const ValueId h = residual(in, output);
    const ValueId m = index == 0 ? norm(h, name + ".ffn_norm.weight", kHidden, 1, false)
                                 : layerNorm(h, name + ".ffn_norm");
    const ValueId gate = linear(m, name + ".ffn_gate", kFfn, kHidden, false);
    const ValueId up = linear(m, name + ".ffn_up", kFfn, kHidden, false);
    const auto act = index == 0 ? Activation::Silu : Activation::GeluTanh;
    const ValueId gated = node({OpKind::Glu, {gate, up}, {}, {}, {{"act", {double(act)}}}}, kFfn);
    const ValueId down = linear(gated, name + ".ffn_down", kHidden, kFfn, false);
    block.out = residual(h, down);
    block.numNodes = int32_t(graph.nodes.size()) - block.firstNode;
    graph.blocks.push_back(block);
    return block.out;
  }

  std::mt19937 random;
};

/// Sequences of random tokens: sizes[s] lists the lengths of sequence s's documents.
inline std::vector<Sequence> randomSequences(const std::vector<std::vector<int>> &sizes,
                                             int64_t vocab, unsigned seed = 7) {
  std::mt19937 random(seed);
  std::vector<Sequence> sequences;
  for (const std::vector<int> &documents : sizes) {
    Sequence &sequence = sequences.emplace_back();
    for (const int length : documents) {
      sequence.documents.push_back(int32_t(sequence.tokens.size()));
      for (int i = 0; i < length; ++i)
        sequence.tokens.push_back(int32_t(random() % unsigned(vocab)));
    }
  }
  return sequences;
}

} // namespace retort::exec
