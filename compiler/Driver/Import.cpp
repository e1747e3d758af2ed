//===- Import.cpp - `retort import` -------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Import/Import.h"
#include "compiler/Driver/Commands.h"
#include "compiler/Driver/Inputs.h"
#include "compiler/Driver/Output.h"
#include "compiler/Driver/Pipeline.h"

#include "llvm/Support/raw_ostream.h"
#include <cstdio>

namespace retort {

void importCommand(const ImportOptions &options) {
  const Checkpoint checkpoint = Checkpoint::open(options.teacher);
  Workspace workspace(Workspace::defaultDir());
  CompilerContext context(workspace);
  auto module = importModel(context.mlir(), checkpoint);
  std::string text;
  llvm::raw_string_ostream stream(text);
  module->print(stream);
  stream << '\n';
  if (options.output == "-")
    output::write(text);
  else {
    checkNotInput(options.output, {options.teacher});
    writeFileAtomically(options.output, text);
  }
}

} // namespace retort
