//===- Optimizer.cpp - AdamW over float32 weights ---------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Optimizer.h"
#include "compiler/Torch/Parallel.h"
#include <algorithm>
#include <cmath>
#include <numbers>

namespace retort::exec {

void fakeQuantise(const NumberFormat &format, const at::Tensor &matrix) {
  float *values = data<float>(matrix);
  const int64_t cols = matrix.size(1);
  parallel(matrix.size(0), 16, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      weight::quantiseDequantise(format, {values + row * cols, size_t(cols)});
  });
}

/// The part of the highest rate that is left when `done` of the steps after the warm-up are done.
static double leftOf(Schedule schedule, double done) {
  switch (schedule) {
  case Schedule::Cosine:
    return 0.5 * (1 + std::cos(std::numbers::pi * done));
  case Schedule::Linear:
    return 1 - done;
  case Schedule::Constant:
    return 1;
  }
  fail(ExitCode::Internal, "a schedule that the optimiser does not know");
}

double learningRate(const TrainOptions &options, int64_t step, int64_t totalSteps) {
  const int64_t warmup =
      std::max<int64_t>(1, std::llround(options.warmupFraction * double(totalSteps)));
  if (step < warmup)
    return options.learningRate * double(step + 1) / double(warmup);
  const double done = double(step - warmup) / double(std::max<int64_t>(1, totalSteps - warmup));
  return options.learningRate * leftOf(options.schedule, done);
}

at::Tensor Trained::values() const {
  if (!codes)
    return master;
  at::Tensor matrix = at::empty({codes->rows(), codes->cols()}, at::kFloat);
  codes->write(master, matrix);
  return matrix;
}

Optimizer::Optimizer(const Model &model, Weights &weights, const TrainOptions &options)
    : options_(options) {
  for (size_t i = 0; i < model.graph->params.size(); ++i)
    train(model, ParamId(i), weights);
}

/// Gives the model the parameter, and keeps what training it needs unless it is frozen.
void Optimizer::train(const Model &model, ParamId id, Weights &weights) {
  Trained trained;
  trained.param = &model.graph->params[size_t(id)];
  trained.weight = &weights.slot(id);
  trained.master = readParam(model, id);
  trained.fakeQuantised = options_.quantisationAware && trained.param->format.quantised();
  const bool copied = !trained.param->isVector && weights.type() != at::kFloat;
  const at::Tensor matrix = trained.master;
  trained.weight->value =
      copied || trained.fakeQuantised
          ? at::empty_like(matrix, at::TensorOptions(copied ? weights.type() : at::kFloat))
          : matrix;
  if (trained.fakeQuantised && options_.freezeCodes) {
    trained.codes.emplace(trained.param->format, matrix);
    trained.master = trained.codes->ones();
  }
  publish(trained);
  if (std::ranges::find(options_.frozen, trained.param->name) != options_.frozen.end())
    return;
  trained.mean = at::zeros_like(trained.master);
  trained.variance = at::zeros_like(trained.master);
  trained.weight->grad = at::empty_like(matrix);
  trained.grad = trained.codes ? at::empty_like(trained.master) : trained.weight->grad;
  params_.push_back(std::move(trained));
}

void Optimizer::clearGradients() {
  for (Trained &trained : params_)
    trained.weight->hasGrad = false;
}

void Optimizer::restart(const Model &model) {
  for (Trained &trained : params_) {
    if (trained.codes)
      trained.master.fill_(1);
    else
      trained.master.copy_(readParam(model, ParamId(trained.param - model.graph->params.data())));
    trained.mean.zero_();
    trained.variance.zero_();
  }
  publish();
}

void Optimizer::publish() {
  for (Trained &trained : params_)
    publish(trained);
}

void Optimizer::publish(Trained &trained) {
  at::Tensor &value = trained.weight->value;
  if (trained.codes) {
    value.copy_(trained.values());
  } else if (trained.fakeQuantised) {
    const at::Tensor quantised = trained.master.clone();
    fakeQuantise(trained.param->format, quantised);
    value.copy_(quantised);
  } else if (value.data_ptr() != trained.master.data_ptr()) {
    value.copy_(trained.master);
  }
}

double Optimizer::gradientNorm() {
  double sum = 0;
  for (const Trained &trained : params_) {
    if (!trained.weight->hasGrad)
      continue;
    if (trained.codes)
      trained.codes->reduce(trained.weight->grad, trained.grad);
    // Parts of fixed size, added in order: the same sum for any number of threads.
    const at::Tensor &grad = trained.grad;
    const int64_t part = 65536, count = (grad.numel() + part - 1) / part;
    std::vector<double> sums(static_cast<size_t>(count));
    parallel(count, 1, [&](int64_t begin, int64_t end) {
      for (int64_t p = begin; p < end; ++p)
        sums[size_t(p)] =
            sumOfSquares(data<float>(grad), p * part, std::min(grad.numel(), (p + 1) * part));
    });
    for (const double s : sums)
      sum += s;
  }
  return std::sqrt(sum);
}

void Optimizer::apply(Trained &trained, double rate, double scale, int64_t step) {
  const at::Tensor &value = trained.weight->value, &master = trained.master;
  const bool copies = value.scalar_type() == at::kBFloat16 && !trained.fakeQuantised;
  const double decay = trained.param->isVector || trained.codes ? 0 : options_.weightDecay;
  const float step1 = float(1 / (1 - std::pow(options_.beta1, double(step + 1))));
  const float step2 = float(1 / (1 - std::pow(options_.beta2, double(step + 1))));
  parallel(master.numel(), kGrain, [&](int64_t begin, int64_t end) {
    kernels<Bf16>().adamw(data<float>(master), data<float>(trained.mean),
                          data<float>(trained.variance), data<float>(trained.grad),
                          copies ? data<Bf16>(value) : nullptr, begin, end, float(rate),
                          float(decay), float(options_.beta1), float(options_.beta2),
                          float(options_.epsilon), step1, step2, float(scale));
  });
  if (trained.fakeQuantised)
    publish(trained);
}

bool Optimizer::update(int64_t step, int64_t predicted, double rate) {
  const double mean = 1.0 / double(std::max<int64_t>(1, predicted));
  const double norm = gradientNorm() * mean;
  const bool clip = options_.clipNorm > 0 && norm > options_.clipNorm;
  const double scale = mean * (clip ? options_.clipNorm / norm : 1);
  if (std::isfinite(norm))
    for (Trained &trained : params_)
      if (trained.weight->hasGrad)
        apply(trained, rate, scale, step);
  clearGradients();
  return std::isfinite(norm);
}

} // namespace retort::exec
