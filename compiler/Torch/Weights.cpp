//===- Weights.cpp - A model's parameters as tensors ------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Weights.h"
#include "compiler/Torch/Parallel.h"
#include <algorithm>

namespace retort::exec {
namespace {

/// Floats read at a time: 8 MiB, so that a matrix that is kept as bf16 never exists as f32.
constexpr int64_t kChunkElements = int64_t(2) << 20;

/// Reads into a tensor of either type.
at::Tensor readAs(const Model &model, ParamId id, at::ScalarType type) {
  const Param &param = model.graph->params[size_t(id)];
  at::Tensor out = at::empty({param.rows, param.cols}, at::TensorOptions(type));
  const int64_t step = std::max<int64_t>(1, kChunkElements / std::max<int64_t>(1, param.cols));
  at::Tensor chunk;
  for (int64_t begin = 0; begin < param.rows; begin += step) {
    const int64_t count = std::min(step, param.rows - begin);
    at::Tensor rows = out.narrow(0, begin, count);
    if (type != at::kFloat) {
      if (!chunk.defined())
        chunk = at::empty({std::min(step, param.rows), param.cols}, at::kFloat);
      rows = chunk.narrow(0, 0, count);
    }
    check(model.read(id, begin, begin + count, data<float>(rows)));
    if (type != at::kFloat)
      out.narrow(0, begin, count).copy_(rows);
  }
  return param.isVector ? out.view({param.cols}) : out;
}

} // namespace

void Weight::accumulate(const at::Tensor &more) {
  if (!grad.defined())
    return;
  const at::Tensor source = more.contiguous();
  withType(source.scalar_type(), [&](auto zero) {
    using T = decltype(zero);
    parallel(source.numel(), kGrain, [&](int64_t begin, int64_t end) {
      kernels<T>().accumulate(data<T>(source), data<float>(grad), begin, end, hasGrad);
    });
  });
  hasGrad = true;
}

Weights::Weights(const Model &model, at::ScalarType type)
    : model_(model), type_(type), weights_(model.graph->params.size()) {}

Weight &Weights::get(ParamId id) {
  Weight &weight = weights_[size_t(id)];
  if (!weight.value.defined()) {
    const bool isVector = model_.graph->params[size_t(id)].isVector;
    weight.value = readAs(model_, id, isVector ? at::kFloat : type_);
  }
  return weight;
}

at::Tensor readParam(const Model &model, ParamId id) {
  at::Tensor values = readAs(model, id, at::kFloat);
  if (!at::isfinite(values).all().item<bool>())
    fail(ExitCode::BadInput, "parameter '" + model.graph->params[size_t(id)].name +
                                 "' has a value that is not finite: the checkpoint is damaged");
  return values;
}

} // namespace retort::exec
