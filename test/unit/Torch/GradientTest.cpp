//===- GradientTest.cpp - Gradients against differences of losses ------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Torch/Forward.h"
#include "compiler/Torch/Loss.h"
#include "compiler/Torch/Optimizer.h"
#include "compiler/Weights/Pack.h"
#include "test/unit/Torch/TinyModel.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace retort::exec {
namespace {

/// A student, a teacher of another seed, and the loss of some packed documents.
struct Problem {
  TinyModel tiny{37, 1}, other{37, 2};
  Model model = tiny.model(), teacherModel = other.model();
  Weights weights{model, at::kFloat}, teacherWeights{teacherModel, at::kFloat};
  Forward forward{tiny.graph, weights}, teacher{other.graph, teacherWeights};
  Losses losses;
  Rows rows;

  Problem() {
    const auto sequences = randomSequences({{9, 1, 12}, {17}}, 37);
    const Sequence *both[] = {&sequences[0], &sequences[1]};
    rows = layOut(both);
  }

  /// The sum of the losses; with `train`, the gradients too.
  double loss(bool train, int64_t logitsBytes = kLogitsBytes) {
    std::map<std::string, at::Tensor> blocks;
    at::Tensor theirs;
    {
      const c10::NoGradGuard noGrad;
      theirs = teacher.run(rows, [&](size_t block, at::Tensor out) {
        blocks[other.graph.blocks[block].label] = out;
        return out;
      });
    }
    double matched = 0;
    const at::Tensor hidden = forward.run(rows, [&](size_t block, at::Tensor out) {
      return losses.hiddenMatching > 0 ? matchHidden(out, blocks[tiny.graph.blocks[block].label],
                                                     losses.hiddenMatching, &matched)
                                       : out;
    });
    const Head target = teacher.head(theirs);
    at::Tensor gradHidden;
    double sum = matched;
    for (const RowFigures &row :
         lossOfRows(forward.head(hidden.detach()), &target, rows.targets, lossRule(losses),
                    train ? &weights.get(forward.logits().param("weight")) : nullptr,
                    train ? &gradHidden : nullptr, logitsBytes))
      sum += row.loss;
    if (train)
      hidden.backward(gradHidden);
    return sum;
  }

  void clearGradients() {
    for (size_t p = 0; p < tiny.graph.params.size(); ++p) {
      Weight &weight = weights.get(ParamId(p));
      weight.grad = at::zeros_like(weight.value);
      weight.hasGrad = false;
    }
  }

  void checkGradients() {
    clearGradients();
    loss(true);
    for (size_t p = 0; p < tiny.graph.params.size(); ++p) {
      Weight &weight = weights.get(ParamId(p));
      ASSERT_TRUE(weight.hasGrad) << tiny.graph.params[p].name;
      checkDirection(weight, tiny.graph.params[p].name);
    }
  }

