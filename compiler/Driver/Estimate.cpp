//===- Estimate.cpp - What data work will take ------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Estimate.h"
#include "dialects/LM/Units.h"
#include "runtime/base/Machine.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace retort {
namespace {

/// Flops a second of libtorch's matrix products on all cores, as measured: an EPYC 9004 with
/// AVX512_BF16 makes 150 GFLOPS a core in bf16 and a third of that in f32, one with AVX2 30 in f32.
double f32FlopsPerSecond() {
  const double core = __builtin_cpu_supports("x86-64-v4") ? 50e9 : 30e9;
  return core * usableCores();
}
double flopsPerSecond() {
  return f32FlopsPerSecond() * (exec::fastPrecision() == exec::Precision::Bf16 ? 3 : 1);
}

/// Bytes of an activation and of a matrix element as products read them.
uint64_t widthBytes() { return exec::fastPrecision() == exec::Precision::Bf16 ? 2 : 4; }
/// Bytes of a matrix element that is read as f32 and kept as products read it.
uint64_t readBytes() { return widthBytes() == 2 ? 6 : 4; }

/// Memory that libtorch and the process take besides weights and activations.
constexpr uint64_t kBaseBytes = 600'000'000;

/// Bytes of activations kept for a backward pass: about 34 numbers a hidden feature and layer, besides
/// the logits' chunk; of one layer, and the stream before each, where they are computed again.
uint64_t activationBytes(lm::ModelOp model, int64_t tokens, bool recompute) {
  const uint64_t features = static_cast<uint64_t>(model.getHidden() * tokens);
  const uint64_t layers = model.getBlocks().size(), layer = 34 * widthBytes() * features;
  return recompute ? layer + 4 * layers * features : layers * layer;
}

int64_t elementCount(lm::ParamOp param) {
  return mlir::ShapedType::getNumElements(param.getShape());
}

int64_t largestBlockElements(lm::ModelOp model) {
  return parameterCount(model) / std::max<int64_t>(1, model.getBlocks().size());
}

/// Numbers a token that a fit keeps of what the teacher's layers give, in the block where it keeps
/// most: layers that end a unit are solved towards the stream instead.
int64_t keptOutputs(lm::ModelOp student, distill::FitOp op) {
  const auto fitted = op.getParams().getAsValueRange<mlir::StringAttr>();
  int64_t most = 0;
  for (lm::BlockOp block : student.getBlocks()) {
    const lm::Units units(block);
    int64_t features = 0;
    block.walk([&](lm::LinearOp linear) {
      const lm::Unit *unit = units.of(linear);
      const bool added = unit && unit->output == linear;
      if (!added && llvm::is_contained(fitted, linear.getWeight()))
        features += lm::features(linear.getResult());
    });
    most = std::max(most, features);
  }
  return most;
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
  // Block by block: one block's weights, and the residual stream of all rows.
  work.memoryBytes =
      kBaseBytes + readBytes() * largestBlockElements(model) + 4 * model.getHidden() * tokens;
  return work;
}

PlannedWork estimateProbe(lm::ModelOp model, distill::ProbeOp op, size_t groups,
                          const std::string &name, bool cached) {
  PlannedWork work{name, cached, 0, 0, 100'000};
  // A group's stream goes through half of the blocks, on average, and the logits; GPTQ to each format.
  const double parameters = double(parameterCount(model)),
               logits = double(model.getVocab() * model.getHidden());
  work.seconds = (2 * parameters * double(op.getTokens()) +
                  double(groups) * (parameters + logits) * double(op.getMeasured())) /
                 f32FlopsPerSecond();
  for (lm::ParamOp param : model.getBody()->getOps<lm::ParamOp>())
    if (param.getShape().size() == 2) {
      const double rows = double(param.getShape()[0]), columns = double(param.getShape()[1]);
      work.seconds += (2.0 * columns * columns * double(op.getTokens()) +
                       8.0 / 3 * columns * columns * columns +
                       4.0 * double(op.getFormats().size()) * rows * columns * columns) /
                      f32FlopsPerSecond();
    }
  work.memoryBytes = kBaseBytes + 4 * (op.getFormats().size() + 2) * largestBlockElements(model) +
                     32 * model.getHidden() * op.getTokens() +
                     4 * model.getHidden() * op.getMeasured() * (groups + 2) +
                     4 * model.getVocab() * model.getHidden();
  return work;
}

PlannedWork estimateScore(lm::ModelOp model, int64_t tokens, const std::string &name, bool cached) {
  // In f32, whatever is faster.
  const int64_t scored = tokens ? tokens : 50'000;
  PlannedWork work{name, cached, 2.0 * parameterCount(model) * scored / f32FlopsPerSecond(), 0,
                   1000};
  work.memoryBytes = kBaseBytes + 4 * largestBlockElements(model) + 4 * model.getHidden() * scored;
  work.memoryBytes += 4 * model.getVocab() * model.getHidden();
  return work;
}

PlannedWork estimateFit(lm::ModelOp student, lm::ModelOp teacher, distill::FitOp op,
                        const std::string &name, bool cached) {
  PlannedWork work{name, cached, 0, 0, 0};
  work.seconds =
      2.0 * (parameterCount(teacher) + parameterCount(student)) * op.getTokens() / flopsPerSecond();
  work.memoryBytes =
      kBaseBytes + readBytes() * (largestBlockElements(student) + largestBlockElements(teacher));
  work.memoryBytes +=
      (32 * student.getHidden() + widthBytes() * keptOutputs(student, op)) * op.getTokens();
  double widest = 0;
  for (auto name : op.getParams().getAsRange<mlir::StringAttr>()) {
    const auto shape = student.lookupParam(name).getShape();
    const double rows = shape[0], cols = shape[1];
    widest = std::max(widest, cols);
    work.memoryBytes += 4 * shape[0] * shape[1];
    work.diskBytes += 4 * shape[0] * shape[1];
    // The normal equations in f32; their roots and inverse in f64, at half the rate; GPTQ's rows.
    work.seconds += (2.0 * cols * (rows + cols) * op.getTokens() + 8.0 / 3 * cols * cols * cols +
                     (op.getQuantize() ? 4.0 * rows * cols * cols : 0)) /
                    f32FlopsPerSecond();
  }
  // The equations of a block's widest input, their root, inverse and what is factorised, in f64.
  work.memoryBytes += static_cast<uint64_t>(32 * widest * widest);
  return work;
}

PlannedWork estimateTrain(lm::ModelOp student, lm::ModelOp teacher, distill::TrainOp op,
                          const std::string &name, bool cached, uint64_t memory) {
  PlannedWork work{name, cached, 0, 0, 0};
  int64_t trained = 0;
  for (lm::ParamOp param : student.getBody()->getOps<lm::ParamOp>())
    if (!op.isFrozen(param.getSymName()))
      trained += elementCount(param);
  const int64_t parameters = parameterCount(student);
  // Forward and the gradients of activations for all parameters, those of weights for the trained.
  work.seconds =
      (4.0 * double(parameters) + 2.0 * double(trained)) * op.getTokens() / flopsPerSecond();
  // Weights, gradients and two moments in f32 of what is trained, beside what products read if that
  // is not f32, or rounded.
  const uint64_t copies = widthBytes() == 2 ? 2 : op.getQuantize() ? 4 : 0;
  work.memoryBytes = kBaseBytes + (16 + copies) * static_cast<uint64_t>(trained) +
                     widthBytes() * static_cast<uint64_t>(parameters - trained);
  if (teacher) {
    work.seconds += 2.0 * parameterCount(teacher) * op.getTokens() / flopsPerSecond();
    work.memoryBytes += widthBytes() * parameterCount(teacher);
  }
  const uint64_t activations = activationBytes(student, op.getBatchTokens(), false);
  work.recompute = work.memoryBytes + activations > memory;
  if (work.recompute)
    work.seconds += 2.0 * double(parameters) * op.getTokens() / flopsPerSecond();
  work.memoryBytes +=
      work.recompute ? activationBytes(student, op.getBatchTokens(), true) : activations;
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

RoundingCosts plannedCosts(lm::ModelOp model, distill::ProbeOp op,
                           const std::vector<std::vector<std::string>> &groups) {
  RoundingCosts costs;
  for (auto format : op.getFormats().getAsRange<weight::FormatAttr>())
    costs.formats.push_back(format.getValue());
  for (const std::vector<std::string> &names : groups) {
    RoundingCosts::Group &group = costs.groups.emplace_back();
    group.params = names;
    double weights = 0;
    for (const std::string &name : names)
      weights += double(elementCount(model.lookupParam(name)));
    for (const NumberFormat &format : costs.formats)
      group.kl.push_back(weights * std::exp2(-2 * format.bitsPerWeight()));
  }
  return costs;
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
  options.batchTokens = op.getBatchTokens();
  // Each window of a packed sequence has one row more than targets: room for them.
  options.microTokens = op.getBatchTokens() + op.getBatchTokens() / 8;
  options.learningRate = op.getLearningRate();
  options.schedule = op.getSchedule();
  options.warmupFraction = op.getWarmup();
  options.weightDecay = op.getWeightDecay();
  options.clipNorm = op.getClip();
  options.quantisationAware = static_cast<bool>(op.getQuantize());
  options.freezeCodes = op.getFreezeCodes();
  if (op.getFrozen())
    for (auto name : op.getFrozen()->getAsRange<mlir::StringAttr>())
      options.frozen.push_back(name.str());
  return options;
}

} // namespace retort
