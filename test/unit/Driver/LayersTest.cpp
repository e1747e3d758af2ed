//===- LayersTest.cpp - Layers side by side, and what they take -----------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Layers.h"
#include "compiler/Driver/Estimate.h"
#include "compiler/Weights/StoredBytes.h"
#include "test/unit/LM/Models.h"

using namespace retort;

namespace {

struct LayersTest : ParsedModel {
  void parseLlama() {
    parse(R"(
    %n = lm.norm %a, @h eps 1.0e-5 : tensor<?x8xf32>
    %q = lm.linear %n, @q : tensor<?x8xf32> -> tensor<?x8xf32>
    %k = lm.linear %n, @k : tensor<?x8xf32> -> tensor<?x4xf32>
    %v = lm.linear %n, @v : tensor<?x8xf32> -> tensor<?x4xf32>
    %o = lm.attention %q, %k, %v heads 4 kv_heads 2 scale 0.5 : tensor<?x8xf32>, tensor<?x4xf32>
    %p = lm.linear %o, @o : tensor<?x8xf32> -> tensor<?x8xf32>
    %x = lm.residual %a, %p : tensor<?x8xf32>
    %g = lm.linear %x, @gate : tensor<?x8xf32> -> tensor<?x12xf32>
    %u = lm.linear %x, @up : tensor<?x8xf32> -> tensor<?x12xf32>
    %s = lm.glu %g, %u act silu : tensor<?x12xf32>
    %d = lm.linear %s, @down : tensor<?x12xf32> -> tensor<?x8xf32>
    %r = lm.residual %x, %d : tensor<?x8xf32>)");
  }
};

TEST_F(LayersTest, CountsHeadsChannelsAndWeights) {
  parseLlama();
  const std::vector<LayerRow> rows = layersOf(model, model);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].name, "e");
  EXPECT_EQ(rows[0].shape->other, 256);
  EXPECT_EQ(rows[1].name, "blk.0");
  const LayerShape &block = *rows[1].shape;
  EXPECT_EQ(block.heads, 4);
  EXPECT_EQ(block.kvHeads, 2);
  EXPECT_EQ(block.channels, 12);
  EXPECT_EQ(block.attention, 64 + 32 + 32 + 64);
  EXPECT_EQ(block.ffn, 3 * 96);
  EXPECT_EQ(block.other, 8);
  EXPECT_EQ(rows[1].teacher->weights(), block.weights());
  EXPECT_EQ(rows[1].attentionBytes, 4u * 192);
  EXPECT_EQ(rows[1].otherBytes, 4u * 8);
}

TEST_F(LayersTest, ShowsWhatTheTeacherAloneHas) {
  parseLlama();
  mlir::OwningOpRef<mlir::ModuleOp> original = module->clone();
  const lm::ModelOp teacher = *lm::findModel(*original, "m");
  for (lm::BlockOp block : llvm::to_vector(model.getBlocks())) {
    block->getResult(0).replaceAllUsesWith(block->getOperand(0));
    block->erase();
  }
  const std::vector<LayerRow> rows = layersOf(model, teacher);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_FALSE(rows[1].shape.has_value());
  EXPECT_EQ(rows[1].teacher->channels, 12);
  EXPECT_EQ(rows[1].bytes(), 0u);
  EXPECT_FALSE(layersOf(model, nullptr)[0].teacher.has_value());
}

TEST_F(LayersTest, ATokenReadsEveryMatrixOnceAndOneRowOfTheTable) {
  parseLlama();
  // The logits read all of @e, the embedding one row of it.
  EXPECT_EQ(storedBytesPerToken(model), 4u * (256 + 8 + 8 + 192 + 3 * 96));
  weight::LoadOp load = *model.lookupParam("gate").getBodyRegion().getOps<weight::LoadOp>().begin();
  load.setStored("Q8_0"); // 34 bytes for 32 numbers, as files count
  EXPECT_EQ(storedBytesPerToken(model), 4u * (256 + 8 + 8 + 192 + 2 * 96) + 102);
  load.setFile(std::string(64, 'a'));
  EXPECT_EQ(storedBytesPerToken(model), std::nullopt) << "a training made it";
  EXPECT_EQ(storedBytes(model.lookupParam("gate")), std::nullopt);
  EXPECT_EQ(storedBytes(model.lookupParam("h")), 32u);
}

/// A fit keeps what the teacher's layers give only where it is solved towards that: @o and @down are
/// solved towards the stream.
TEST_F(LayersTest, AFitKeepsOutputsOfLayersInsideOfUnits) {
  parseLlama();
  context.loadDialect<distill::DistillDialect>();
  const auto memoryOf = [&](llvm::ArrayRef<llvm::StringRef> params) {
    mlir::OpBuilder builder = mlir::OpBuilder::atBlockEnd(module->getBody());
    std::string text;
    for (llvm::StringRef param : params)
      text += (text.empty() ? "\"" : ", \"") + param.str() + "\"";
    auto parsed = mlir::parseSourceString<mlir::ModuleOp>(
        "distill.fit @fit teacher @m student @m tokens 100000 params [" + text + "] damping 0.1\n",
        mlir::ParserConfig(&context, /*verifyAfterParse=*/false));
    mlir::Operation *op = builder.clone(*parsed->getBody()->begin());
    const PlannedWork work =
        estimateFit(model, model, llvm::cast<distill::FitOp>(op), "fit", false);
    op->erase();
    return work.memoryBytes;
  };
  const uint64_t added = memoryOf({"o", "down"});
  EXPECT_GE(memoryOf({"o", "down", "gate"}), added + 100000 * 12 * 2);
  EXPECT_LT(added, memoryOf({"o"}) + 100000) << "@down is added to the stream";
}

} // namespace
