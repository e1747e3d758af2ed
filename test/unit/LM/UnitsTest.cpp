//===- UnitsTest.cpp - Finding attentions and gated units -----------------===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/LM/Units.h"
#include "test/unit/LM/Models.h"
#include <gmock/gmock.h>

using namespace mlir;
using namespace retort;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

namespace {

/// "name axis width" of each axis.
std::vector<std::string> axesOf(const lm::Unit &unit) {
  std::vector<std::string> found;
  for (lm::UnitAxis axis : unit.axes())
    found.push_back(
        (axis.param.getSymName() + " " + weight::stringifyAxis(axis.axis) + " " + Twine(axis.width))
            .str());
  return found;
}

StringRef nameOf(lm::Projection input) { return input.op.getParamUses().front().param.getValue(); }

struct UnitsTest : ParsedModel {
  /// The units of a model with this block.
  lm::Units unitsOf(const std::string &block) {
    parse(block);
    return lm::Units(model);
  }
};

TEST_F(UnitsTest, llama) {
  lm::Units units = unitsOf(R"(
    %n = lm.norm %a, @h eps 1.0e-5 : tensor<?x8xf32>
    %q = lm.linear %n, @q bias @q_bias : tensor<?x8xf32> -> tensor<?x8xf32>
    %k = lm.linear %n, @k : tensor<?x8xf32> -> tensor<?x4xf32>
    %v = lm.linear %n, @v : tensor<?x8xf32> -> tensor<?x4xf32>
    %qr = lm.rope %q heads 4 dims 2 base 1.0e4 : tensor<?x8xf32>
    %kr = lm.rope %k heads 2 dims 2 base 1.0e4 : tensor<?x4xf32>
    %o = lm.attention %qr, %kr, %v heads 4 kv_heads 2 scale 0.5 : tensor<?x8xf32>, tensor<?x4xf32>
    %p = lm.linear %o, @o bias @h : tensor<?x8xf32> -> tensor<?x8xf32>
    %x = lm.residual %a, %p : tensor<?x8xf32>
    %g = lm.linear %x, @gate : tensor<?x8xf32> -> tensor<?x12xf32>
    %u = lm.linear %x, @up : tensor<?x8xf32> -> tensor<?x12xf32>
    %s = lm.glu %g, %u act silu : tensor<?x12xf32>
    %d = lm.linear %s, @down : tensor<?x12xf32> -> tensor<?x8xf32>
    %r = lm.residual %x, %d : tensor<?x8xf32>)");
  ASSERT_EQ(units.attentions().size(), 1u);
  const lm::AttentionUnit &attention = units.attentions().front();
  EXPECT_EQ(nameOf(attention.query()), "q");
  EXPECT_EQ(nameOf(attention.key()), "k");
  EXPECT_EQ(nameOf(attention.value()), "v");
  EXPECT_EQ(attention.heads(), 4);
  EXPECT_EQ(attention.kvHeads(), 2);
  EXPECT_EQ(attention.groupSize(), 2);
  EXPECT_EQ(attention.headDim(), 2);
  EXPECT_EQ(attention.window(), std::nullopt);
  EXPECT_EQ(attention.query().between.size(), 1u);
  EXPECT_FALSE(attention.whyNotFed());
  EXPECT_FALSE(attention.whyNotFollowed());
  ASSERT_TRUE(attention.addition.residual);
  EXPECT_THAT(attention.addition.between, IsEmpty());
  // The output's bias is a sum over all heads.
  EXPECT_THAT(axesOf(attention),
              ElementsAre("q rows 4", "q_bias rows 4", "k rows 2", "v rows 2", "o columns 4"));

  ASSERT_EQ(units.gated().size(), 1u);
  const lm::GatedUnit &gated = units.gated().front();
  EXPECT_EQ(gated.channels(), 12);
  EXPECT_TRUE(gated.down());
  EXPECT_THAT(axesOf(gated), ElementsAre("gate rows 1", "up rows 1", "down columns 1"));
  EXPECT_THAT(units.all(), ElementsAre(&attention, &gated));
  EXPECT_EQ(units.of(gated.gate().op), &gated);
  EXPECT_EQ(units.of(attention.query().between.front()), &attention);
  EXPECT_EQ(units.of(attention.addition.residual), nullptr);
  EXPECT_THAT(units.strays(), IsEmpty());

  attention.setParts(1);
  EXPECT_EQ(int64_t(attention.attention().getHeads()), 2);
  EXPECT_EQ(int64_t(attention.attention().getKvHeads()), 1);
  EXPECT_EQ(lm::features(attention.query().rows), 4);
  EXPECT_EQ(attention.query().between.front()->getAttrOfType<IntegerAttr>("heads").getInt(), 2);
}

// Norms of query and key heads: their gain is the same for each head, so none is cut.
TEST_F(UnitsTest, qwen3) {
  lm::Units units = unitsOf(R"(
    %q = lm.linear %a, @q : tensor<?x8xf32> -> tensor<?x8xf32>
    %k = lm.linear %a, @k : tensor<?x8xf32> -> tensor<?x4xf32>
    %v = lm.linear %a, @v : tensor<?x8xf32> -> tensor<?x4xf32>
    %qn = lm.norm %q, @head eps 1.0e-6 groups 4 : tensor<?x8xf32>
    %kn = lm.norm %k, @head eps 1.0e-6 groups 2 : tensor<?x4xf32>
    %qr = lm.rope %qn heads 4 dims 2 base 1.0e4 : tensor<?x8xf32>
    %kr = lm.rope %kn heads 2 dims 2 base 1.0e4 : tensor<?x4xf32>
    %o = lm.attention %qr, %kr, %v heads 4 kv_heads 2 scale 0.5 : tensor<?x8xf32>, tensor<?x4xf32>
    %p = lm.linear %o, @o : tensor<?x8xf32> -> tensor<?x8xf32>
    %r = lm.residual %a, %p : tensor<?x8xf32>)");
  const lm::AttentionUnit &attention = units.attentions().front();
  EXPECT_EQ(attention.key().between.size(), 2u);
  EXPECT_FALSE(attention.whyNotFed());
  EXPECT_THAT(axesOf(attention), ElementsAre("q rows 4", "k rows 2", "v rows 2", "o columns 4"));
}

// Sinks are numbers of query heads, and a gate on the result goes with its heads.
TEST_F(UnitsTest, sinksAndGate) {
  lm::Units units = unitsOf(R"(
    %q = lm.linear %a, @q : tensor<?x8xf32> -> tensor<?x8xf32>
    %k = lm.linear %a, @k : tensor<?x8xf32> -> tensor<?x4xf32>
    %v = lm.linear %a, @v : tensor<?x8xf32> -> tensor<?x4xf32>
    %g = lm.linear %a, @opening : tensor<?x8xf32> -> tensor<?x8xf32>
    %o = lm.attention %q, %k, %v heads 4 kv_heads 2 scale 0.5 sinks @sinks : tensor<?x8xf32>, tensor<?x4xf32>
    %t = lm.gate %o by %g act sigmoid : tensor<?x8xf32>
    %p = lm.linear %t, @o : tensor<?x8xf32> -> tensor<?x8xf32>
    %r = lm.residual %a, %p : tensor<?x8xf32>)");
  const lm::AttentionUnit &attention = units.attentions().front();
  EXPECT_FALSE(attention.whyNotFed());
  EXPECT_FALSE(attention.whyNotFollowed());
  ASSERT_TRUE(attention.addition.residual);
  EXPECT_THAT(axesOf(attention), ElementsAre("q rows 4", "k rows 2", "v rows 2", "opening rows 4",
                                             "sinks rows 2", "o columns 4"));
  EXPECT_EQ(units.of(attention.gate), &attention);
  EXPECT_THAT(units.strays(), IsEmpty());
  attention.setParts(1);
  EXPECT_EQ(int64_t(attention.attention().getHeads()), 2);
  EXPECT_EQ(lm::features(attention.gate->getOperand(1)), 4);
  EXPECT_EQ(lm::features(attention.result()), 4);
}

// A norm stands between the output projection and the stream, and attention is windowed.
TEST_F(UnitsTest, gemma3) {
  lm::Units units = unitsOf(R"(
    %n = lm.norm %a, @h eps 1.0e-6 offset : tensor<?x8xf32>
    %q = lm.linear %n, @q : tensor<?x8xf32> -> tensor<?x8xf32>
    %k = lm.linear %n, @k : tensor<?x8xf32> -> tensor<?x4xf32>
    %v = lm.linear %n, @v : tensor<?x8xf32> -> tensor<?x4xf32>
    %qn = lm.norm %q, @head eps 1.0e-6 groups 4 offset : tensor<?x8xf32>
    %kn = lm.norm %k, @head eps 1.0e-6 groups 2 offset : tensor<?x4xf32>
    %o = lm.attention %qn, %kn, %v heads 4 kv_heads 2 scale 0.5 window 16 : tensor<?x8xf32>, tensor<?x4xf32>
    %p = lm.linear %o, @o : tensor<?x8xf32> -> tensor<?x8xf32>
    %pn = lm.norm %p, @h eps 1.0e-6 offset : tensor<?x8xf32>
    %r = lm.residual %a, %pn : tensor<?x8xf32>)");
  const lm::AttentionUnit &attention = units.attentions().front();
  EXPECT_EQ(attention.window(), 16);
  ASSERT_TRUE(attention.addition.residual);
  EXPECT_EQ(attention.addition.between.size(), 1u);
  EXPECT_FALSE(attention.whyNotFed());
}

// Fused projections are followed through their split, but no part can be taken from them.
TEST_F(UnitsTest, fused) {
  lm::Units units = unitsOf(R"(
    %qkv = lm.linear %a, @qkv : tensor<?x8xf32> -> tensor<?x16xf32>
    %q, %k, %v = lm.split %qkv : tensor<?x16xf32> -> tensor<?x8xf32>, tensor<?x4xf32>, tensor<?x4xf32>
    %qr = lm.rope %q heads 4 dims 2 base 1.0e4 : tensor<?x8xf32>
    %o = lm.attention %qr, %k, %v heads 4 kv_heads 2 scale 0.5 : tensor<?x8xf32>, tensor<?x4xf32>
    %p = lm.linear %o, @o : tensor<?x8xf32> -> tensor<?x8xf32>
    %x = lm.residual %a, %p : tensor<?x8xf32>
    %gu = lm.linear %x, @gate_up : tensor<?x8xf32> -> tensor<?x24xf32>
    %g, %u = lm.split %gu : tensor<?x24xf32> -> tensor<?x12xf32>, tensor<?x12xf32>
    %s = lm.glu %g, %u act silu : tensor<?x12xf32>
    %d = lm.linear %s, @down : tensor<?x12xf32> -> tensor<?x8xf32>
    %r = lm.residual %x, %d : tensor<?x8xf32>)");
  const lm::AttentionUnit &attention = units.attentions().front();
  EXPECT_EQ(nameOf(attention.query()), "qkv");
  ASSERT_TRUE(attention.value().split);
  EXPECT_EQ(attention.value().rows, attention.value().split->getResult(2));
  ASSERT_TRUE(attention.whyNotFed());
  EXPECT_TRUE(attention.whyNotFed()->isFused);
  EXPECT_EQ(attention.whyNotFed()->sentence("an attention"),
            "has an attention that no plain linear layers feed");
  const lm::GatedUnit &gated = units.gated().front();
  EXPECT_EQ(gated.gate().op, gated.up().op);
  EXPECT_EQ(gated.whyNotFed()->sentence("a gated unit"),
            "has a gated unit that is not between plain linear layers");
  EXPECT_THAT(units.strays(), IsEmpty());
}

TEST_F(UnitsTest, obstacles) {
  auto attentionWith = [&](const std::string &query, const std::string &output) {
    lm::Units units = unitsOf(R"(
      %q = lm.linear %a, @q : tensor<?x8xf32> -> tensor<?x8xf32>
      %k = lm.linear %a, @k : tensor<?x8xf32> -> tensor<?x4xf32>
      %v = lm.linear %a, @v : tensor<?x8xf32> -> tensor<?x4xf32>)" +
                              query + R"(
      %o = lm.attention %x, %k, %v heads 4 kv_heads 2 scale 0.5 : tensor<?x8xf32>, tensor<?x4xf32>)" +
                              output);
    const lm::AttentionUnit &unit = units.attentions().front();
    auto obstacle = unit.whyNotFed();
    return (obstacle ? obstacle : unit.whyNotFollowed())->sentence("an attention");
  };
  const std::string plain = R"(
      %p = lm.linear %o, @o : tensor<?x8xf32> -> tensor<?x8xf32>
      %r = lm.residual %a, %p : tensor<?x8xf32>)";
  EXPECT_EQ(attentionWith("%x = lm.norm %q, @h eps 1.0e-5 : tensor<?x8xf32>", plain),
            "normalises all heads together");
  EXPECT_EQ(attentionWith("%x = lm.rope %q heads 2 dims 4 base 1.0e4 : tensor<?x8xf32>", plain),
            "has heads of another size for 'lm.rope' than for attention");
  EXPECT_EQ(attentionWith("%x = lm.residual %a, %q : tensor<?x8xf32>", plain),
            "has an attention that 'lm.residual' feeds, which is no plain linear layer");
  const std::string rope = "%x = lm.rope %q heads 4 dims 2 base 1.0e4 : tensor<?x8xf32>";
  EXPECT_EQ(attentionWith(rope, "%r = lm.residual %a, %o : tensor<?x8xf32>"),
            "has an attention that 'lm.residual' follows, which is no plain linear layer");
  EXPECT_EQ(attentionWith(rope, "%r = lm.residual %o, %o : tensor<?x8xf32>"),
            "has an attention that no plain linear layer follows");
}

TEST_F(UnitsTest, strays) {
  lm::Units units = unitsOf("%r = lm.linear %a, @q : tensor<?x8xf32> -> tensor<?x8xf32>");
  ASSERT_EQ(units.strays().size(), 1u); // not the logits
  EXPECT_EQ(lm::describeUser(units.strays().front()), "a linear layer @q");
}

} // namespace
