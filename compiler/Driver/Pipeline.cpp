//===- Pipeline.cpp - Running a recipe over a module ------------------------===//
// SPDX-License-Identifier: Apache-2.0
#include "compiler/Driver/Pipeline.h"
#include "passes/Register.h"
#include "runtime/base/SystemError.h"

#include "mlir/IR/Diagnostics.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/raw_ostream.h"

namespace retort {
namespace {

/// Where a diagnostic points, for people: a parameter's name, or file:line:column.
std::string describe(mlir::Location location) {
  if (auto name = location->findInstanceOf<mlir::NameLoc>())
    return name.getName().str() + ": ";
  if (auto file = location->findInstanceOf<mlir::FileLineColLoc>())
    return (file.getFilename().getValue() + ":" + llvm::Twine(file.getLine()) + ":" +
            llvm::Twine(file.getColumn()) + ": ")
        .str();
  return {};
}

/// Keeps the first error that MLIR reports.
class FirstError {
public:
  explicit FirstError(mlir::MLIRContext *context)
      : handler_(context, [this](mlir::Diagnostic &diagnostic) {
          if (diagnostic.getSeverity() == mlir::DiagnosticSeverity::Error && text_.empty())
            text_ = describe(diagnostic.getLocation()) + diagnostic.str();
          return mlir::success();
        }) {}
  const std::string &text() const { return text_; }

private:
  std::string text_;
  mlir::ScopedDiagnosticHandler handler_;
};

void parsePipeline(const std::string &pipeline, mlir::OpPassManager &manager) {
  std::string message;
  llvm::raw_string_ostream stream(message);
  // On one line, so that the caret stands under what it means.
  std::string line;
  for (char c : pipeline)
    if (c != '\n' && c != '\t' && c != '\r' && !(c == ' ' && (line.empty() || line.back() == ' ')))
      line += c;
  auto parsed = mlir::parsePassPipeline(line, stream);
  if (mlir::failed(parsed)) {
    while (llvm::StringRef(message).contains("\n\n"))
      message.erase(message.find("\n\n"), 1);
    fail(ExitCode::Usage, "the pipeline does not parse: " + llvm::StringRef(message).trim().str());
  }
  if (parsed->getOpAnchorName() != mlir::ModuleOp::getOperationName())
    fail(ExitCode::Usage, "the pipeline is anchored on '" + parsed->getOpAnchorName().str() +
                              "': write builtin.module(...)");
  manager = std::move(*parsed);
}

} // namespace

CompilerContext::CompilerContext(const Workspace &workspace)
    : context_(mlir::MLIRContext::Threading::DISABLED) {
  registerAllPasses();
  mlir::DialectRegistry registry;
  registerAllDialects(registry);
  context_.appendDialectRegistry(registry);
  context_.loadAllAvailableDialects();
  context_.getOrLoadDialect<distill::DistillDialect>()->setFileResolver(
      [&workspace](llvm::StringRef key) {
        std::string path = workspace.objectPath(key.str(), "json");
        return workspace.has(key.str(), "json") ? path : std::string();
      });
}

void CompilerContext::run(mlir::ModuleOp module, const std::string &pipeline, DataWork *work) {
  runPasses(module, pipeline, work, ExitCode::Usage);
}

void CompilerContext::lower(mlir::ModuleOp module, const std::string &pipeline) {
  runPasses(module, pipeline, nullptr, ExitCode::Unsupported);
}

void CompilerContext::runPasses(mlir::ModuleOp module, const std::string &pipeline, DataWork *work,
                                ExitCode failed) {
  mlir::PassManager manager(&context_, mlir::ModuleOp::getOperationName());
  static_cast<mlir::OpPassManager &>(manager) = [&] {
    mlir::OpPassManager parsed(mlir::ModuleOp::getOperationName());
    parsePipeline(pipeline, parsed);
    return parsed;
  }();
  // MLIR's frames do not pass exceptions on.
  std::optional<Error> thrown;
  auto worker = [&](mlir::ModuleOp whole) {
    try {
      work->run(whole);
      return mlir::success();
    } catch (...) {
      thrown = errorInFlight();
    }
    return mlir::failure();
  };
  auto *dialect = context_.getLoadedDialect<distill::DistillDialect>();
  dialect->setWorker(work ? distill::DistillDialect::Worker(worker) : nullptr);
  FirstError diagnostics(&context_);
  const bool ok = mlir::succeeded(manager.run(module));
  dialect->setWorker(nullptr);
  const bool badFile = dialect->takeBadFile();
  if (ok)
    return;
  if (thrown)
    throw *thrown;
  fail(badFile ? ExitCode::BadInput : failed,
       diagnostics.text().empty() ? "a pass failed without saying why" : diagnostics.text());
}

lm::ModelOp CompilerContext::finalModel(mlir::ModuleOp module) {
  FirstError diagnostics(&context_);
  auto model = lm::findModel(module, "");
  if (mlir::failed(model))
    fail(ExitCode::Usage, diagnostics.text());
  return *model;
}

std::string CompilerContext::normalise(const std::string &pipeline) {
  mlir::OpPassManager parsed(mlir::ModuleOp::getOperationName());
  parsePipeline(pipeline, parsed);
  std::string text;
  llvm::raw_string_ostream stream(text);
  parsed.printAsTextualPipeline(stream);
  return text;
}

mlir::OwningOpRef<mlir::ModuleOp> CompilerContext::parse(const std::string &path) {
  FirstError diagnostics(&context_);
  auto module = mlir::parseSourceFile<mlir::ModuleOp>(path, &context_);
  if (!module)
    fail(ExitCode::BadInput,
         diagnostics.text().empty() ? path + ": cannot be read as MLIR" : diagnostics.text());
  return module;
}

mlir::OwningOpRef<mlir::ModuleOp> CompilerContext::parseText(const std::string &text,
                                                             const std::string &where) {
  FirstError diagnostics(&context_);
  auto module = mlir::parseSourceString<mlir::ModuleOp>(text, &context_, where);
  if (!module)
    fail(ExitCode::BadInput,
         diagnostics.text().empty() ? where + ": cannot be read as MLIR" : diagnostics.text());
  return module;
}

} // namespace retort
