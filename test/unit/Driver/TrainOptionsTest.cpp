//===- TrainOptionsTest.cpp - What a distill.train asks of the executor ----===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Estimate.h"
#include "mlir/Parser/Parser.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

using namespace mlir;
using namespace retort;

namespace {

struct TrainOptionsTest : testing::Test {
  MLIRContext context;
  OwningOpRef<ModuleOp> module;

  TrainOptionsTest() { context.loadDialect<distill::DistillDialect, lm::LMDialect>(); }

  static std::string model(const std::string &name) {
    std::string text = "lm.model @" + name + " family \"test\" context 8 vocab 4 hidden 8 {\n";
    for (const char *param : {"token_embd", "output"})
      text += "lm.param @" + std::string(param) + " : tensor<4x8xf32> {\n%0 = weight.load \"" +
              param +
              "\" stored \"F32\" : tensor<4x8xf32>\n"
              "weight.yield %0 : tensor<4x8xf32>\n}\n";
    return text + "lm.forward {\n^bb0(%t: tensor<?xi32>):\n"
                  "%x = lm.embed %t, @token_embd : tensor<?x8xf32>\n"
                  "%l = lm.logits %x, @output : tensor<?x8xf32> -> tensor<?x4xf32>\n"
                  "lm.return %l : tensor<?x4xf32>\n}\n}\n";
  }

  /// The only distill.train of a module with two models, of these losses and this schedule.
  distill::TrainOp train(const std::string &losses, const std::string &schedule,
                         const std::string &more = "") {
    module = parseSourceString<ModuleOp>(
        model("teacher") + model("student") +
            "distill.train @train teacher @teacher student @student losses [" + losses +
            "] tokens 100 sequence_length 10 batch_tokens 20 learning_rate 1.0e-3 warmup 0.1 "
            "schedule " +
            schedule + " weight_decay 0.5 clip 2.0 seed 1 " + more + "\n",
        &context);
    EXPECT_TRUE(module);
    return *module->getOps<distill::TrainOp>().begin();
  }

  PlannedWork estimate(const char *more, uint64_t memory = ~0ull) {
    distill::TrainOp op = train("#distill.loss<forward_kl, weight = 1.0>", "cosine", more);
    auto student = module->lookupSymbol<lm::ModelOp>("student");
    return estimateTrain(student, module->lookupSymbol<lm::ModelOp>("teacher"), op, "train", false,
                         memory);
  }
};

TEST_F(TrainOptionsTest, TakesEveryAttributeOver) {
  const exec::TrainOptions options =
      trainOptions(train("#distill.loss<forward_kl, weight = 0.1, temperature = 3.0>, "
                         "#distill.loss<reverse_kl, weight = 0.2, temperature = 3.0>, "
                         "#distill.loss<jensen_shannon, weight = 0.3, temperature = 3.0>, "
                         "#distill.loss<hidden_state, weight = 0.4>, "
                         "#distill.loss<cross_entropy, weight = 0.5>",
                         "linear", "frozen [\"output\"]"));
  EXPECT_EQ(options.losses.forwardKl, 0.1);
  EXPECT_EQ(options.losses.reverseKl, 0.2);
  EXPECT_EQ(options.losses.jensenShannon, 0.3);
  EXPECT_EQ(options.losses.hiddenMatching, 0.4);
  EXPECT_EQ(options.losses.crossEntropy, 0.5);
  EXPECT_EQ(options.losses.temperature, 3);
  EXPECT_EQ(options.batchTokens, 20);
  EXPECT_EQ(options.learningRate, 1e-3);
  EXPECT_EQ(options.warmupFraction, 0.1);
  EXPECT_EQ(options.weightDecay, 0.5);
  EXPECT_EQ(options.clipNorm, 2);
  EXPECT_FALSE(options.quantisationAware);
  EXPECT_FALSE(options.freezeCodes);
  EXPECT_THAT(options.frozen, testing::ElementsAre("output"));
}

TEST_F(TrainOptionsTest, RoundedTrainings) {
  const char *kl = "#distill.loss<forward_kl, weight = 1.0>";
  const exec::TrainOptions through =
      trainOptions(train(kl, "cosine", "quantize #weight.format<i4g32s>"));
  EXPECT_TRUE(through.quantisationAware && !through.freezeCodes);
  const exec::TrainOptions frozen =
      trainOptions(train(kl, "cosine", "quantize #weight.format<i4g32s> freeze_codes"));
  EXPECT_TRUE(frozen.quantisationAware && frozen.freezeCodes);
}

TEST_F(TrainOptionsTest, Schedules) {
  auto schedule = [&](const char *name) {
    return trainOptions(train("#distill.loss<forward_kl, weight = 1.0>", name)).schedule;
  };
  EXPECT_EQ(schedule("cosine"), Schedule::Cosine);
  EXPECT_EQ(schedule("linear"), Schedule::Linear);
  EXPECT_EQ(schedule("constant"), Schedule::Constant);
}

// What memory does not hold is computed again.
TEST_F(TrainOptionsTest, RecomputesWhereMemoryLacks) {
  const PlannedWork kept = estimate("", ~0ull), again = estimate("", 0);
  EXPECT_FALSE(kept.recompute);
  EXPECT_TRUE(again.recompute);
  EXPECT_GT(again.seconds, kept.seconds);
}

// What is frozen takes no gradients, moments or place in the result.
TEST_F(TrainOptionsTest, FrozenParametersCostLess) {
  const PlannedWork all = estimate(""), some = estimate("frozen [\"output\"]");
  // In bf16 what products read is a copy; in f32 it is the weights.
  const unsigned perWeight = exec::fastPrecision() == exec::Precision::Bf16 ? 16 : 12;
  EXPECT_EQ(all.memoryBytes - some.memoryBytes, perWeight * 4 * 8);
  EXPECT_EQ(all.diskBytes - some.diskBytes, 16u * 4 * 8);
  EXPECT_LT(some.seconds, all.seconds);
}

} // namespace
