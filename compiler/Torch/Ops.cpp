//===- Ops.cpp - The operations of a model, with gradients ------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Ops.h"
#include "compiler/Torch/Parallel.h"
#include "compiler/Torch/Products.h"
#include <cmath>
#include <torch/csrc/autograd/custom_function.h>

namespace retort::exec {
namespace {
using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

template <typename Pointer> Pointer pointer(AutogradContext *ctx, const char *name) {
  return reinterpret_cast<Pointer>(ctx->saved_data[name].toInt());
}
template <typename Pointer> int64_t address(Pointer p) { return reinterpret_cast<int64_t>(p); }

/// The anchor is any tensor that requires a gradient: autograd goes down to it.
struct EmbedFunction : Function<EmbedFunction> {
  static Tensor forward(AutogradContext *ctx, const Tensor & /*anchor*/, const Rows *rows,
                        Weight *table, double scale) {
    ctx->saved_data["rows"] = address(rows);
    ctx->saved_data["table"] = address(table);
    ctx->saved_data["scale"] = scale;
    const Tensor ids = at::from_blob(const_cast<int32_t *>(rows->tokens.data()), {rows->count()},
                                     at::TensorOptions(at::kInt));
    Tensor out = at::index_select(table->value, 0, ids).to(at::kFloat);
    return scale == 1 ? out : out.mul_(scale);
  }
  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    const Rows &rows = *pointer<const Rows *>(ctx, "rows");
    Weight &table = *pointer<Weight *>(ctx, "table");
    if (table.grad.defined()) {
      if (!table.hasGrad)
        table.grad.zero_();
      table.hasGrad = true;
      const Tensor grad = grads[0].contiguous();
      const int64_t width = grad.size(1);
      const float scale = float(ctx->saved_data["scale"].toDouble());
      const float *from = data<float>(grad);
      float *to = data<float>(table.grad);
      // Shared out by features, so that each sum has one thread and one order.
      parallel(width, 64, [&](int64_t begin, int64_t end) {
        for (int64_t row = 0; row < rows.count(); ++row)
          for (int64_t i = begin; i < end; ++i)
            to[rows.tokens[size_t(row)] * width + i] += scale * from[row * width + i];
      });
    }
    return {Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

struct NormFunction : Function<NormFunction> {
  static Tensor forward(AutogradContext *ctx, const Tensor &in, const Node *op, Weight *gain,
                        int64_t type) {
    const int64_t groups = op->integer("groups");
    const int64_t width = in.size(1) / groups, runs = in.size(0) * groups;
    const float eps = float(op->number("eps"));
    const bool offset = op->number("offset", 0) != 0;
    Tensor out = at::empty_like(in, at::TensorOptions(at::ScalarType(type)));
    const Tensor rstd = at::empty({runs}, at::kFloat);
    const float *g = data<float>(gain->value);
    float *r = data<float>(rstd);
    withType(out.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      parallel(runs, kGrain / width + 1, [&](int64_t begin, int64_t end) {
        if (in.scalar_type() == at::kFloat)
          kernels<T>().normStream(data<float>(in), g, data<T>(out), r, begin, end, width, eps,
                                  offset);
        else
          kernels<T>().norm(data<T>(in), g, data<T>(out), r, begin, end, width, eps, offset);
      });
    });
    ctx->save_for_backward({in, rstd});
    ctx->saved_data["op"] = address(op);
    ctx->saved_data["gain"] = address(gain);
    return out;
  }
  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Node &op = *pointer<const Node *>(ctx, "op");
    const bool offset = op.number("offset", 0) != 0;
    Weight &gain = *pointer<Weight *>(ctx, "gain");
    const Tensor &in = saved[0], gradOut = grads[0].contiguous();
    const int64_t groups = op.integer("groups");
    const int64_t width = in.size(1) / groups, runs = in.size(0) * groups;
    // The gain's gradient in parts of fixed size: the sum does not depend on the threads.
    const int64_t part = 256, parts = (runs + part - 1) / part;
    const Tensor partial = at::zeros({parts, width}, at::kFloat);
    Tensor gradIn = at::empty_like(in);
    const float *g = data<float>(gain.value), *r = data<float>(saved[1]);
    withType(gradOut.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      parallel(parts, 1, [&](int64_t first, int64_t last) {
        for (int64_t p = first; p < last; ++p) {
          const int64_t begin = p * part, end = std::min(runs, begin + part);
          float *sum = data<float>(partial) + p * width;
          if (in.scalar_type() == at::kFloat)
            kernels<T>().normStreamBackward(data<float>(in), g, r, data<T>(gradOut),
                                            data<float>(gradIn), sum, begin, end, width, offset);
          else
            kernels<T>().normBackward(data<T>(in), g, r, data<T>(gradOut), data<T>(gradIn), sum,
                                      begin, end, width, offset);
        }
      });
    });
    gain.accumulate(partial.sum(0));
    return {gradIn, Tensor(), Tensor(), Tensor()};
  }
};

/// In float, whatever the types of operand and result.
struct LayerNormFunction : Function<LayerNormFunction> {
  static Tensor forward(AutogradContext *ctx, const Tensor &in, Weight *gain, Weight *bias,
                        double eps, int64_t type) {
    const Tensor x = in.to(at::kFloat), centred = x - x.mean(1, true);
    const Tensor rstd = centred.square().mean(1, true).add_(eps).rsqrt_();
    const Tensor normed = centred * rstd;
    ctx->save_for_backward({normed, rstd});
    ctx->saved_data["gain"] = address(gain);
    ctx->saved_data["bias"] = address(bias);
    ctx->saved_data["type"] = int64_t(in.scalar_type());
    return (normed * gain->value).add_(bias->value).to(at::ScalarType(type));
  }
  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &normed = saved[0], &rstd = saved[1], gradOut = grads[0].to(at::kFloat);
    Weight &gain = *pointer<Weight *>(ctx, "gain"), &bias = *pointer<Weight *>(ctx, "bias");
    gain.accumulate((gradOut * normed).sum(0));
    bias.accumulate(gradOut.sum(0));
    const Tensor g = gradOut * gain.value;
    const Tensor gradIn = (g - g.mean(1, true) - normed * (g * normed).mean(1, true)) * rstd;
    return {gradIn.to(at::ScalarType(ctx->saved_data["type"].toInt())), Tensor(), Tensor(),
            Tensor(), Tensor()};
  }
};

