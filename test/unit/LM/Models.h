//===- Models.h - Models of one block for tests -----------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "dialects/LM/LMOps.h"
#include "mlir/Parser/Parser.h"
#include <gtest/gtest.h>

namespace retort {

/// A model of 8 features with 4 heads in 2 groups and 12 channels, whose only block is given as
/// text: from its input %a to %r, with parameters of the names below.
struct ParsedModel : ::testing::Test {
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;
  lm::ModelOp model;

  ParsedModel() { context.loadDialect<lm::LMDialect, weight::WeightDialect>(); }

  void parse(const std::string &block) {
    std::string text = "lm.model @m family \"llama\" context 64 vocab 32 hidden 8 {\n" +
                       param("e", "32x8xf32") + param("h", "8xf32") + param("head", "2xf32") +
                       param("q", "8x8xf32") + param("q_bias", "8xf32") + param("k", "4x8xf32") +
                       param("v", "4x8xf32") + param("o", "8x8xf32") + param("qkv", "16x8xf32") +
                       param("gate", "12x8xf32") + param("up", "12x8xf32") +
                       param("gate_up", "24x8xf32") + param("down", "8x12xf32") +
                       param("left", "3x8xf32") + param("right", "12x3xf32") +
                       param("opening", "8x8xf32") + param("sinks", "4xf32") +
                       "lm.forward {\n^bb0(%tokens: tensor<?xi32>):\n"
                       "%embedded = lm.embed %tokens, @e : tensor<?x8xf32>\n"
                       "%b = lm.block \"blk.0\"(%embedded) {\n^bb0(%a: tensor<?x8xf32>):\n" +
                       block +
                       "\nlm.yield %r : tensor<?x8xf32>\n} : tensor<?x8xf32>\n"
                       "%l = lm.logits %b, @e : tensor<?x8xf32> -> tensor<?x32xf32>\n"
                       "lm.return %l : tensor<?x32xf32>\n}\n}\n";
    module = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
    ASSERT_TRUE(module) << text;
    model = *lm::findModel(*module, "m");
  }

private:
  static std::string param(const std::string &name, const std::string &type) {
    return "lm.param @" + name + " : tensor<" + type + "> {\n%0 = weight.load \"" + name +
           "\" stored \"F32\" : tensor<" + type + ">\nweight.yield %0 : tensor<" + type + ">\n}\n";
  }
};

} // namespace retort
