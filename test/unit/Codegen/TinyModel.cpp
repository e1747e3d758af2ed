//===- TinyModel.cpp - Small random models as lm IR -----------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "test/unit/Codegen/TinyModel.h"
#include <cmath>
#include <random>
#include <span>
#include <sstream>

namespace retort::test {
namespace {

std::string block(size_t layer, const std::string &name) {
  return "blk." + std::to_string(layer) + "." + name;
}

class Filler {
public:
  Filler(Tensors &tensors, unsigned seed) : tensors(tensors), random(seed) {}
  void matrix(const std::string &name, int64_t rows, int64_t cols, NumberFormat format) {
    Tensor &tensor = tensors[name] = {rows, cols, format, {}};
    fill(tensor.values, rows * cols, 0.0f, 1.2f / std::sqrt(static_cast<float>(cols)));
    for (int64_t r = 0; r < rows; ++r)
      weight::quantiseDequantise(format, std::span<float>(tensor.values).subspan(r * cols, cols));
  }
  void vector(const std::string &name, int64_t size, float mean) {
    Tensor &tensor = tensors[name] = {size, 0, {}, {}};
    fill(tensor.values, size, mean, 0.2f);
  }

private:
  Tensors &tensors;
  std::mt19937 random;
  void fill(std::vector<float> &values, int64_t count, float mean, float deviation) {
    std::normal_distribution<float> normal(mean, deviation);
    values.resize(count);
    for (float &value : values)
      value = normal(random);
  }
};

std::string typeOf(const Tensor &tensor) {
  std::ostringstream os;
  os << "tensor<" << tensor.rows << "x";
  if (tensor.cols)
    os << tensor.cols << "x";
  const NumberFormat format = tensor.format;
  if (!format.quantised())
    os << nameOf(format) << ">";
  else if (format.integers())
    os << "i" << format.bits() << ", #weight.format<" << nameOf(format) << ">>";
  else
    os << "f8E4M3FN, #weight.format<" << nameOf(format) << ">>";
  return os.str();
}

std::string paramText(const std::string &name, const Tensor &tensor) {
  std::ostringstream os;
  std::string type = typeOf(tensor);
  Tensor plain = tensor;
  plain.format = {};
  std::string f32 = typeOf(plain);
  os << "  lm.param @" << name << " : " << type << " {\n    %0 = weight.load \"" << name
     << "\" stored \"F32\" : " << f32 << "\n";
  bool cast = !tensor.format.quantised();
  if (type != f32)
    os << "    %1 = weight." << (cast ? "cast %0" : "quantize %0") << " : " << f32 << " -> " << type
       << "\n";
  os << "    weight.yield %" << (type == f32 ? 0 : 1) << " : " << type << "\n  }\n";
  return os.str();
}

std::string rows(int64_t features) { return "tensor<?x" + std::to_string(features) + "xf32>"; }

/// "x.bias" of "x.weight".
std::string biasOf(const std::string &weight) {
  return weight.substr(0, weight.rfind('.')) + ".bias";
}

/// The norm of a row, which is one of the stream's.
std::string normText(const ModelSpec &spec, const std::string &x, const std::string &gain) {
  return (spec.layerNorm ? "lm.layer_norm " + x + ", @" + gain + " bias @" + biasOf(gain)
                         : "lm.norm " + x + ", @" + gain) +
         " eps 1.0e-5" + (spec.normOffset ? " offset" : "") + " : " + rows(spec.hidden) + "\n";
}

/// Writes the ops of one block.
class BlockWriter {
public:
  BlockWriter(std::ostringstream &os, const ModelSpec &spec, size_t layer)
      : os(os), spec(spec), layer(spec.layers[layer]), index(layer) {}

  void write() {
    std::string x = "%a";
    if (layer.attention)
      x = attention(x);
    if (layer.feedForward)
      x = feedForward(x);
    os << "      lm.yield " << x << " : " << rows(spec.hidden) << "\n";
  }

private:
  std::ostringstream &os;
  const ModelSpec &spec;
  const LayerSpec &layer;
  size_t index;