struct LinearFunction : Function<LinearFunction> {
  static Tensor forward(AutogradContext *ctx, const Tensor &in, Weight *matrix, Weight *bias) {
    ctx->save_for_backward({in});
    ctx->saved_data["matrix"] = address(matrix);
    ctx->saved_data["bias"] = address(bias);
    return linearLayer(in, matrix->value, bias ? bias->value.to(in.scalar_type()) : Tensor());
  }
  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    const Tensor in = ctx->get_saved_variables()[0], gradOut = grads[0].contiguous();
    Weight &matrix = *pointer<Weight *>(ctx, "matrix");
    if (matrix.grad.defined())
      matrix.accumulate(product(gradOut.t(), in));
    if (Weight *bias = pointer<Weight *>(ctx, "bias"); bias && bias->grad.defined())
      bias->accumulate(gradOut.sum(0, false, at::kFloat));
    return {product(gradOut, matrix.value), Tensor(), Tensor()};
  }
};

void rotate(const Tensor &in, const Tensor &out, const Node &op, const Rows &rows,
            const Tensor &cosines, const Tensor &sines, float direction) {
  const int64_t heads = op.integer("heads"), dims = op.integer("dims");
  withType(in.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    parallel(in.size(0), kGrain / in.size(1) + 1, [&](int64_t begin, int64_t end) {
      kernels<T>().rope(data<T>(in), data<T>(out), rows.positions.data(), data<float>(cosines),
                        data<float>(sines), begin, end, heads, in.size(1) / heads, dims, direction);
    });
  });
}

