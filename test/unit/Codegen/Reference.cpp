//===- Reference.cpp - Logits of a tiny model by plain loops --------------===//
// SPDX-License-Identifier: Apache-2.0
#include "test/unit/Codegen/TinyModel.h"
#include <algorithm>
#include <cmath>

namespace retort::test {
namespace {

using Rows = std::vector<std::vector<float>>;

class Reference {
public:
  Reference(const ModelSpec &spec, const Tensors &tensors) : spec(spec), tensors(tensors) {}

  std::vector<float> logits(const std::vector<int32_t> &tokens) {
    const Tensor &table = tensors.at("token_embd.weight");
    Rows x;
    for (int32_t token : tokens) {
      x.emplace_back(table.values.begin() + token * spec.hidden,
                     table.values.begin() + (token + 1) * spec.hidden);
      for (float &value : x.back())
        value *= static_cast<float>(spec.embeddingScale);
    }
    for (size_t i = 0; i < spec.layers.size(); ++i) {
      prefix = "blk." + std::to_string(i) + ".";
      if (spec.layers[i].attention)
        attention(x, spec.layers[i]);
      if (spec.layers[i].feedForward)
        feedForward(x);
    }
    prefix.clear();
    std::vector<float> result;
    for (std::vector<float> &row : x) {
      std::vector<float> y = linear(norm(row, "output_norm.weight"),
                                    spec.tied ? "token_embd.weight" : "output.weight");
      for (float &value : y)
        value = capped(value, spec.logitsCap);
      result.insert(result.end(), y.begin(), y.end());
    }
    return result;
  }

  float nearestTie = 0.5f;

private:
  const ModelSpec &spec;
  const Tensors &tensors;
  std::string prefix;

  static float capped(double value, std::optional<double> cap) {
    return static_cast<float>(cap ? *cap * std::tanh(value / *cap) : value);
  }

  std::vector<float> norm(std::vector<float> x, const std::string &name) {
    const std::vector<float> &gain = tensors.at(prefix + name).values;
    auto bias = tensors.find(prefix + name.substr(0, name.size() - 6) + "bias");
    if (bias != tensors.end())
      centre(x);
    for (size_t start = 0; start < x.size(); start += gain.size()) {
      double sum = 0;
      for (size_t i = 0; i < gain.size(); ++i)
        sum += static_cast<double>(x[start + i]) * x[start + i];
      double scale = 1.0 / std::sqrt(sum / static_cast<double>(gain.size()) + 1e-5);
      for (size_t i = 0; i < gain.size(); ++i)
        x[start + i] =
            static_cast<float>(x[start + i] * scale * (gain[i] + (spec.normOffset ? 1.0 : 0.0)));
    }
    for (size_t i = 0; bias != tensors.end() && i < x.size(); ++i)
      x[i] += bias->second.values[i];
    return x;
  }

  /// Takes the mean away: the norm of what is left is a layer norm.
  static void centre(std::vector<float> &x) {
    double mean = 0;
    for (float value : x)
      mean += value / static_cast<double>(x.size());
    for (float &value : x)
      value = static_cast<float>(value - mean);
  }

  /// The activation quantisation of the kernels: symmetric int8 by groups.
  std::vector<float> quantised(std::vector<float> x, size_t group) {
    for (size_t start = 0; start < x.size(); start += group) {
      size_t end = std::min(x.size(), start + group);
      float most = 0;
      for (size_t i = start; i < end; ++i)
        most = std::max(most, std::abs(x[i]));
      for (size_t i = start; i < end && most != 0; ++i) {
        float code = x[i] * (127.0f / most), rounded = std::nearbyint(code);
        nearestTie = std::min(nearestTie, 0.5f - std::abs(code - rounded));
        x[i] = rounded * (most / 127.0f);
      }
    }
    return x;
  }

  std::vector<float> linear(std::vector<float> x, const std::string &name) {
    const Tensor &matrix = tensors.at(prefix + name);
    if (matrix.format.integers())
      x = quantised(std::move(x), matrix.format.group);
    std::vector<float> y(matrix.rows);
    std::string biasName = prefix + name.substr(0, name.size() - 6) + "bias";
    auto bias = tensors.find(biasName);
    for (int64_t r = 0; r < matrix.rows; ++r) {
      double sum = bias == tensors.end() ? 0.0 : bias->second.values[r];
      for (int64_t c = 0; c < matrix.cols; ++c)
        sum += static_cast<double>(x[c]) * matrix.values[r * matrix.cols + c];
      y[r] = static_cast<float>(sum);
    }
    return y;
  }