  void norm(const std::string &result, const std::string &x, const std::string &gain) {
    os << "      " << result << " = " << normText(spec, x, block(index, gain));
  }
  void linear(const std::string &result, const std::string &x, const std::string &name, int64_t in,
              int64_t out, bool bias = false) {
    os << "      " << result << " = lm.linear " << x << ", @" << block(index, name + ".weight");
    if (bias)
      os << " bias @" << block(index, name + ".bias");
    os << " : " << rows(in) << " -> " << rows(out) << "\n";
  }
  std::string heads(const std::string &x, int64_t count, const std::string &gain) {
    std::string value = x;
    int64_t features = count * spec.headDim;
    if (spec.headNorm) {
      os << "      " << value << "n = lm.norm " << value << ", @" << block(index, gain)
         << " eps 1.0e-5";
      if (count > 1)
        os << " groups " << count;
      os << (spec.normOffset ? " offset" : "") << " : " << rows(features) << "\n";
      value += "n";
    }
    os << "      " << value << "r = lm.rope " << value << " heads " << count << " dims "
       << (spec.ropeDims ? spec.ropeDims : spec.headDim) << " base " << std::scientific
       << spec.ropeBase;
    if (!spec.ropeScaling.empty())
      os << " scaling " << spec.ropeScaling;
    os << " : " << rows(features) << "\n";
    return value + "r";
  }
  std::string attention(const std::string &x) {
    int64_t q = layer.heads * spec.headDim, kv = layer.kvHeads * spec.headDim;
    norm("%n", x, "attn_norm.weight");
    linear("%q", "%n", "attn_q", spec.hidden, q, spec.bias);
    linear("%k", "%n", "attn_k", spec.hidden, kv, spec.bias);
    linear("%v", "%n", "attn_v", spec.hidden, kv, spec.bias);
    std::string query = heads("%q", layer.heads, "attn_q_norm.weight");
    std::string key = heads("%k", layer.kvHeads, "attn_k_norm.weight");
    os << "      %o = lm.attention " << query << ", " << key << ", %v heads " << layer.heads
       << " kv_heads " << layer.kvHeads << " scale " << std::scientific
       << 1.0 / std::sqrt(static_cast<double>(spec.headDim));
    if (layer.window)
      os << " window " << *layer.window;
    if (spec.attentionCap)
      os << " soft_cap " << *spec.attentionCap;
    os << " cache " << spec.cache << " : " << rows(q) << ", " << rows(kv) << "\n";
    linear("%p", "%o", "attn_output", q, spec.hidden);
    return residual("%h", x, "%p", "post_attention_norm.weight");
  }
  std::string feedForward(const std::string &x) {
    norm("%m", x, "ffn_norm.weight");
    linear("%g", "%m", "ffn_gate", spec.hidden, layer.ffn);
    linear("%u", "%m", "ffn_up", spec.hidden, layer.ffn);
    os << "      %s = lm.glu %g, %u act " << spec.act << " : " << rows(layer.ffn) << "\n";
    linear("%d", "%s", "ffn_down", layer.ffn, spec.hidden);
    return residual("%f", x, "%d", "post_ffw_norm.weight");
  }
  std::string residual(const std::string &result, const std::string &x, std::string y,
                       const std::string &gain) {
    if (spec.postNorm) {
      norm(y + "n", y, gain);
      y += "n";
    }
    os << "      " << result << " = lm.residual " << x << ", " << y << " : " << rows(spec.hidden)
       << "\n";
    return result;
  }
};
} // namespace

Tensors makeTensors(const ModelSpec &spec) {
  Tensors tensors;
  Filler filler(tensors, spec.seed);
  auto norm = [&](const std::string &name, int64_t size, bool ofStream = true) {
    filler.vector(name, size, spec.normOffset ? 0.0f : 1.0f);
    if (spec.layerNorm && ofStream)
      filler.vector(biasOf(name), size, 0.0f);
  };
  filler.matrix("token_embd.weight", spec.vocab, spec.hidden, spec.embedding);
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    const LayerSpec &layer = spec.layers[i];
    int64_t q = layer.heads * spec.headDim, kv = layer.kvHeads * spec.headDim;
    if (layer.attention) {
      norm(block(i, "attn_norm.weight"), spec.hidden);
      for (auto [name, out] : {std::pair<std::string, int64_t>("q", q), {"k", kv}, {"v", kv}}) {
        filler.matrix(block(i, "attn_" + name + ".weight"), out, spec.hidden, layer.format);
        if (spec.bias)
          filler.vector(block(i, "attn_" + name + ".bias"), out, 0.0f);
        if (spec.headNorm && name != "v")
          norm(block(i, "attn_" + name + "_norm.weight"), spec.headDim, false);
      }
      filler.matrix(block(i, "attn_output.weight"), spec.hidden, q, layer.format);
      if (spec.postNorm)
        norm(block(i, "post_attention_norm.weight"), spec.hidden);
    }
    if (layer.feedForward) {
      norm(block(i, "ffn_norm.weight"), spec.hidden);
      filler.matrix(block(i, "ffn_gate.weight"), layer.ffn, spec.hidden, layer.format);
      filler.matrix(block(i, "ffn_up.weight"), layer.ffn, spec.hidden, layer.format);
      filler.matrix(block(i, "ffn_down.weight"), spec.hidden, layer.ffn, layer.format);
      if (spec.postNorm)
        norm(block(i, "post_ffw_norm.weight"), spec.hidden);
    }
  }
  norm("output_norm.weight", spec.hidden);
  if (!spec.tied)
    filler.matrix("output.weight", spec.vocab, spec.hidden, spec.embedding);
  return tensors;
}

std::string modelText(const ModelSpec &spec, const Tensors &tensors) {
  std::ostringstream os;
  os << "lm.model @tiny family \"llama\" context 512 vocab " << spec.vocab << " hidden "
     << spec.hidden << " {\n";
  for (const auto &[name, tensor] : tensors)
    os << paramText(name, tensor);
  os << "  lm.forward {\n  ^bb0(%tokens: tensor<?xi32>):\n    %x0 = lm.embed %tokens, "
     << "@token_embd.weight scale " << std::scientific << spec.embeddingScale << " : "
     << rows(spec.hidden) << "\n";
  for (size_t i = 0; i < spec.layers.size(); ++i) {
    os << "    %x" << i + 1 << " = lm.block \"blk." << i << "\"(%x" << i
       << ") {\n    ^bb0(%a: " << rows(spec.hidden) << "):\n";
    BlockWriter(os, spec, i).write();
    os << "    } : " << rows(spec.hidden) << "\n";
  }
  os << "    %f = "
     << normText(spec, "%x" + std::to_string(spec.layers.size()), "output_norm.weight")
     << "    %l = lm.logits %f, @" << (spec.tied ? "token_embd.weight" : "output.weight");
  if (spec.logitsCap)
    os << " soft_cap " << *spec.logitsCap;
  os << " : " << rows(spec.hidden) << " -> " << rows(spec.vocab)
     << "\n    lm.return %l : " << rows(spec.vocab) << "\n  }\n}\n";
  return os.str();
}

} // namespace retort::test
