//===- ModelTest.cpp - Building models and looking things up in them ------===//
// SPDX-License-Identifier: Apache-2.0
#include "dialects/LM/LMOps.h"
#include "mlir/IR/Verifier.h"
#include <gmock/gmock.h>

using namespace mlir;
using namespace retort;

namespace {

/// A model of one block that normalises, and a parameter that nothing reads.
struct Model : ::testing::Test {
  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  lm::ModelOp model;

  Model() {
    context.loadDialect<lm::LMDialect, weight::WeightDialect>();
    module = ModuleOp::create(UnknownLoc::get(&context));
    OpBuilder builder = OpBuilder::atBlockEnd(module->getBody());
    Location loc = UnknownLoc::get(&context);
    model = builder.create<lm::ModelOp>(loc, "teacher", "llama", 64, 16, 8);
    addParam("token_embd.weight", {16, 8});
    addParam("blk.0.attn_norm.weight", {8});
    addParam("blk.9.attn_norm.weight", {8});
    builder.setInsertionPointToEnd(model.getBody());
    auto forward = builder.create<lm::ForwardOp>(loc);
    builder.setInsertionPointToEnd(forward.getBody());
    auto rows = lm::rowsType(&context, 8);
    Value x = builder.create<lm::EmbedOp>(loc, rows, forward.getTokens(), "token_embd.weight");
    auto block = builder.create<lm::BlockOp>(loc, "blk.0", x);
    Value l = builder.create<lm::LogitsOp>(loc, lm::rowsType(&context, 16), block.getResult(),
                                           "token_embd.weight", FloatAttr());
    builder.create<lm::ReturnOp>(loc, l);
    builder.setInsertionPointToEnd(block.getBody());
    Value n = builder.create<lm::NormOp>(loc, block.getEntry(), "blk.0.attn_norm.weight", 1e-5);
    builder.create<lm::YieldOp>(loc, n);
  }

  void addParam(StringRef name, ArrayRef<int64_t> shape) {
    OpBuilder builder = OpBuilder::atBlockEnd(model.getBody());
    Location loc = NameLoc::get(builder.getStringAttr(("model." + name).str()));
    auto type = RankedTensorType::get(shape, builder.getF32Type());
    auto param = builder.create<lm::ParamOp>(loc, name, type);
    ImplicitLocOpBuilder program = param.getProgramBuilder();
    Value loaded = program.create<weight::LoadOp>(type, program.getStringAttr(name),
                                                  program.getStringAttr("F32"), StringAttr());
    program.create<weight::YieldOp>(loaded);
  }
};

TEST_F(Model, verifies) { EXPECT_TRUE(succeeded(verify(*module))); }

TEST_F(Model, isFoundByName) {
  EXPECT_EQ(*lm::findModel(*module, "teacher"), model);
  EXPECT_EQ(*lm::findModel(*module, ""), model);
  ScopedDiagnosticHandler quiet(&context, [](Diagnostic &) { return success(); });
  EXPECT_TRUE(failed(lm::findModel(*module, "student")));
}

TEST_F(Model, looksParametersUp) {
  lm::ParamOp param = model.lookupParam("blk.0.attn_norm.weight");
  ASSERT_TRUE(param);
  EXPECT_EQ(param.getCheckpointName(), "model.blk.0.attn_norm.weight");
  EXPECT_FALSE(model.lookupParam("output.weight"));
  EXPECT_EQ(
      lm::lookupParam(&*model.getBlocks().front().getBody()->begin(), "blk.0.attn_norm.weight"),
      param);
}

TEST_F(Model, knowsWhoReadsParameters) {
  lm::ParamReaders readers(model);
  EXPECT_TRUE(readers.isShared(model.lookupParam("token_embd.weight")));
  lm::ParamOp gain = model.lookupParam("blk.0.attn_norm.weight");
  EXPECT_FALSE(readers.isShared(gain));
  ASSERT_EQ(readers.of(gain).size(), 1u);
  EXPECT_EQ(readers.of(gain)[0].use.role, lm::ParamRole::Gain);
  EXPECT_FALSE(readers.isRead(model.lookupParam("blk.9.attn_norm.weight")));
}

TEST_F(Model, findsFreeNames) {
  EXPECT_EQ(model.getFreeParamName("output.weight"), "output.weight");
  EXPECT_EQ(model.getFreeParamName("token_embd.weight"), "token_embd.1.weight");
  addParam("token_embd.1.weight", {8});
  EXPECT_EQ(model.getFreeParamName("token_embd.weight"), "token_embd.2.weight");
}

TEST_F(Model, erasesWhatNobodyReads) {
  EXPECT_EQ(model.eraseUnusedParams(), 1u);
  EXPECT_FALSE(model.lookupParam("blk.9.attn_norm.weight"));
  EXPECT_TRUE(model.lookupParam("blk.0.attn_norm.weight"));
}

TEST_F(Model, changesAProgram) {
  lm::ParamOp param = model.lookupParam("blk.0.attn_norm.weight");
  ImplicitLocOpBuilder builder = param.getProgramBuilder();
  param.setProgramValue(builder.create<weight::TakeOp>(param.getProgramValue(), weight::Axis::Rows,
                                                       ArrayRef<int32_t>{1, 3}));
  EXPECT_EQ(param.getShape(), ArrayRef<int64_t>{2});
  ScopedDiagnosticHandler quiet(&context, [](Diagnostic &) { return success(); });
  EXPECT_TRUE(failed(verify(*module))); // lm.norm needs a gain of 8
}

TEST_F(Model, shortNames) {
  EXPECT_EQ(lm::shortName("blk.12.attn_q.weight"), "attn_q");
  EXPECT_EQ(lm::shortName("output_norm.weight"), "output_norm");
  EXPECT_EQ(lm::shortName("odd"), "odd");
}

} // namespace
