//===- Estimate.cpp - What data work will take ------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Estimate.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

namespace retort {
namespace {

/// Flops a second of libtorch's matrix products in bf16 on one core, as measured on an EPYC 9004
/// (AVX512_BF16: 300-400 GFLOPS on two cores) and its f32 rate, which others come near to.
double flopsPerSecond() {
  const double core = __builtin_cpu_supports("avx512bf16") ? 150e9 : 50e9;
  return core * std::max(1u, std::thread::hardware_concurrency());
}

/// Memory that libtorch and the process take besides weights and activations.
constexpr uint64_t kBaseBytes = 600'000'000;

/// Bytes of activations kept for a backward pass: about 34 numbers of 2 bytes a hidden feature and
/// layer, besides the logits' chunk.
uint64_t activationBytes(lm::ModelOp model, int64_t tokens) {
  return static_cast<uint64_t>(model.getBlocks().size() * model.getHidden() * 68 * tokens);
}

int64_t elementCount(lm::ParamOp param) {
  return mlir::ShapedType::getNumElements(param.getShape());
}

int64_t largestBlockElements(lm::ModelOp model) {
  return parameterCount(model) / std::max<int64_t>(1, model.getBlocks().size());
}

} // namespace

int64_t parameterCount(lm::ModelOp model) {
  int64_t count = 0;
  for (lm::ParamOp param : model.getBody()->getOps<lm::ParamOp>())
    count += elementCount(param);
  return count;
}

PlannedWork estimateObserve(lm::ModelOp model, int64_t tokens, const std::string &name,
                            bool cached) {
  PlannedWork work{name, cached, 0, 0, 1'000'000};
  work.seconds = 2.0 * parameterCount(model) * tokens / flopsPerSecond();
  // Block by block: one block's weights in f32 and bf16, and the residual stream of all rows.
  work.memoryBytes = kBaseBytes + 6 * largestBlockElements(model) + 2 * model.getHidden() * tokens;
  return work;
}

PlannedWork estimateScore(lm::ModelOp model, int64_t tokens, const std::string &name, bool cached) {
  PlannedWork work = estimateObserve(model, tokens ? tokens : 50'000, name, cached);
  work.memoryBytes += 6 * model.getVocab() * model.getHidden();
  work.diskBytes = 1000;
  return work;
}

PlannedWork estimateFit(lm::ModelOp student, lm::ModelOp teacher, distill::FitOp op,
                        const std::string &name, bool cached) {
  PlannedWork work{name, cached, 0, 0, 0};
  work.seconds =
      2.0 * (parameterCount(teacher) + parameterCount(student)) * op.getTokens() / flopsPerSecond();
  work.memoryBytes =
      kBaseBytes + 6 * (largestBlockElements(student) + largestBlockElements(teacher));
  work.memoryBytes += 32 * student.getHidden() * op.getTokens();
  for (auto name : op.getParams().getAsRange<mlir::StringAttr>()) {
    const auto shape = student.lookupParam(name).getShape();
    work.memoryBytes += 4 * shape[0] * shape[1];
    work.diskBytes += 4 * shape[0] * shape[1];
    // The normal equations, in f32: a third of bf16's rate.
    work.seconds += 6.0 * shape[1] * (shape[0] + shape[1]) * op.getTokens() / flopsPerSecond();
  }
  return work;
}

PlannedWork estimateTrain(lm::ModelOp student, lm::ModelOp teacher, distill::TrainOp op,
                          const std::string &name, bool cached) {
  PlannedWork work{name, cached, 0, 0, 0};
  int64_t trained = 0;
  for (lm::ParamOp param : student.getBody()->getOps<lm::ParamOp>())
    if (!op.isFrozen(param.getSymName()))
      trained += elementCount(param);
  const int64_t parameters = parameterCount(student);
  // Forward and the gradients of activations for all parameters, those of weights for the trained.
  work.seconds =
      (4.0 * double(parameters) + 2.0 * double(trained)) * op.getTokens() / flopsPerSecond();
  // Master weights, gradients and two moments in f32 of what is trained, and a bf16 copy of all.
  work.memoryBytes = kBaseBytes + static_cast<uint64_t>(16 * trained + 2 * parameters) +
                     activationBytes(student, op.getBatchTokens());
  if (teacher) {
    work.seconds += 2.0 * parameterCount(teacher) * op.getTokens() / flopsPerSecond();
    work.memoryBytes += 2 * parameterCount(teacher);
  }
  work.diskBytes = static_cast<uint64_t>(16 * trained); // result, and checkpoint until then
  return work;
}

Statistics plannedStatistics(lm::ModelOp model) {
  Statistics result;
  result.tokens = 1;
  for (lm::BlockOp block : model.getBlocks()) {
    int64_t channels = 0, groups = 0;
    block.walk([&](lm::GluOp glu) { channels = lm::features(glu.getGate()); });
    block.walk([&](lm::AttentionOp attention) { groups = attention.getKvHeads(); });
    auto sizeOf = [&](Observed each) -> size_t {
      switch (each) {
      case Observed::Vocabulary:
        return 0;
      case Observed::Block:
        return 1;
      case Observed::Channel:
        return channels;
      case Observed::Group:
        return groups;
      }
      return 0;
    };
    Statistics::Block &values = result.blocks[block.getLabel().str()];
    for (const StatisticInfo &info : kStatistics)
      values[info.statistic].assign(sizeOf(info.each), 1.0);
  }
  return result;
}

static exec::Schedule scheduleOf(Schedule schedule) {
  switch (schedule) {
  case Schedule::Cosine:
    return exec::Schedule::Cosine;
  case Schedule::Linear:
    return exec::Schedule::Linear;
  case Schedule::Constant:
    return exec::Schedule::Constant;
  }
  fail(ExitCode::Internal, "a schedule that the executor does not know");
}

exec::TrainOptions trainOptions(distill::TrainOp op) {
  exec::TrainOptions options;
  options.losses.crossEntropy = 0;
  for (distill::LossAttr loss : op.getLossList()) {
    const double weight = loss.getWeight();
    switch (loss.getKind()) {
    case distill::LossKind::ForwardKL:
      options.losses.forwardKl = weight;
      break;
    case distill::LossKind::ReverseKL:
      options.losses.reverseKl = weight;
      break;
    case distill::LossKind::JensenShannon:
      options.losses.jensenShannon = weight;
      break;
    case distill::LossKind::HiddenState:
      options.losses.hiddenMatching = weight;
      break;
    case distill::LossKind::CrossEntropy:
      options.losses.crossEntropy = weight;
      break;
    }
    if (loss.hasTemperature())
      options.losses.temperature = loss.getTemperature();
  }
  options.totalTokens = op.getTokens();
  options.batchTokens = op.getBatchTokens();
  // Each window of a packed sequence has one row more than targets: room for them.
  options.microTokens = op.getBatchTokens() + op.getBatchTokens() / 8;
  options.learningRate = op.getLearningRate();
  options.schedule = scheduleOf(op.getSchedule());
  options.warmupFraction = op.getWarmup();
  options.weightDecay = op.getWeightDecay();
  options.clipNorm = op.getClip();
  options.quantisationAware = static_cast<bool>(op.getQuantize());
  if (op.getFrozen())
    for (auto name : op.getFrozen()->getAsRange<mlir::StringAttr>())
      options.frozen.push_back(name.str());
  return options;
}

} // namespace retort