  /// Along the gradient's own direction the loss changes by |gradient|.
  void checkDirection(Weight &weight, const std::string &name) {
    const double norm = weight.grad.norm().item<double>();
    ASSERT_GT(norm, 1e-4) << name;
    const at::Tensor kept = weight.value.clone(), way = weight.grad / norm;
    const double h = 4e-3;
    weight.value.copy_(kept + h * way);
    const double above = loss(false);
    weight.value.copy_(kept - h * way);
    const double below = loss(false);
    weight.value.copy_(kept);
    EXPECT_NEAR((above - below) / (2 * h), norm, 0.01 * norm + 2e-2) << name;
  }
};

TEST(Gradient, CrossEntropy) {
  Problem problem;
  problem.losses = {.crossEntropy = 1};
  problem.checkGradients();
}

TEST(Gradient, ForwardKlAndCrossEntropy) {
  Problem problem;
  problem.losses = {.crossEntropy = 0.5, .forwardKl = 1};
  problem.checkGradients();
}

TEST(Gradient, AllLossesWithTemperature) {
  Problem problem;
  problem.losses = {.crossEntropy = 0.3,
                    .forwardKl = 0.4,
                    .reverseKl = 0.5,
                    .jensenShannon = 0.6,
                    .hiddenMatching = 0.2,
                    .temperature = 1.7};
  problem.checkGradients();
}

TEST(Gradient, ReverseKlAlone) {
  Problem problem;
  problem.losses = {.reverseKl = 1};
  problem.checkGradients();
}

TEST(Gradient, JensenShannonAlone) {
  Problem problem;
  problem.losses = {.jensenShannon = 1};
  problem.checkGradients();
}

// The memory that logits may take changes no loss and no gradient.
TEST(Loss, ChunksGiveTheSame) {
  Problem problem;
  problem.losses = {.crossEntropy = 1, .forwardKl = 1};
  problem.clearGradients();
  const double whole = problem.loss(true);
  const at::Tensor grad = problem.weights.get(0).grad.clone();
  problem.clearGradients();
  EXPECT_NEAR(problem.loss(true, 3 * 37 * 4), whole, 1e-4);
  EXPECT_LT((problem.weights.get(0).grad - grad).abs().max().item<float>(), 1e-4f);
}

// What is frozen is read, rounded where training rounds, and neither gradient nor moments are kept.
TEST(Optimizer, FrozenParametersHoldNoState) {
  TinyModel tiny;
  tiny.graph.params[0].format = NumberFormat{NumberFormat::Kind::I4, 32};
  const Model model = tiny.model();
  TrainOptions options;
  options.quantisationAware = true;
  options.frozen = {tiny.graph.params[0].name, "output_norm.weight"};
  Weights weights(model, at::kBFloat16);
  Optimizer optimizer(model, weights, options);
  EXPECT_EQ(optimizer.params().size(), tiny.graph.params.size() - 2);
  for (const Trained &trained : optimizer.params()) {
    EXPECT_EQ(std::ranges::find(options.frozen, trained.param->name), options.frozen.end());
    EXPECT_TRUE(trained.weight->grad.defined());
  }
  const Weight &table = weights.slot(0);
  EXPECT_FALSE(table.grad.defined());
  at::Tensor rounded = readParam(model, 0);
  fakeQuantise(tiny.graph.params[0].format, rounded);
  EXPECT_TRUE(at::equal(table.value, rounded.to(at::kBFloat16)));
}

// Factors of 1 give the rounded matrix; others keep the codes, whatever the format, and rounding again
// changes nothing. Their gradient is the matrix's along the direction in which they move it.
TEST(ScaledCodes, KeepCodesAndFollowTheirScales) {
  for (const char *name : {"i4g64s", "i4g32a", "i8g32", "f8g64", "i3g64s"}) {
    const NumberFormat format = *named<NumberFormat>(name);
    at::Tensor matrix = at::randn({17, 200}) * 0.05;
    const ScaledCodes codes(format, matrix);
    fakeQuantise(format, matrix);
    at::Tensor written = at::empty_like(matrix);
    codes.write(codes.ones(), written);
    EXPECT_TRUE(at::equal(written, matrix)) << name;

    const at::Tensor factors = codes.ones() + at::randn(codes.ones().sizes()) * 0.1;
    codes.write(factors, written);
    at::Tensor again = written.clone();
    fakeQuantise(format, again);
    EXPECT_LT((again - written).abs().max().item<float>(), 1e-6f) << name;

    // Scales are f16: a step of 1/8 shows over the rounding.
    const at::Tensor gradient = at::randn(matrix.sizes()), reduced = at::empty_like(factors);
    codes.reduce(gradient, reduced);
    const at::Tensor direction = at::randn(factors.sizes());
    at::Tensor ahead = at::empty_like(matrix), behind = at::empty_like(matrix);
    codes.write(codes.ones() + direction / 16, ahead);
    codes.write(codes.ones() - direction / 16, behind);
    const double along = ((ahead - behind) * 8 * gradient).sum(at::kDouble).item<double>();
    EXPECT_NEAR((reduced * direction).sum(at::kDouble).item<double>(), along,
                0.02 * std::abs(along) + 0.05)
        << name;
  }
}

// The rates of 10 steps, of which the first 2 warm up, from the formulas by hand.
TEST(Optimizer, SchedulesAsTheySay) {
  TrainOptions options;
  options.learningRate = 1;
  options.warmupFraction = 0.2;
  auto rates = [&](Schedule schedule) {
    options.schedule = schedule;
    std::vector<double> rates;
    for (const int64_t step : {0, 1, 2, 4, 6, 9})
      rates.push_back(learningRate(options, step, 10));
    return rates;
  };
  using testing::DoubleNear;
  using testing::ElementsAre;
  auto near = [](double value) { return DoubleNear(value, 1e-6); };
  // (1 + cos(pi k / 8)) / 2 for k = 0, 2, 4, 7.
  EXPECT_THAT(rates(Schedule::Cosine), ElementsAre(near(0.5), near(1), near(1), near(0.8535534),
                                                   near(0.5), near(0.0380602)));
  EXPECT_THAT(rates(Schedule::Linear),
              ElementsAre(near(0.5), near(1), near(1), near(0.75), near(0.5), near(0.125)));
  EXPECT_THAT(rates(Schedule::Constant),
              ElementsAre(near(0.5), near(1), near(1), near(1), near(1), near(1)));
}

// What training sees of a quantised weight is what packing stores, to the bit.
TEST(FakeQuantise, EqualsPacking) {
  for (const char *name : {"i4g32s", "i4g32a", "i4g128a", "i8g32", "f8g64", "i3g64s"}) {
    const NumberFormat format = *named<NumberFormat>(name);
    at::Tensor matrix = at::randn({19, 200}) * 0.05;
    const at::Tensor before = matrix.clone();
    fakeQuantise(format, matrix);
    std::vector<uint8_t> block(size_t(weight::blockBytes(format, 200)));
    std::vector<float> unpacked(16 * 200);
    weight::packBlock(format, before.data_ptr<float>(), 16, 200, block);
    weight::unpackBlock(format, block, 200, unpacked.data());
    EXPECT_TRUE(at::equal(matrix.narrow(0, 0, 16), at::tensor(unpacked).view({16, 200})));
    EXPECT_FALSE(at::equal(matrix, before));
  }
}

// The formats that caches and weights are packed in are those of libtorch's casts, but that e4m3
// saturates.
TEST(Rounding, IsTorchs) {
  const at::Tensor sizes =
      at::exp2(at::linspace(-14, 12, 200000)) * at::where(at::arange(200000) % 2 == 0, 1.0, -1.0);
  const at::Tensor values = sizes.to(at::kFloat).contiguous();
  const float *value = values.data_ptr<float>();
  const at::Tensor half = values.to(at::kHalf).to(at::kFloat),
                   brain = values.to(at::kBFloat16).to(at::kFloat);
  const at::Tensor eight = values.clamp(-448, 448).to(at::kFloat8_e4m3fn).to(at::kFloat);
  for (int64_t i = 0; i < values.numel(); ++i) {
    ASSERT_EQ(fromHalf(toHalf(value[i])), half.data_ptr<float>()[i]) << value[i];
    ASSERT_EQ(fromBFloat16(toBFloat16(value[i])), brain.data_ptr<float>()[i]) << value[i];
    ASSERT_EQ(fromE4m3(toE4m3(value[i])), eight.data_ptr<float>()[i]) << value[i];
  }
}

// A block's rows attend within their documents: packed rows are those of the documents alone.
TEST(Rows, LayOut) {
  const auto sequences = randomSequences({{3, 1}, {2}}, 37);
  const Sequence *both[] = {&sequences[0], &sequences[1]};
  const Rows rows = layOut(both);
  EXPECT_EQ(rows.positions, (std::vector<int32_t>{0, 1, 2, 0, 0, 1}));
  EXPECT_EQ(rows.targets[0], sequences[0].tokens[1]);
  EXPECT_EQ(rows.targets[2], kNone);
  EXPECT_EQ(rows.targets[3], kNone);
  EXPECT_EQ(rows.targets[4], sequences[1].tokens[1]);
  EXPECT_EQ(rows.targets[5], kNone);
}

} // namespace
} // namespace retort::exec
