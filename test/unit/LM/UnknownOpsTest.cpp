//===- UnknownOpsTest.cpp - Passes go by what an op declares --------------===//
// SPDX-License-Identifier: Apache-2.0
//
// Two ops that no pass has heard of: one declares its matrices and is rounded, pruned and cut like
// any linear layer, the other does not say what it does with its own and is refused by name.
#include "dialects/LM/Units.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "passes/Partition/Passes.h"
#include "passes/Prune/Passes.h"
#include "passes/Quantize/Passes.h"
#include "test/unit/LM/Models.h"
#include <cstdio>
#include <fstream>
#include <gmock/gmock.h>

using namespace mlir;
using namespace retort;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

namespace {

template <typename ConcreteOp>
using ParamUser = Op<ConcreteOp, OpTrait::OneOperand, OpTrait::OneResult, OpTrait::ZeroRegions,
                     OpTrait::ZeroSuccessors, lm::ParamUserOpInterface::Trait>;

/// y = right (left x): a matrix of rank 3 in two factors.
struct LowRankOp : ParamUser<LowRankOp> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(LowRankOp)
  using Op::Op;
  static StringRef getOperationName() { return "test.low_rank"; }
  static ArrayRef<StringRef> getAttributeNames() { return {}; }
  SmallVector<lm::ParamUse, 2> getParamUses() {
    lm::ParamAxis out = lm::ParamAxis::over(getOperation()->getResult(0));
    lm::ParamAxis in = lm::ParamAxis::over(getOperation()->getOperand(0));
    return {use("left", {lm::ParamAxis(), in}), use("right", {out, lm::ParamAxis()})};
  }
  lm::ParamUse use(StringRef name, SmallVector<lm::ParamAxis, 2> axes) {
    return {StringAttr::get(getContext(), name),
            getOperation()->getAttrOfType<FlatSymbolRefAttr>(name), lm::ParamRole::Matrix, axes};
  }
};

/// Reads a matrix, and nobody knows what for.
struct MixOp : ParamUser<MixOp> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(MixOp)
  using Op::Op;
  static StringRef getOperationName() { return "test.mix"; }
  static ArrayRef<StringRef> getAttributeNames() { return {}; }
  SmallVector<lm::ParamUse, 2> getParamUses() {
    return {{StringAttr::get(getContext(), "weight"),
             getOperation()->getAttrOfType<FlatSymbolRefAttr>("weight"),
             lm::ParamRole::Opaque,
             {}}};
  }
};

struct TestDialect : Dialect {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(TestDialect)
  static StringRef getDialectNamespace() { return "test"; }
  explicit TestDialect(MLIRContext *context)
      : Dialect(getDialectNamespace(), context, TypeID::get<TestDialect>()) {
    addOperations<LowRankOp, MixOp>();
  }
};

struct UnknownOps : ParsedModel {
  UnknownOps() {
    context.loadDialect<TestDialect>();
    registerPrunePasses();
    registerQuantizePasses();
    registerPartitionPasses();
    std::ofstream(stats) << R"({"format": "retort-stats-1", "tokens": 1,
      "vocabulary": {"counts": [)"
                         << repeated("1", 32) << R"(]},
      "blocks": {"blk.0": {"ffn": [)"
                         << repeated("1", 12) << R"(], "heads": [1, 2]}}})";
  }
  ~UnknownOps() override { std::remove(stats.c_str()); }

  /// Runs a pipeline of the module and returns the errors.
  std::vector<std::string> run(const std::string &pipeline) {
    std::vector<std::string> errors;
    ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
      if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
        errors.push_back(diagnostic.str());
      return success();
    });
    PassManager manager(&context);
    EXPECT_TRUE(succeeded(parsePassPipeline(pipeline, manager)));
    EXPECT_EQ(succeeded(manager.run(*module)), errors.empty());
    return errors;
  }
  static std::string repeated(const std::string &text, int count) {
    std::string all = text;
    for (int i = 1; i < count; ++i)
      all += ", " + text;
    return all;
  }
  ArrayRef<int64_t> shapeOf(StringRef param) { return model.lookupParam(param).getShape(); }

  const std::string stats = ::testing::TempDir() + "unknown-ops-" +
                            ::testing::UnitTest::GetInstance()->current_test_info()->name() +
                            ".json";
  const std::string lowRank = R"(
    %g = lm.linear %a, @gate : tensor<?x8xf32> -> tensor<?x12xf32>
    %u = "test.low_rank"(%a) {left = @left, right = @right} : (tensor<?x8xf32>) -> tensor<?x12xf32>
    %s = lm.glu %g, %u act silu : tensor<?x12xf32>
    %d = lm.linear %s, @down : tensor<?x12xf32> -> tensor<?x8xf32>
    %r = lm.residual %a, %d : tensor<?x8xf32>)";
  const std::string mix = R"(
    %m = "test.mix"(%a) {weight = @q} : (tensor<?x8xf32>) -> tensor<?x8xf32>
    %r = lm.residual %a, %m : tensor<?x8xf32>)";
};