struct RopeFunction : Function<RopeFunction> {
  static Tensor forward(AutogradContext *ctx, const Tensor &in, const Node *op, const Rows *rows,
                        Tensor cosines, Tensor sines) {
    ctx->saved_data["op"] = address(op);
    ctx->saved_data["rows"] = address(rows);
    ctx->save_for_backward({cosines, sines});
    Tensor out = at::empty_like(in);
    rotate(in, out, *op, *rows, cosines, sines, 1);
    return out;
  }
  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor gradOut = grads[0].contiguous();
    Tensor gradIn = at::empty_like(gradOut);
    rotate(gradOut, gradIn, *pointer<const Node *>(ctx, "op"), *pointer<const Rows *>(ctx, "rows"),
           saved[0], saved[1], -1);
    return {gradIn, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

struct GluFunction : Function<GluFunction> {
  static Tensor forward(AutogradContext *ctx, const Tensor &gate, const Tensor &up, int64_t act) {
    ctx->save_for_backward({gate, up});
    ctx->saved_data["act"] = act;
    Tensor out = at::empty_like(gate);
    withType(gate.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      parallel(gate.numel(), kGrain, [&](int64_t begin, int64_t end) {
        kernels<T>().glu(data<T>(gate), data<T>(up), data<T>(out), begin, end, Activation(act));
      });
    });
    return out;
  }
  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &gate = saved[0], &up = saved[1], gradOut = grads[0].contiguous();
    const auto act = Activation(ctx->saved_data["act"].toInt());
    Tensor gradGate = at::empty_like(gate), gradUp = at::empty_like(up);
    withType(gate.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      parallel(gate.numel(), kGrain, [&](int64_t begin, int64_t end) {
        kernels<T>().gluBackward(data<T>(gate), data<T>(up), data<T>(gradOut), data<T>(gradGate),
                                 data<T>(gradUp), begin, end, act);
      });
    });
    return {gradGate, gradUp, Tensor()};
  }
};

struct ResidualFunction : Function<ResidualFunction> {
  static Tensor forward(AutogradContext *ctx, const Tensor &stream, const Tensor &output) {
    ctx->saved_data["type"] = int64_t(output.scalar_type());
    Tensor out = at::empty_like(stream);
    withType(output.scalar_type(), [&](auto zero) {
      using T = decltype(zero);
      parallel(out.numel(), kGrain, [&](int64_t begin, int64_t end) {
        kernels<T>().residual(data<float>(stream), data<T>(output), data<float>(out), begin, end);
      });
    });
    return out;
  }
  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    return {grads[0], grads[0].to(at::ScalarType(ctx->saved_data["type"].toInt()))};
  }
};

struct MatchFunction : Function<MatchFunction> {
  static Tensor forward(AutogradContext *ctx, const Tensor &student, const Tensor &teacher,
                        double weight, double *loss) {
    const Tensor difference = student - teacher;
    const Tensor size = teacher.square().sum(1, true).clamp_min_(1e-12);
    *loss += weight * total(difference.square().sum(1, true) / size);
    ctx->save_for_backward({difference.mul(2 * weight).div_(size)});
    return student.alias();
  }
  static variable_list backward(AutogradContext *ctx, variable_list grads) {
    return {grads[0] + ctx->get_saved_variables()[0], Tensor(), Tensor(), Tensor()};
  }
};
/// `growth`, `every`: an lm.rope's length_scale, 0 and 1 without one.
RopeTable ropeTable(const std::vector<double> &frequencies, double amplitude, double growth,
                    int64_t every, int64_t positions) {
  const int64_t half = int64_t(frequencies.size());
  RopeTable table{at::empty({positions, half}, at::kFloat),
                  at::empty({positions, half}, at::kFloat)};
  float *c = data<float>(table.cosines), *s = data<float>(table.sines);
  for (int64_t p = 0; p < positions; ++p) {
    const double scale = amplitude * (1 + growth * std::log1p(double(p / every)));
    for (int64_t i = 0; i < half; ++i) {
      const double angle = double(p) * frequencies[size_t(i)];
      c[p * half + i] = float(std::cos(angle) * scale);
      s[p * half + i] = float(std::sin(angle) * scale);
    }
  }
  return table;
}
} // namespace

