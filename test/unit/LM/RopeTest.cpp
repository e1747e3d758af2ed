//===- RopeTest.cpp - Rotary frequencies against transformers' ------------===//
// SPDX-License-Identifier: Apache-2.0
// The expected numbers are those of transformers 5.23 (modeling_rope_utils.ROPE_INIT_FUNCTIONS) for
// a head of 32 features and a base of 500000.
#include "dialects/LM/LMOps.h"
#include "mlir/AsmParser/AsmParser.h"
#include <gmock/gmock.h>

using namespace mlir;
using namespace retort;

namespace {

struct Rope : ::testing::Test {
  MLIRContext context;
  Block block;

  Rope() { context.loadDialect<lm::LMDialect>(); }
  ~Rope() override { block.clear(); }

  lm::RopeOp make(StringRef scaling) {
    if (block.getNumArguments() == 0)
      block.addArgument(lm::rowsType(&context, 64), UnknownLoc::get(&context));
    auto attr = scaling.empty() ? lm::RopeScalingAttr()
                                : cast<lm::RopeScalingAttr>(parseAttribute(
                                      ("#lm.rope_scaling" + scaling).str(), &context));
    OpBuilder builder(&context);
    builder.setInsertionPointToEnd(&block);
    Value x = block.getArgument(0);
    return builder.create<lm::RopeOp>(UnknownLoc::get(&context), x.getType(), x,
                                      builder.getI64IntegerAttr(2), builder.getI64IntegerAttr(32),
                                      builder.getF64FloatAttr(500000.0), attr, FloatAttr(),
                                      IntegerAttr());
  }

  void expect(StringRef scaling, const std::vector<double> &frequencies, double amplitude) {
    lm::RopeOp op = make(scaling);
    auto actual = op.getInverseFrequencies();
    ASSERT_EQ(actual.size(), frequencies.size());
    for (size_t i = 0; i < frequencies.size(); ++i)
      EXPECT_NEAR(actual[i] / frequencies[i], 1.0, 3e-6) << scaling.str() << " pair " << i;
    EXPECT_NEAR(op.getAmplitude(), amplitude, 1e-9);
  }
};

TEST_F(Rope, linear) {
  expect("<linear, factor = 8.0>",
         {0.125, 0.0550458282, 0.0242403448, 0.0106746377, 0.00470075384, 0.00207005511,
          0.000911583134, 0.000401430763, 0.000176776681, 7.78465546e-05, 3.42810235e-05,
          1.50962178e-05, 6.64786967e-06, 2.92749974e-06, 1.28917316e-06, 5.6770881e-07},
         1.0);
}

TEST_F(Rope, llama3) {
  expect("<llama3, factor = 8.0, original_context = 8192.0, low_freq_factor = 1.0, "
         "high_freq_factor = 4.0>",
         {1.0, 0.440366626, 0.193922758, 0.0853971019, 0.0376060307, 0.0165604409, 0.00729266508,
          0.00321144611, 0.000524846022, 7.78465546e-05, 3.42810235e-05, 1.50962178e-05,
          6.64786967e-06, 2.92749974e-06, 1.28917316e-06, 5.6770881e-07},
         1.0);
}

TEST_F(Rope, yarn) {
  expect("<yarn, factor = 4.0, original_context = 32768.0>",
         {1.0, 0.440366626, 0.193922758, 0.0853971019, 0.0376060307, 0.0165604409, 0.00729266508,
          0.00272972928, 0.000989949447, 0.000342524843, 0.000109699278, 3.01924356e-05,
          1.32957393e-05, 5.85499947e-06, 2.57834631e-06, 1.13541762e-06},
         1.138629436111989);
}

TEST_F(Rope, yarnWithoutTruncation) {
  expect("<yarn, factor = 4.0, original_context = 4096.0, beta_fast = 16.0, beta_slow = 2.0, "
         "truncate = false>",
         {1.0, 0.440366626, 0.193922758, 0.0853971019, 0.0376060307, 0.0142104672, 0.00410060259,
          0.000855804188, 0.000353553361, 0.000155693109, 6.85620471e-05, 3.01924356e-05,
          1.32957393e-05, 5.85499947e-06, 2.57834631e-06, 1.13541762e-06},
         1.138629436111989);
}

TEST_F(Rope, yarnWithBothScales) {
  expect("<yarn, factor = 40.0, original_context = 4096.0, mscale = 1.0, mscale_all_dim = 0.5>",
         {1.0, 0.440366626, 0.193922758, 0.0853971019, 0.0302728545, 0.0101018688, 0.00302645564,
          0.000706518069, 3.53553369e-05, 1.55693106e-05, 6.85620444e-06, 3.01924365e-06,
          1.32957393e-06, 5.85500004e-07, 2.57834614e-07, 1.13541766e-07},
         1.1557219901962608);
}

TEST_F(Rope, factorsDivide) {
  std::string list = "1.0";
  std::vector<double> expected(16);
  auto plain = make("").getInverseFrequencies();
  for (size_t i = 0; i < 16; ++i) {
    expected[i] = plain[i] / double(i + 1);
    if (i > 0)
      list += ", " + std::to_string(i + 1) + ".0";
  }
  expect("<factors, factors = [" + list + "]>", expected, 1.0);
}

} // namespace
