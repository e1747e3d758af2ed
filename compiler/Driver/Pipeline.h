//===- Pipeline.h - Running a recipe over a module ------------*- C++ -*-===//
// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "compiler/Driver/DataWork.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include <string>

namespace retort {

/// A context with Retort's dialects and passes. `workspace` is where #distill.file results are
/// found.
class CompilerContext {
public:
  explicit CompilerContext(const Workspace &workspace);
  mlir::MLIRContext &mlir() { return context_; }

  /// Parses `pipeline` and runs it; `run-data-work` calls work->run() on the module. Throws Error:
  /// Usage with MLIR's message and caret if it does not parse; the Error of data work or of a file
  /// that a pass reads; or, for a pass that failed otherwise, Usage with its diagnostic in one line.
  void run(mlir::ModuleOp module, const std::string &pipeline, DataWork *work = nullptr);
  /// As run(), for Retort's own lowering: a pass that fails does not know such a model (Unsupported).
  void lower(mlir::ModuleOp module, const std::string &pipeline);

  /// The model that a bundle is made of: lm::findModel's where no name is given. Throws Error
  /// (Usage) if there are several and none is the student.
  lm::ModelOp finalModel(mlir::ModuleOp module);

  /// Checks that `pipeline` parses and returns it as MLIR prints it, on one line, options and all.
  std::string normalise(const std::string &pipeline);

  /// Parses an .mlir file. Throws Error (BadInput) with file, line and column.
  mlir::OwningOpRef<mlir::ModuleOp> parse(const std::string &path);
  /// Parses text that `where` names in messages.
  mlir::OwningOpRef<mlir::ModuleOp> parseText(const std::string &text, const std::string &where);

private:
  void runPasses(mlir::ModuleOp module, const std::string &pipeline, DataWork *work,
                 ExitCode failed);
  mlir::MLIRContext context_;
};

} // namespace retort