  void rope(std::vector<float> &x, size_t position) {
    int64_t dims = spec.ropeDims ? spec.ropeDims : spec.headDim, half = dims / 2;
    // The one scaling the tests use is linear by 4.
    double factor = spec.ropeScaling.empty() ? 1.0 : 4.0;
    for (size_t head = 0; head < x.size(); head += spec.headDim)
      for (int64_t i = 0; i < half; ++i) {
        double angle =
            static_cast<double>(position) / factor *
            std::pow(spec.ropeBase, -2.0 * static_cast<double>(i) / static_cast<double>(dims));
        float a = x[head + i], b = x[head + i + half];
        x[head + i] = static_cast<float>(a * std::cos(angle) - b * std::sin(angle));
        x[head + i + half] = static_cast<float>(b * std::cos(angle) + a * std::sin(angle));
      }
  }

  void attention(Rows &x, const LayerSpec &layer) {
    Rows q, k, v;
    for (size_t t = 0; t < x.size(); ++t) {
      std::vector<float> n = norm(x[t], "attn_norm.weight");
      q.push_back(linear(n, "attn_q.weight"));
      k.push_back(linear(n, "attn_k.weight"));
      v.push_back(linear(n, "attn_v.weight"));
      if (spec.headNorm) {
        q[t] = norm(q[t], "attn_q_norm.weight");
        k[t] = norm(k[t], "attn_k_norm.weight");
      }
      rope(q[t], t);
      rope(k[t], t);
    }
    for (size_t t = 0; t < x.size(); ++t) {
      std::vector<float> out(layer.heads * spec.headDim);
      for (int64_t head = 0; head < layer.heads; ++head)
        attend(q[t], k, v, t, head, layer, out);
      add(x[t], linear(out, "attn_output.weight"), "post_attention_norm.weight");
    }
  }

  void attend(const std::vector<float> &q, const Rows &k, const Rows &v, size_t t, int64_t head,
              const LayerSpec &layer, std::vector<float> &out) {
    int64_t dims = spec.headDim, kv = head / (layer.heads / layer.kvHeads);
    size_t first = layer.window && t + 1 > static_cast<size_t>(*layer.window)
                       ? t + 1 - static_cast<size_t>(*layer.window)
                       : 0;
    std::vector<double> weights;
    double most = -1e30, sum = 0;
    for (size_t s = first; s <= t; ++s) {
      double score = 0;
      for (int64_t d = 0; d < dims; ++d)
        score += static_cast<double>(q[head * dims + d]) * k[s][kv * dims + d];
      weights.push_back(capped(score / std::sqrt(static_cast<double>(dims)), spec.attentionCap));
      most = std::max(most, weights.back());
    }
    for (double &weight : weights)
      sum += weight = std::exp(weight - most);
    for (int64_t d = 0; d < dims; ++d) {
      double value = 0;
      for (size_t s = first; s <= t; ++s)
        value += weights[s - first] / sum * v[s][kv * dims + d];
      out[head * dims + d] = static_cast<float>(value);
    }
  }

  void feedForward(Rows &x) {
    for (std::vector<float> &row : x) {
      std::vector<float> n = norm(row, "ffn_norm.weight");
      std::vector<float> gate = linear(n, "ffn_gate.weight"), up = linear(n, "ffn_up.weight");
      for (size_t i = 0; i < gate.size(); ++i)
        gate[i] = static_cast<float>(activated(gate[i]) * up[i]);
      add(row, linear(gate, "ffn_down.weight"), "post_ffw_norm.weight");
    }
  }

  double activated(double x) const {
    if (spec.act == "silu")
      return x / (1.0 + std::exp(-x));
    if (spec.act == "gelu")
      return 0.5 * x * (1.0 + std::erf(x / std::sqrt(2.0)));
    return 0.5 * x * (1.0 + std::tanh(std::sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
  }

  void add(std::vector<float> &x, std::vector<float> y, const std::string &postNorm) {
    if (spec.postNorm)
      y = norm(y, postNorm);
    for (size_t i = 0; i < x.size(); ++i)
      x[i] += y[i];
  }
};
} // namespace

Expected expectedOf(const ModelSpec &spec, const Tensors &tensors,
                    const std::vector<int32_t> &tokens) {
  Reference reference(spec, tensors);
  std::vector<float> logits = reference.logits(tokens);
  return {std::move(logits), reference.nearestTie};
}

} // namespace retort::test
