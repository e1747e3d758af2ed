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

} // namespace retort