const RopeTable &RopeTables::get(const Node &rope, int64_t positions) {
  const std::vector<double> &frequencies = rope.numbers("inverse_frequencies");
  const double amplitude = rope.number("amplitude"), growth = rope.number("length_scale", 0);
  const double every = rope.number("every", 1);
  std::vector<double> key = frequencies;
  key.insert(key.end(), {amplitude, growth, every});
  RopeTable &table = tables_[std::move(key)];
  if (!table.cosines.defined() || table.cosines.size(0) < positions)
    table = ropeTable(frequencies, amplitude, growth, int64_t(every), positions);
  return table;
}

namespace ops {
std::vector<Tensor> embed(const Call &call) {
  const Tensor anchor = at::zeros({1}, at::kFloat).requires_grad_();
  return {
      EmbedFunction::apply(anchor, &call.rows, call.weight("weight"), call.node.number("scale"))};
}

/// The result has the type of matrices, whatever the operand's.
std::vector<Tensor> norm(const Call &call) {
  return {NormFunction::apply(call.in(), &call.node, call.weight("weight"),
                              int64_t(call.weights.type()))};
}

std::vector<Tensor> layer_norm(const Call &call) {
  return {LayerNormFunction::apply(call.in(), call.weight("weight"), call.weight("bias"),
                                   call.node.number("eps"), int64_t(call.weights.type()))};
}

std::vector<Tensor> linear(const Call &call) {
  return {LinearFunction::apply(call.in(), call.weight("weight"), call.weight("bias"))};
}

std::vector<Tensor> split(const Call &call) {
  std::vector<Tensor> parts;
  int64_t first = 0;
  for (const ValueId out : call.node.outs) {
    const int64_t features = call.weights.graph().features[size_t(out)];
    parts.push_back(call.in().narrow(1, first, features).contiguous());
    first += features;
  }
  return parts;
}

std::vector<Tensor> rope(const Call &call) {
  const RopeTable &table = call.ropes.get(call.node, call.rows.maxPosition() + 1);
  return {RopeFunction::apply(call.in(), &call.node, &call.rows, table.cosines, table.sines)};
}

std::vector<Tensor> glu(const Call &call) {
  return {GluFunction::apply(call.in(0), call.in(1), call.node.integer("act"))};
}

std::vector<Tensor> gate(const Call &call) {
  return {GluFunction::apply(call.in(1), call.in(0), call.node.integer("act"))};
}

std::vector<Tensor> residual(const Call &call) {
  return {ResidualFunction::apply(call.in(0), call.in(1))};
}

/// In float. No gradient is ever asked for: losses make logits a few rows at a time (Loss.h).
std::vector<Tensor> logits(const Call &call) {
  const Tensor hidden = call.in().to(call.weights.type());
  Tensor all = linearLayer(hidden, call.weight("weight")->value).to(at::kFloat);
  if (const double cap = call.node.number("soft_cap", 0); cap != 0)
    all = all.div(cap).tanh().mul(cap);
  return {all.contiguous()};
}
} // namespace ops

std::vector<Tensor> evaluate(const Call &call) {
  constexpr std::vector<Tensor> (*functions[])(const Call &) = {
#define RETORT_EXEC_OP(Kind, mnemonic) ops::mnemonic,
#include "compiler/Torch/Ops.def"
  };
  return functions[size_t(call.node.op)](call);
}

Tensor matchHidden(const Tensor &student, const Tensor &teacher, double weight, double *loss) {
  return MatchFunction::apply(student, teacher, weight, loss);
}

} // namespace retort::exec
