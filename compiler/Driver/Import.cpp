//===- Import.cpp - `retort import` -------------------------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Import/Import.h"
#include "compiler/Checkpoint/Gguf.h"
#include "compiler/Driver/Commands.h"
#include "compiler/Driver/Inputs.h"
#include "compiler/Driver/Pipeline.h"
#include "compiler/Driver/Teacher.h"
#include "runtime/base/Output.h"
#include <filesystem>

#include "llvm/Support/raw_ostream.h"
#include <cstdio>

namespace retort {

void importCommand(const ImportOptions &options) {
  const Checkpoint checkpoint = Checkpoint::open(options.teacher, options.adapter);
  Workspace workspace(Workspace::defaultDir());
  CompilerContext context(workspace);
  // A tokenizer that does not fit the model shows here; a checkpoint without one can be imported.
  std::error_code ignored;
  const bool hasTokenizer =
      checkpoint.gguf() ? checkpoint.gguf()->has("tokenizer.ggml.model")
                        : std::filesystem::exists(checkpoint.path() + "/tokenizer.json", ignored);
  for (const std::string &note :
       hasTokenizer ? Teacher(options.teacher, workspace).notes() : leftOut(checkpoint))
    std::fprintf(stderr, "retort: note: %s\n", note.c_str());
  auto module = importModel(context.mlir(), checkpoint);
  std::string text;
  llvm::raw_string_ostream stream(text);
  module->print(stream);
  stream << '\n';
  if (options.output == "-")
    output::write(text);
  else {
    checkNotInput(options.output, {options.teacher, options.adapter});
    writeFileAtomically(options.output, text);
  }
}

} // namespace retort