TEST_F(UnknownOps, areQuantisedByTheirRoles) {
  parse(lowRank);
  EXPECT_THAT(run("quantize-weights{format=i4g32s}"), IsEmpty());
  for (StringRef name : {"left", "right", "gate", "down", "e"})
    EXPECT_FALSE(weight::isWeightTensor(model.lookupParam(name).getType())) << name.str();
}

TEST_F(UnknownOps, arePrunedByTheirAxes) {
  parse(lowRank);
  EXPECT_THAT(run("prune-ffn{stats=" + stats + " keep=0.5 multiple=2}"), IsEmpty());
  EXPECT_EQ(shapeOf("right"), ArrayRef<int64_t>({6, 3}));
  EXPECT_EQ(shapeOf("left"), ArrayRef<int64_t>({3, 8}));
  EXPECT_EQ(shapeOf("down"), ArrayRef<int64_t>({8, 6}));
}

TEST_F(UnknownOps, shapesAreVerified) {
  ScopedDiagnosticHandler handler(&context, [&](Diagnostic &diagnostic) {
    if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
      EXPECT_EQ(diagnostic.str(),
                "'test.low_rank' op matrix @left of block \"blk.0\" must be 12x?, is 3x8");
    return success();
  });
  parse(lowRank);
  Operation *op = lm::Units(model).gated().front().up().op;
  op->setAttr("right", op->getAttr("left"));
  SymbolTableCollection symbols;
  EXPECT_TRUE(failed(lm::verifyParamUses(cast<lm::ParamUserOpInterface>(op), symbols)));
}

TEST_F(UnknownOps, areRefusedByName) {
  parse(mix);
  EXPECT_THAT(run("quantize-weights"),
              ElementsAre("quantize-weights: 'test.mix' does not say what it does with @q"));
  EXPECT_THAT(run("cast-weights"),
              ElementsAre("cast-weights: 'test.mix' does not say what it does with @q"));
  EXPECT_THAT(
      run("prune-vocabulary{stats=" + stats + " max-tokens=16 multiple=1}"),
      ElementsAre("prune-vocabulary: 'test.mix' does not say whether @q has rows of tokens"));
  EXPECT_THAT(
      run("prune-ffn{stats=" + stats + "}"),
      ElementsAre("prune-ffn: block \"blk.0\" has 'test.mix' @q that belongs to no attention "
                  "or gated unit"));
  EXPECT_THAT(run("prune-heads{stats=" + stats + "}"),
              ElementsAre("prune-heads: block \"blk.0\" has 'test.mix' @q that belongs to no "
                          "attention or gated unit"));
  EXPECT_THAT(
      run("lm.model(partition{devices=2})"),
      ElementsAre("partition: block \"blk.0\" has 'test.mix' @q that is no projection of an "
                  "attention or a gated unit"));
}

} // namespace
