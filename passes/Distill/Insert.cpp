//===- Insert.cpp - What passes that insert work share --------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "passes/Distill/Insert.h"

using namespace mlir;

namespace retort {

std::string uniqueSymbol(ModuleOp module, StringRef name) {
  std::string unique = name.str();
  for (unsigned i = 2; SymbolTable::lookupSymbolIn(module, unique); ++i)
    unique = (name + "_" + Twine(i)).str();
  return unique;
}

distill::ScoreOp insertScore(OpBuilder &builder, lm::ModelOp model, StringRef name,
                             int64_t tokens) {
  auto module = model->getParentOfType<ModuleOp>();
  return builder.create<distill::ScoreOp>(
      model.getLoc(), builder.getStringAttr(uniqueSymbol(module, name)),
      FlatSymbolRefAttr::get(model.getSymNameAttr()),
      tokens == 0 ? IntegerAttr() : builder.getI64IntegerAttr(tokens), distill::FileAttr());
}

} // namespace retort
